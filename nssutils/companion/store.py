"""How the store of results is filled, and whether what it holds still stands."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch

from nssutils import data, digests, files, settings, training
from nssutils.companion import checksums, locks, provenance, ranges, results, schema
from nssutils.errors import NssError, near_miss
from nssutils.studies import BY_THE_FIRST, STUDIES


class StoreError(NssError):
    """A chapter, setting or seed that is not known."""


def fill(
    chapter: str, preset: str, setting: str = "all", seed: str | int = "all", recompute: bool = False, **readings
) -> list[results.Result]:
    """Measure what the store lacks of a chapter; returns the results asked for.

    setting: a name, several separated by commas, or "all"; seed: a number, several separated by commas, or "all" of the
    preset. preset "published" computes nothing and returns nothing: the published results are shown in any case.
    readings: parameters of the study, of which those at their default do not count. A result is stored as soon as it
    is measured, so that what a failure or an interruption leaves is kept; one that is being measured by another
    process is waited for.
    """
    if chapter not in STUDIES:
        raise StoreError(f"unknown chapter {chapter!r}; known: {', '.join(STUDIES)}.{near_miss(chapter, STUDIES)}")
    if preset == "published":
        return []
    measure = STUDIES[chapter]
    ranges.check(readings)
    changed = {name: value for name, value in readings.items() if value != _default(measure, name)}
    done = []
    for name in listed(setting, settings.NAMES):
        chosen = settings.get(name, preset)
        loaded = None
        for k in _seeds(seed, chosen):
            cell, what = (chapter, preset, name, k, changed), f"{chapter}: {name}, preset {preset}, seed {k}"
            result = None if recompute else _standing(cell)
            if result is None:
                with locks.held(claim(*cell), what, wait=True):
                    result = None if recompute else _standing(cell)  # whoever had the lock may have measured it
                    if result is None:
                        print(what, file=sys.stderr, flush=True)
                        loaded = loaded or data.load(chosen)
                        with training_alone(chosen, networks(chapter, chosen, k), loaded):
                            result = _measured(chapter, chosen, k, loaded, changed)
                        results.save(result)
            done.append(result)
    return done


STANDING = ("held", "certified")  # the states of a cell whose result stands


def claim(chapter: str, preset: str, setting: str, seed: int, readings: dict) -> Path:
    """The lock of a cell: who holds it is measuring it."""
    file = results.path(Path(), chapter, preset, setting, seed, readings)
    return results.local() / ".claims" / ".".join(file.with_suffix("").parts)


@contextmanager
def training_alone(setting: settings.Setting, seeds: set[int], loaded: data.Data) -> Iterator[None]:
    """Within the block no other process trains these networks. One that is whole is locked for nobody; one that another
    process is training is waited for."""
    with ExitStack() as stack:
        for k in sorted(seeds):
            if training.is_trained(setting, k, loaded):
                continue
            with ExitStack() as own:
                own.enter_context(locks.held(network(setting, k), f"network {setting.name}, seed {k}", wait=True))
                if not training.is_trained(setting, k, loaded):  # whoever had the lock may have trained it
                    stack.push(own.pop_all())
        yield


def networks(chapter: str, setting: settings.Setting, seed: int) -> set[int]:
    """The seeds of the setting's networks that one result of a chapter is measured on."""
    return {seed, setting.seeds[0]} if chapter in BY_THE_FIRST else {seed}


def network(setting: settings.Setting, seed: int) -> Path:
    """The lock of a network: who holds it may be training it. Presets may train it alike and share its checkpoint."""
    return results.local() / ".claims" / f"network.{setting.name}.seed{seed}"


def _standing(cell: tuple) -> results.Result | None:
    """What the stores have of a cell, if it holds; a damaged or misplaced result of this machine is set aside, to be
    made again."""

    def set_aside(file: Path, error: results.ResultError) -> None:
        if file.is_relative_to(results.PUBLISHED):
            raise error  # only its owner can restore it
        files.set_aside(file, f"is no result that can be used ({error})")

    state, found = seen(cell, damaged=set_aside)
    return found if state in STANDING else None


def _told(file: Path, error: results.ResultError) -> None:
    print(f"nss: {error}", file=sys.stderr)


def seen(
    cell: tuple, checksum: Callable | None = None, damaged: Callable[[Path, results.ResultError], None] = _told
) -> tuple[str, results.Result | None]:  # fmt: skip
    """A cell's state, and its result where there is one: of this machine's and the published one the first that stands.

    The state is "held", "certified" (measured by other code that computes the same), "stale" (measured, but not with
    the present setting, code, dataset and lock), "damaged" (a file that is no result, or another's) or "missing".
    checksum: as of `holds`; damaged: what is done about a damaged file.
    """
    others: list[tuple[str, results.Result | None]] = []
    for file in results.stored(*cell):
        try:
            found = results.read(file)
        except results.ResultError as error:
            damaged(file, error)
            others.append(("damaged", None))
            continue
        if by := holds(found, settings.get(found.setting, found.preset), checksum):
            return {"code": "held", "fingerprint": "certified"}[by], found
        others.append(("stale", found))
    return others[0] if others else ("missing", None)


def publish(chapter: str, preset: str, replace: bool = False) -> dict[Path, str | None]:
    """Copy this machine's results of a chapter, made with its default readings, to data/results; returns where each
    stands now, with None where it was copied.

    A published one that holds stays, wherever it was measured, unless `replace` is asked for; its place is given with
    how the two differ, "" where they do not. Raises ResultError for one that is damaged or misplaced, StoreError for
    one that does not hold any more.
    """
    if preset == "smoke":
        raise StoreError(
            "preset 'smoke' given, expected 'quick', 'overnight' or 'paper': smoke numbers are never published."
        )
    there = sorted((results.local() / chapter / preset).glob("*/seed*.json"))
    found = [result for result in map(results.read, there) if not result.readings]
    if not found:
        raise StoreError(
            f"{results.local()} has no result of {chapter} at preset {preset}; compute some: "
            f"nss run {chapter} -p preset={preset}."
        )
    for result in found:
        chosen = settings.get(result.setting, preset)
        if result.seed not in chosen.seeds or not holds(result, chosen):
            raise StoreError(
                f"{chapter}, {result.setting}, preset {preset}, seed {result.seed} is stale, or no seed of the preset "
                f"({', '.join(map(str, chosen.seeds))}), expected only what holds: nothing is published. "
                f"`nss list` says which are stale; compute them again, or delete them from {results.local()}."
            )
    told: dict[Path, str | None] = {}
    for result in found:
        place = results.path(results.PUBLISHED, chapter, preset, result.setting, result.seed, {})
        first = results.read(place) if place.exists() else None
        stays = first is not None and not replace and holds(first, settings.get(result.setting, preset))
        if not stays:
            results.save(result, results.PUBLISHED)
        told[place] = results.unlike(first, result) if stays else None
    return told


def check(found: list[results.Result]) -> str:
    """Raise StoreError if a network behind the results learned nothing: twice chance is the least expected."""
    for result in found:
        accuracy = sum(row["accuracy"] for row in result.tables["base"]) / len(result.tables["base"])
        chance = 1 / settings.get(result.setting, result.preset).n_classes
        if accuracy < 2 * chance:
            raise StoreError(
                f"{result.chapter}, {result.setting}, preset {result.preset}, seed {result.seed}: the whole network's "
                f"accuracy is {accuracy:.3f}, expected at least {2 * chance}. Its training failed; see training.fit."
            )
    count = "1 result" if len(found) == 1 else f"{len(found)} results"
    return f"{count}, every network at least twice as accurate as chance"


def holds(
    result: results.Result, setting: settings.Setting, checksum: Callable[[settings.Setting], str | None] | None = None
) -> str:
    """By what a result still stands: "code", "fingerprint", or "" where it does not.

    Its setting, but for the machine's arithmetic, its dataset and lock must be the present ones, and its code too, or
    one certified to compute the same (nssutils.digests). A dataset that is not on this machine cannot have changed
    here. What a machine without the locked versions measured says so in its provenance, and holds as long as the lock
    stays. checksum: to be asked instead of checksums.of.
    """
    origin = result.provenance
    if _asked(origin["setting"]) != _asked(_described(setting)):
        return ""
    locked = origin.get("lock", origin["versions"])  # results of before the lock was recorded were made with it
    if any(locked.get(name) != version for name, version in provenance.lock().items()):
        return ""
    if any(locked.get(name, version) != version for name, version in provenance.lock_of(result.chapter).items()):
        return ""
    if (checksum or checksums.of)(setting) not in (None, origin["data_sha256"]):
        return ""
    present = code(result.chapter)
    if origin["code_sha256"] == present:
        return "code"
    return "fingerprint" if digests.equivalent(result.chapter, origin["code_sha256"], present) else ""


def code(chapter: str) -> str:
    """The digest of the code that measures a chapter."""
    measure = STUDIES[chapter]
    return digests.code(f"{measure.__module__.removeprefix('nssutils.')}.{measure.__qualname__}", "data.load")


def _described(setting: settings.Setting) -> dict:
    """The setting as JSON; without the list of seeds, of which a result is one."""
    fields = {name: value for name, value in asdict(setting).items() if name != "seeds"}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def _asked(described: dict) -> dict:
    """What of a described setting its name and preset decide, not the machine."""
    return {name: value for name, value in described.items() if name not in settings.MACHINES}


def _measured(chapter: str, setting: settings.Setting, seed: int, loaded: data.Data, changed: dict) -> results.Result:
    torch.set_num_threads(training.THREADS)
    start, origin_of_code = time.perf_counter(), code(chapter)
    tables = STUDIES[chapter](setting, seed, loaded, **changed)
    origin = {
        "setting": _described(setting),
        "device": schema.plain(provenance.device_name(training.device())),
        "processor": schema.plain(digests.processor()),
        "network": training.origin(setting, seed, loaded),
        "versions": provenance.versions(),
        "lock": provenance.lock() | provenance.lock_of(chapter),
        "data_sha256": loaded.sha256,
        "code_sha256": origin_of_code,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - start, 1),
    }
    return results.Result(chapter, setting.preset, setting.name, seed, changed, origin, tables)


def _default(measure: Callable, name: str):
    defaults = measure.__kwdefaults__ or {}
    if name not in defaults:
        raise StoreError(f"unknown reading {name!r}; known: {', '.join(defaults)}.{near_miss(name, defaults)}")
    return defaults[name]


def listed(text: str, known: tuple[str, ...]) -> list[str]:
    """The names of a text: "all", one, or several separated by commas."""
    return list(known) if text == "all" else [part.strip() for part in text.split(",")]


def _seeds(seed: str | int, setting: settings.Setting) -> list[int]:
    if seed == "all":
        return list(setting.seeds)
    ranges.check({"seed": str(seed)})
    return [int(part) for part in str(seed).split(",")]
