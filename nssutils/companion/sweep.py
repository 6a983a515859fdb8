"""A chapter's study over a grid of settings, seeds and readings, through the workflow: resumable, several at a time."""

import itertools
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd

from nssutils import digests, files, settings
from nssutils.companion import chapters, ranges, results, store, workflow
from nssutils.companion.chapters import UsageError
from nssutils.companion.workflow import Job
from nssutils.studies import STUDIES

MOST = 10_000  # cells of one sweep: more are a slip of the finger


def cells(chapter: str, given: list[str], folder: Path = chapters.BOOK) -> list[Job]:
    """The cells of a sweep, from texts `name=value`, where a value may be several: 0.9,0.95 or, of whole numbers, 0..9.

    Raises UsageError or RangeError for what is no parameter of the chapter's study or no value of it.
    """
    known = chapters.parameters(chapters.find(chapter, folder))
    if chapter not in STUDIES:
        raise UsageError(f"chapter {chapter!r} given, expected one that measures something: {', '.join(STUDIES)}.")
    readings = STUDIES[chapter].__kwdefaults__ or {}
    values = {name: [known[name].default] for name in ("preset", "setting", "seed", *readings)}
    for text in given:
        name, _, value = text.partition("=")
        several = [chapters.check([f"{name}={part}"], known)[name] for part in _several(value)]
        if name not in values:
            raise UsageError(f"parameter {name!r} given, expected one of what can be swept: {', '.join(values)}.")
        for one in several:
            ranges.check({name: one})
        values[name] = several
    if (count := math.prod(map(len, values.values()))) > MOST:
        raise UsageError(f"{count} cells or more given, expected at most {MOST}.")
    grid = [dict(zip(readings, each, strict=True)) for each in itertools.product(*(values[name] for name in readings))]
    found = []
    for preset, one in itertools.product(values["preset"], values["setting"]):
        if preset == "published":
            raise UsageError("preset 'published' given, expected one that computes: " + ", ".join(settings.PRESETS))
        for name in store.listed(one, settings.NAMES):
            seeds = settings.get(name, preset).seeds if "all" in values["seed"] else map(int, values["seed"])
            changed = [tuple((key, each[key]) for key in each if each[key] != readings[key]) for each in grid]
            found += [Job(chapter, preset, name, seed, some) for seed in seeds for some in changed]
    if len(found) > MOST:
        raise UsageError(f"{len(found)} cells given, expected at most {MOST}.")
    return list(dict.fromkeys(found))


def _several(text: str) -> list[str]:
    found = []
    for part in text.split(","):
        span = re.fullmatch(r"\s*(\d{1,9})\.\.(\d{1,9})\s*", part)
        if span and int(span[2]) < int(span[1]):
            raise UsageError(f"{part!r} given, expected the smaller number first.")
        if span and int(span[2]) - int(span[1]) >= MOST:
            raise UsageError(f"{part!r} given, expected at most {MOST} numbers.")
        found += map(str, range(int(span[1]), int(span[2]) + 1)) if span else [part.strip()]
    return found


def written(wanted: list[Job]) -> Path:
    """The file that tells Snakemake what to compute, in a folder of the sweep's own."""
    content = [[job.chapter, job.preset, job.setting, job.seed, list(map(list, job.readings))] for job in wanted]
    file = workflow.BUILD / "sweeps" / digests.of(content)[:12] / "cells.json"
    with files.atomically(file) as partial:
        partial.write_text(json.dumps(content))
    return file


def read(file: str | Path) -> list[Job]:
    """What `written` wrote."""
    content = json.loads(Path(file).read_text())
    return [Job(*cell, tuple(map(tuple, readings))) for *cell, readings in content]


def computed(file: Path, jobs: int, profile: str) -> bool:
    """Have Snakemake compute what the store lacks of a sweep, `jobs` at a time, 0 being as many as the profile of the
    machine or cluster has; whether all went well."""
    most = [f"--{'cores' if profile == 'default' else 'jobs'}={jobs}"] if jobs else []
    command = [sys.executable, "-m", "snakemake", "sweep", "--workflow-profile", profile, *most]
    command += ["--config", f"sweep={file}"]
    return subprocess.run(command, cwd=files.ROOT).returncode == 0


def table(wanted: list[Job], folder: Path) -> pd.DataFrame:
    """What the sweep has found so far: for each setting and readings the whole network's accuracy, as mean and half its
    95% interval over seeds. Each of the study's tables goes to `folder`, as <table>.csv, with the readings in front."""
    readings = list(dict.fromkeys(name for job in wanted for name, _ in job.readings))
    defaults = STUDIES[wanted[0].chapter].__kwdefaults__ or {}
    frames: dict[str, list[pd.DataFrame]] = {}
    for job in wanted:
        state, result = store.seen(job.cell)
        for name, rows in results.presented(result).tables.items() if result and state in store.STANDING else ():
            cell = {"preset": job.preset, "setting": job.setting, "seed": job.seed}
            for reading in readings:  # a table may have a column of that name
                column = f"reading {reading}" if reading in (rows[0] if rows else ()) else reading
                cell[column] = dict(job.readings).get(reading, defaults[reading])
            frames.setdefault(name, []).append(pd.DataFrame([cell | row for row in rows]))
    whole = {name: pd.concat(parts, ignore_index=True) for name, parts in frames.items()}
    for name, rows in whole.items():
        with files.atomically(folder / f"{name}.csv") as partial:
            rows.to_csv(partial, index=False)
    if "base" not in whole:
        return pd.DataFrame()
    named = (f"reading {reading}" for reading in readings)
    by = ["preset", "setting"]
    by += [own if own in whole["base"] else reading for own, reading in zip(named, readings, strict=True)]
    each = whole["base"].groupby([*by, "seed"], sort=False, as_index=False)["accuracy"].mean()
    return results.aggregate(each, by, "accuracy").rename(columns={"mean": "accuracy", "half": "±", "n": "seeds"})
