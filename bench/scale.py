"""How planning and slicing grow. `python bench/scale.py > bench/scale.md`

Planning: a dry run of a sweep's cells in a clone of its own, nothing of it computed yet, or all of it, each a result
with a published one's tables. Target: 10,000 cells in under 60 s and 1 GiB. Slicing: RQ1's semantic slices of a plain
network by its width, classes, samples and layers, and the exponents of power laws fitted to the times. A sweep: what
100 seeds of RQ1 at preset paper take of 8 and 64 GPUs, by the constants of budget.py. Times are of the processor.
"""

import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import budget
import numpy as np
import torch
from table import row
from torch import nn

from nssutils import files, settings, slicing
from nssutils.companion import provenance, results, store, sweep

CELLS = (1_000, 10_000)  # of two settings, fifty readings, and as many seeds as it takes
TARGET_SECONDS, TARGET_MIB = 60, 1024
BASE = {"width": 128, "classes": 10, "samples": 512, "layers": 3}
LARGER = {
    "width": (128, 256, 512, 1024), "classes": (10, 20, 40, 80), "samples": (512, 1024, 2048, 4096),
    "layers": (3, 6, 12, 24),
}  # fmt: skip
SEEDS, GPUS = 100, (8, 64)


def planning(number: int, computed: bool) -> tuple[float, float]:
    """Seconds of the processor and MiB at most that a dry run of so many cells takes."""
    with tempfile.TemporaryDirectory(prefix="nss-scale-") as made:
        clone, place = Path(made) / "clone", Path(made) / "results"
        for name in ("nssutils", "book", "data/paper", "profiles"):
            shutil.copytree(files.ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("Snakefile", "_config.yml", "requirements.lock", "data/certificates.json"):
            shutil.copy(files.ROOT / name, clone / name)
        grid = ["setting=mlp-mnist,lenet-mnist", f"seed=0..{number // 100 - 1}", "samples=101..150"]
        wanted = sweep.cells("rq1_slicing", grid)
        listed = clone / "cells.json"
        cells = [[job.chapter, job.preset, job.setting, job.seed, list(map(list, job.readings))] for job in wanted]
        listed.write_text(json.dumps(cells))
        if computed:
            _write(wanted, place)
        command = [sys.executable, "-m", "snakemake", "sweep", "-n", "--quiet", "all", "--config", f"sweep={listed}"]
        environment = os.environ | {"PYTHONPATH": str(clone), "NSS_RESULTS": str(place)}
        with (Path(made) / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=clone, env=environment, stdout=log, stderr=log)
            peak, status = 0, Path(f"/proc/{process.pid}/status")  # getrusage's peak is the parent's where that is more
            while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                found = re.search(r"VmHWM:\s+(\d+)", status.read_text())
                peak = max(peak, int(found[1]) if found else 0)
                time.sleep(0.05)
            _, code, used = ended
        if code:
            raise RuntimeError((Path(made) / "log").read_text()[-2000:])
        return used.ru_utime + used.ru_stime, peak / 1024


def _write(wanted: list, place: Path) -> None:
    """Results that stand, with the tables of a published one."""
    like = results.read(next((results.PUBLISHED / "rq1_slicing" / "quick").glob("*/seed0.json")))
    code, lock, sums = store.code("rq1_slicing"), provenance.lock(), {}
    for job in wanted:
        setting = settings.get(job.setting, job.preset)
        sums[job.setting] = sums.get(job.setting) or store.checksums.of(setting)
        said = {
            "setting": store._described(setting),
            "code_sha256": code,
            "lock": lock,
            "data_sha256": sums[job.setting],
        }
        results.save(results.Result(*job.cell, like.provenance | said, like.tables), place)


def rq1_seconds(width: int, classes: int, samples: int, layers: int) -> float:
    """Time of the processor that the slices of a plain network take by one metric and five thetas."""
    torch.manual_seed(0)
    sizes = [64, *[width] * layers]
    hidden = [each for a, b in itertools.pairwise(sizes) for each in (nn.Linear(a, b), nn.ReLU())]
    net = nn.Sequential(*hidden, nn.Linear(width, classes)).eval()
    x, y = torch.randn(samples, 64), torch.arange(samples) % classes
    begin = time.process_time()
    slicing.semantic_slice(net, x, y, metric="deeplift", theta=[0.8, 0.85, 0.9, 0.95, 0.99], samples=256)
    return time.process_time() - begin


def exponent(sizes: Iterable[float], seconds: Iterable[float]) -> float:
    """The slope of the times over the sizes, both in logarithms."""
    return float(np.polyfit([math.log(each) for each in sizes], [math.log(each) for each in seconds], 1)[0])


def main() -> None:
    rows, planned = [], {}
    for computed in (False, True):
        for number in CELLS:
            seconds, mib = planning(number, computed)
            planned.setdefault(computed, []).append(seconds)
            met = "" if number < CELLS[-1] else "met" if seconds < TARGET_SECONDS and mib < TARGET_MIB else "missed"
            if number == CELLS[-1]:
                what = f"planning {number:,} cells, {'all' if computed else 'none'} computed"
                row(what, seconds, TARGET_SECONDS, " s", least=False)
                row(f"{what}: memory", mib, TARGET_MIB, " MiB", least=False)
            rows.append(f"| {number:,} | {'all' if computed else 'none'} | {seconds:.1f} | {mib:.0f} | {met} |")
    print("# How planning and slicing grow\n\nBy `python bench/scale.py`. Times are seconds of one processor.\n")
    print(f"A dry run of a sweep. Target, for {CELLS[-1]:,} cells: under {TARGET_SECONDS} s and {TARGET_MIB} MiB.\n")
    print("| cells | computed already | seconds | MiB at most | target |\n|---:|:---|---:|---:|:---|")
    print("\n".join(rows))
    powers = ", ".join(f"{exponent(CELLS, each):.2f}" for each in planned.values())
    print(f"\nExponents of growth with the number of cells, none and all computed: {powers}.\n")
    shown = ", ".join(f"{value} {name}" for name, value in BASE.items())
    print(f"RQ1's slices of a plain network, DeepLIFT, five thetas, 256 samples for the similarity; base: {shown}.\n")
    print("| by | sizes | seconds | exponent |\n|:---|:---|:---|---:|")
    rq1_seconds(**BASE)  # the first call is slower
    for name, sizes in LARGER.items():
        took = [min(rq1_seconds(**BASE | {name: size}) for _ in range(2)) for size in sizes]
        print(
            f"| {name} | {', '.join(map(str, sizes))} | {', '.join(f'{each:.2f}' for each in took)} "
            f"| {exponent(sizes, took):.2f} |"
        )
    print(f"\n{SEEDS} seeds of RQ1 at preset paper, training included, by the constants of `budget.py` for an H200.\n")
    print("| setting | hours of a seed | " + " | ".join(f"hours on {gpus} GPUs" for gpus in GPUS) + " |")
    print("|:---|---:|" + "---:|" * len(GPUS))
    total = dict.fromkeys(GPUS, 0.0)
    for name in settings.NAMES:
        setting = settings.get(name, "paper")
        work = budget.work(setting)
        one = sum(budget.gpu_seconds(setting, work[part]) for part in ("training", "rq1_slicing")) / 3600
        hours = {gpus: math.ceil(SEEDS / gpus) * one for gpus in GPUS}
        total = {gpus: total[gpus] + hours[gpus] for gpus in GPUS}
        print(f"| {name} | {one:.3f} | " + " | ".join(f"{each:.2f}" for each in hours.values()) + " |")
    print("| all, one after another | | " + " | ".join(f"{each:.2f}" for each in total.values()) + " |")


if __name__ == "__main__":
    main()
