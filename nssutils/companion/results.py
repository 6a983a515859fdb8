"""The results store: one JSON file per (chapter, preset, setting, seed), with its provenance; and means over seeds.

Two folders have the same shape, `<chapter>/<preset>/<setting>/seed<k>.json`: what this machine computed
(data/cache/results, or the folder that NSS_RESULTS names) and what is published with the book (data/results).
A result made with other readings than the chapter's defaults has them in its file's name and is never published.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import pandas as pd

from nssutils import files, settings
from nssutils.companion import older
from nssutils.companion.intervals import half_width
from nssutils.errors import NssError

DATA = files.ROOT / "data"
PUBLISHED = DATA / "results"

Scalar = str | int | float | bool | None


class ResultError(NssError):
    """A result that is malformed, or asked for and not there."""


@dataclass(frozen=True)
class Result:
    """What one chapter measured for one setting and seed."""

    chapter: str
    preset: str
    setting: str
    seed: int
    readings: dict[str, Scalar]  # the chapter's parameters that differ from its defaults
    provenance: dict[str, object]
    tables: dict[str, list[dict[str, Scalar]]]  # long format: rows of scalars, the same keys in each row of a table

    def __post_init__(self):
        where = f"result {self.chapter}/{self.preset}/{self.setting}/seed{self.seed}"
        if missing := PROVENANCE - self.provenance.keys():
            raise ResultError(f"{where}: provenance lacks {', '.join(sorted(missing))}.")
        if self.setting not in settings.KNOWN or self.preset not in settings.PRESETS:
            raise ResultError(f"{where}: expected a setting of {settings.KNOWN} and a preset of {settings.PRESETS}.")
        for name, rows in self.tables.items():
            for row in rows:
                if row.keys() != rows[0].keys():
                    raise ResultError(f"{where}: rows of table {name!r} differ: {list(row)} and {list(rows[0])}.")
                for key, value in row.items():
                    if not isinstance(value, Scalar):
                        raise ResultError(f"{where}: {name}.{key} is a {type(value).__name__}, expected a scalar.")
                    if isinstance(value, float) and not math.isfinite(value):
                        raise ResultError(f"{where}: {name}.{key} is {value}, expected a finite number.")
                    if key in SHARES and value is not None and not -1e-9 <= value <= 1 + 1e-9:
                        raise ResultError(f"{where}: {name}.{key} is {value}, expected a share in [0, 1].")


PROVENANCE = {"setting", "device", "versions", "data_sha256", "code_sha256", "created", "seconds"}
SHARES = {"accuracy", "compression_rate", "similarity", "share"}


def local() -> Path:
    """The folder of the results computed on this machine."""
    return Path(os.environ.get("NSS_RESULTS") or DATA / "cache" / "results")


def path(folder: Path, chapter: str, preset: str, setting: str, seed: int, readings: Mapping[str, Scalar]) -> Path:
    """Where a result is kept in a store's folder."""
    suffix = "".join(f",{name}={value}" for name, value in sorted(readings.items()))
    return folder / chapter / preset / setting / f"seed{seed}{suffix}.json"


def save(result: Result, folder: Path | None = None) -> Path:
    """Write a result to a store (this machine's unless given), atomically; returns its path."""
    target = path(
        folder or local(), result.chapter, result.preset, result.setting, result.seed, result.readings
    )  # fmt: skip
    with files.atomically(target) as partial:
        partial.write_text(_compact(asdict(result)))
    return target


def read(file: Path) -> Result:
    """Read and check one result. Raises ResultError naming the file."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ResultError(f"{file} cannot be read ({error}); delete it to have it computed again.") from error
    names = {field.name for field in fields(Result)}
    if not isinstance(content, dict) or content.keys() != names:
        raise ResultError(f"{file} is no result: expected exactly the entries {', '.join(sorted(names))}.")
    return Result(**content)


def find(
    chapter: str, preset: str, setting: str, seed: int, readings: Mapping[str, Scalar] | None = None
) -> Result | None:
    """A result from this machine's store, else the published one, else None."""
    for folder in (local(), PUBLISHED):
        file = path(folder, chapter, preset, setting, seed, readings or {})
        if file.exists():
            return read(file)
    return None


def published(chapter: str, names: Iterable[str] = settings.KNOWN) -> list[Result]:
    """The published results of a chapter: of each setting those at the highest preset it has, paper first."""
    found = []
    for name in names:
        for preset in ("paper", "overnight", "quick"):
            files = sorted((PUBLISHED / chapter / preset / name).glob("seed*.json"))
            if files:
                found += [read(file) for file in files]
                break
    return [presented(result) for result in found]


def presented(result: Result) -> Result:
    """A result in the shape of today's tables."""
    return replace(result, tables=older.presented(result.chapter, result.tables))


def publish(chapter: str, preset: str) -> list[Path]:
    """Copy this machine's results of a chapter, made with its default readings, to data/results; returns the copies."""
    if preset == "smoke":
        raise ResultError(
            "preset 'smoke' given, expected 'quick', 'overnight' or 'paper': smoke numbers are never published."
        )
    found = [read(file) for file in sorted((local() / chapter / preset).glob("*/seed*.json"))]
    found = [result for result in found if not result.readings]
    if not found:
        raise ResultError(
            f"{local()} has no result of {chapter} at preset {preset}; compute some: "
            f"nss run {chapter} -p preset={preset}."
        )
    return [save(result, PUBLISHED) for result in found]


def frame(results: Iterable[Result], table: str) -> pd.DataFrame:
    """One table of several results in long format, with columns setting, preset and seed in front."""
    frames = [
        pd.DataFrame(result.tables[table]).assign(setting=result.setting, preset=result.preset, seed=result.seed)
        for result in results
        if result.tables.get(table)
    ]
    if not frames:
        return pd.DataFrame(columns=["setting", "preset", "seed"])
    whole = pd.concat(frames, ignore_index=True)
    front = ["setting", "preset", "seed"]
    return whole[front + [column for column in whole if column not in front]]


def aggregate(rows: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Mean over seeds of `value` for each combination of `by`: columns mean, half (of the 95% interval), n.

    The interval is Student's t over seeds; `half` is NaN below three, since for two it says next to nothing (t = 12.7).
    """
    grouped = rows.groupby(by, sort=False)[value]
    return grouped.agg(mean="mean", n="count", half=half_width).reset_index()


def _compact(content: dict) -> str:
    """JSON with one row of a table a line: small, and readable in a diff."""
    tables = content.pop("tables")
    head = json.dumps(content, indent=1, allow_nan=False)
    rows = {
        name: "[\n" + ",\n".join("   " + json.dumps(row, allow_nan=False) for row in table) + "\n  ]"
        for name, table in tables.items()
    }
    body = ",\n".join(f"  {json.dumps(name)}: {text}" for name, text in rows.items())
    return head.removesuffix("\n}") + ',\n "tables": {\n' + body + "\n }\n}\n"
