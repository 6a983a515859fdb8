"""kill -9 at random moments of a smoke run, then the same again: `make kill-test` (KILLS=50, CHAPTERS, SETTING).

Nothing may be lost or changed: when the run has come to its end, its tables are those of an unbroken run byte by byte,
times left out, and nothing partial is left. A process is forked for every attempt, so that none reads torch anew.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from nssutils import data
from nssutils.companion import certify, results, store


def attempt(cells: list[tuple[str, str]], place: Path, seconds: float | None) -> bool:
    """Compute the cells in a process of its own, killed after so many seconds; whether it came to its end."""
    if not (child := os.fork()):
        os.environ["NSS_RESULTS"], data.CACHE = str(place / "results"), place / "cache"
        with (place / "log").open("a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            code = 1
            try:
                for chapter, setting in cells:
                    store.fill(chapter, "smoke", setting, 0)
                code = 0
            finally:
                os._exit(code)
    limit = time.monotonic() + (seconds or 1e9)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > limit:
            os.kill(child, signal.SIGKILL)
            ended = os.waitpid(child, 0)
            break
        time.sleep(0.002)
    if ended[1] and not os.WIFSIGNALED(ended[1]):
        raise RuntimeError((place / "log").read_text()[-3000:])
    return ended[1] == 0


def told(place: Path) -> list[str]:
    """What a store says: its results, times left out."""
    files = sorted((place / "results").rglob("seed*.json"))
    return [f"{file.relative_to(place)} {certify.fingerprint([results.read(file)])}" for file in files]


def main(kills: int, chapters: list[str], setting: str, seed: int) -> int:
    torch.set_num_threads(1)
    draw, cells = random.Random(seed), [(chapter, setting) for chapter in chapters]
    done, runs, wrong = 0, 0, []
    with tempfile.TemporaryDirectory(prefix="nss-kills-") as made:
        (whole := Path(made) / "whole").mkdir()
        begin = time.monotonic()
        attempt(cells, whole, None)
        length, expected = time.monotonic() - begin, told(whole)
        while done < kills:
            (place := Path(made) / f"run{runs}").mkdir()
            mine = 0
            while not attempt(cells, place, draw.uniform(0, length) if done < kills and mine < 10 else None):
                done, mine = done + 1, mine + 1
            attempt(cells, place, None)  # the next run sweeps away what the last kill may have left
            runs += 1
            print(f"run {runs}: killed {mine} times, went on as often, came to its end", flush=True)
            if told(place) != expected:
                wrong.append(f"run {runs}: {set(told(place)) ^ set(expected)}")
            if left := [str(each) for each in place.rglob("*.partial")] + [
                str(each) for each in place.rglob("*.damaged")
            ]:
                wrong.append(f"run {runs}: left behind: {left}")
    print(f"{done} kills in {runs} runs of {', '.join(chapters)} on {setting}, {length:.1f} s each: ", end="")
    print("\n".join(wrong) or "every table as in the unbroken run, nothing partial left")
    return int(bool(wrong))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--chapters", nargs="+", default=["pilot_global", "rq1_slicing", "rq2_restructuring"])
    parser.add_argument("--setting", default="mlp-mnist")
    parser.add_argument("--seed", type=int, default=0)
    sys.exit(main(**vars(parser.parse_args())))
