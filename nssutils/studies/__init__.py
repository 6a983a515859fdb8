"""What each chapter measures for one setting and seed, and how the store is filled with it."""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime

from nssutils import checksums, data, provenance, results, settings, training
from nssutils.errors import NssError, near_miss
from nssutils.studies import nnslicer, pilot, rq1, rq2, rq3, rq4

# Chapter -> what measures it: called with setting, seed, loaded data and the chapter's readings, it gives tables.
STUDIES: dict[str, Callable] = {
    "pilot_global": pilot.measure_global,
    "pilot_categorywise": pilot.measure_categorywise,
    "rq1_slicing": rq1.measure,
    "rq2_restructuring": rq2.measure,
    "rq3_readaptation": rq3.measure,
    "rq4_incremental": rq4.measure,
    "nnslicer": nnslicer.measure,
}


class StudyError(NssError):
    """A chapter, setting or seed that is not known."""


def fill(
    chapter: str, preset: str, setting: str = "all", seed: str | int = "all", recompute: bool = False, **readings
) -> list[results.Result]:
    """Measure what the store lacks of a chapter; returns the results asked for.

    setting: a name, several separated by commas, or "all"; seed: a number, several separated by commas, or "all" of the
    preset. preset "published" computes nothing and returns nothing: the published results are shown in any case.
    readings: parameters of the study, of which those at their default do not count. A result is stored as soon as it
    is measured, so that what a failure or an interruption leaves is kept.
    """
    if chapter not in STUDIES:
        raise StudyError(f"unknown chapter {chapter!r}; known: {', '.join(STUDIES)}.{near_miss(chapter, STUDIES)}")
    if preset == "published":
        return []
    measure = STUDIES[chapter]
    changed = {name: value for name, value in readings.items() if value != _default(measure, name)}
    done = []
    for name in listed(setting, settings.NAMES):
        chosen = settings.get(name, preset)
        loaded = None
        for k in _seeds(seed, chosen):
            result = None if recompute else results.find(chapter, preset, name, k, changed)
            if result is None or not holds(result, chosen):
                print(f"{chapter}: {name}, preset {preset}, seed {k}", file=sys.stderr, flush=True)
                loaded = loaded or data.load(chosen)
                result = _measured(measure, chapter, chosen, k, loaded, changed)
                results.save(result)
            done.append(result)
    return done


def check(found: list[results.Result]) -> str:
    """Raise StudyError if a network behind the results learned nothing: twice chance is the least expected."""
    for result in found:
        accuracy = sum(row["accuracy"] for row in result.tables["base"]) / len(result.tables["base"])
        chance = 1 / settings.get(result.setting, result.preset).n_classes
        if accuracy < 2 * chance:
            raise StudyError(
                f"{result.chapter}, {result.setting}, preset {result.preset}, seed {result.seed}: the whole network's "
                f"accuracy is {accuracy:.3f}, expected at least {2 * chance}. Its training failed; see training.fit."
            )
    count = "1 result" if len(found) == 1 else f"{len(found)} results"
    return f"{count}, every network at least twice as accurate as chance"


def holds(result: results.Result, setting: settings.Setting) -> bool:
    """Whether a result was measured with the setting, the code, the dataset and the lock as they are now.

    A dataset that is not on this machine cannot have changed here. What a machine without the locked versions
    measured says so in its provenance, and holds as long as the lock stays.
    """
    origin = result.provenance
    if origin["setting"] != _described(setting) or origin["code_sha256"] != _code(STUDIES[result.chapter]):
        return False
    locked = origin.get("lock", origin["versions"])  # results of before the lock was recorded were made with it
    if any(locked[name] != version for name, version in provenance.lock().items()):
        return False
    return checksums.of(setting) in (None, origin["data_sha256"])


def _described(setting: settings.Setting) -> dict:
    """The setting as JSON; without the list of seeds, of which a result is one."""
    return {name: value for name, value in asdict(setting).items() if name != "seeds"}


def _code(measure: Callable) -> str:
    return provenance.code_digest(measure.__module__.removeprefix("nssutils."))


def _measured(measure: Callable, chapter: str, setting: settings.Setting, seed: int, loaded, changed: dict):
    start = time.perf_counter()
    tables = measure(setting, seed, loaded, **changed)
    origin = {
        "setting": _described(setting),
        "device": provenance.device_name(training.device()),
        "versions": provenance.versions(),
        "lock": provenance.lock(),
        "data_sha256": loaded.sha256,
        "code_sha256": _code(measure),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - start, 1),
    }
    return results.Result(chapter, setting.preset, setting.name, seed, changed, origin, tables)


def _default(measure: Callable, name: str):
    defaults = measure.__kwdefaults__ or {}
    if name not in defaults:
        raise StudyError(f"unknown reading {name!r}; known: {', '.join(defaults)}.{near_miss(name, defaults)}")
    return defaults[name]


def listed(text: str, known: tuple[str, ...]) -> list[str]:
    return list(known) if text == "all" else [part.strip() for part in text.split(",")]


def _seeds(seed: str | int, setting: settings.Setting) -> list[int]:
    if seed == "all":
        return list(setting.seeds)
    try:
        return [int(part) for part in str(seed).split(",")]
    except ValueError:
        raise StudyError(f"seed {seed!r} given, expected a number, several separated by commas, or 'all'.") from None
