"""How far a preset is: what of each setting is done, who is at work, what is left and how long it may take."""

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from statistics import median

from nssutils.companion import checksums, locks, results, store, workflow


def status(presets: Iterable[str]) -> str:
    """For each preset a table of settings: cells done, running and left, and the hours that these may take.

    The hours are what a job of one thread took for another seed, training included where it was the first of its
    network; "+" where nothing of a chapter and setting is measured at this preset: more is left than is said.
    """
    return "\n\n".join(map(_table, presets))


def _table(preset: str) -> str:
    checksum = cache(checksums.of)
    found = {job: store.seen(job.cell, checksum) for job in workflow.jobs(preset)}
    at_work = {job: holder for job in found if (holder := locks.holder(store.claim(*job.cell)))}
    waiting = [job for job, (state, _) in found.items() if job not in at_work and state not in store.STANDING]
    taken = _seconds(result for _, result in found.values() if result)
    rows = [("setting", "done", "running", "left", "hours left")]
    for name in [*sorted({job.setting for job in found}, key=workflow.FIRST.index), "all"]:
        cells, running, left = (
            [job for job in some if name in ("all", job.setting)] for some in (found, at_work, waiting)
        )  # fmt: skip
        done = f"{len(cells) - len(running) - len(left)} of {len(cells)}"
        rows.append((name, done, str(len(running)), str(len(left)), _hours(left, taken)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [f"preset {preset}"]
    lines += ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    lines += [f"running: {job}: {holder}" for job, holder in at_work.items()]
    if waiting:
        lines.append(f"next: {workflow.ordered(waiting)[0]} (nss fill --preset {preset})")
    return "\n".join(lines)


def _seconds(found: Iterable[results.Result]) -> dict[tuple[str, str], float]:
    """The median time of a chapter and setting's cells over their seeds, stale ones included."""
    times = defaultdict(list)
    for result in found:
        times[result.chapter, result.setting].append(result.provenance["seconds"])
    return {kind: median(several) for kind, several in times.items()}


def _hours(left: Iterable[workflow.Job], taken: dict[tuple[str, str], float]) -> str:
    known = [taken.get((job.chapter, job.setting)) for job in left]
    return f"{sum(filter(None, known)) / 3600:.1f}{'+' if None in known else ''}"
