"""The book through Slurm, on a cluster of one node and two GPUs that are not there: `make slurm-test`.

One running job is killed, the same command goes on from there, and every result must equal that of a run on this
machine alone, bit by bit, times left out. With names of chapters only these: `make slurm-test CHAPTERS="method"`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cluster

from nssutils import files
from nssutils.companion import certify, results

TREES = ("nssutils", "book", "data/results", "data/paper", "profiles")
FILES = ("Snakefile", "_config.yml", "requirements.lock", "data/certificates.json", "CONTRIBUTING.md")
SLURM = ["--workflow-profile", "slurm", "--slurm-init-seconds-before-status-checks", "5"]
SLURM += ["--default-resources", "mem_mb=2000", "runtime=60", "--latency-wait", "10"]
STEPS = ("runner train", "runner fill")


def copied(to: Path) -> Path:
    """A clone without anything computed."""
    for name in TREES:
        shutil.copytree(files.ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(files.ROOT / name, to / name)
    return to


def built(clone: Path, chapters: list[str], options: list[str], environment: dict[str, str], log: Path) -> int:
    """Run the workflow at smoke in a clone; its exit code."""
    targets = [f"build/jobs/executed/{chapter}" for chapter in chapters]
    command = [sys.executable, "-m", "snakemake", *targets, *options, "--config", "preset=smoke"]
    environment = environment | {"PYTHONPATH": str(clone), "PYTHONUNBUFFERED": "1"}  # not the package that is installed
    environment.pop("NSS_RESULTS", None)
    with log.open("w") as out:
        return subprocess.run(command, cwd=clone, env=environment, stdout=out, stderr=out).returncode


def found(clone: Path) -> dict[str, results.Result]:
    """What a clone has computed, by the files' places."""
    folder = clone / "data" / "cache" / "results"
    return {str(path.relative_to(folder)): results.read(path) for path in sorted(folder.rglob("seed*.json"))}


class Watch(threading.Thread):
    """Looks at the cluster while it works: how many GPUs were taken at most. Kills the first job that it sees."""

    def __init__(self, environment: dict[str, str]):
        super().__init__(daemon=True)
        self.environment, self.most, self.killed, self.over = environment, 0, "", threading.Event()

    def run(self) -> None:
        while not self.over.wait(1):
            asked = cluster.asked(self.environment, "squeue", "-h", "-t", "running", "-O", "tres-per-job").split()
            self.most = max(self.most, sum("gpu" in one for one in asked))  # a job without one has N/A
            if self.killed:
                continue
            for process in (each for step in STEPS for each in cluster.below(self.environment, step)):
                self.killed = " ".join(process.cmdline()[3:])
                process.kill()
                break


def main(chapters: list[str]) -> int:
    if lacking := cluster.lacking():
        print(f"make slurm-test cannot run here: it needs {lacking}. As root: apt-get install slurm-wlm munge.")
        return 2
    with tempfile.TemporaryDirectory(prefix="nss-slurm-") as made:
        place, begun = Path(made), time.monotonic()
        place.chmod(0o755)  # its owner alone may write
        through, alone = copied(place / "through"), copied(place / "alone")
        with cluster.running(place / "cluster") as environment:
            watch = Watch(environment)
            watch.start()
            first = built(through, chapters, SLURM, environment, place / "first.log")
            watch.over.set()
            before = found(through)
            print(f"the first run: exit code {first}, {len(before)} results; at most {watch.most} GPUs taken at once")
            print(f"killed: {watch.killed or 'nothing'}", flush=True)
            second = built(through, chapters, SLURM, environment, place / "second.log")
            left = cluster.asked(environment, "squeue", "-h")
        after = found(through)
        print(f"the second run: exit code {second}, {len(after)} results", flush=True)
        third = built(alone, chapters, ["--cores", "1"], dict(os.environ), place / "third.log")
        own = found(alone)  # which computes all cells of a network together
        own = {name: one for name, one in own.items() if not chapters or one.chapter in chapters}
        print(f"on this machine alone: exit code {third}, {len(own)} results")
        again = [name for name in before if before[name].provenance != after[name].provenance]
        unlike = [name for name in own if name not in after or _said(own[name]) != _said(after[name])]
        wrong = {
            "no job was killed": not watch.killed,
            "the first run did not notice the kill": first == 0,
            "the second run did not mend it": second != 0 or bool(left),
            "the run on this machine alone failed": third != 0,
            "two GPUs were never taken, or more": watch.most != 2,
            f"computed again although it was there: {again}": bool(again),
            f"other results than on this machine alone: {unlike}": unlike or own.keys() != after.keys() or not own,
        }
        for what in (found_wrong := [what for what, is_so in wrong.items() if is_so]):
            print(f"WRONG: {what}")
        if found_wrong:
            for log in sorted(place.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-4000:]}")
        else:
            print(f"{len(own)} of {len(own)} results are the same bit by bit; {time.monotonic() - begun:.0f} s")
        return int(bool(found_wrong))


def _said(result: results.Result) -> str:
    return certify.fingerprint([result])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
