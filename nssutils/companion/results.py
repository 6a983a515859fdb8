"""The results store: one JSON file per (chapter, preset, setting, seed), with its provenance; and means over seeds.

Two folders have the same shape, `<chapter>/<preset>/<setting>/seed<k>.json`: what this machine computed
(data/cache/results, or the folder that NSS_RESULTS names) and what is published with the book (data/results).
A result made with other readings than the chapter's defaults has them in its file's name and is never published.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from nssutils import digests, files, settings
from nssutils.companion import older, schema
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
        if wrong := schema.fault(vars(self)):
            where = f"{self.chapter}/{self.preset}/{self.setting}/seed{self.seed}"
            raise ResultError(f"result {where:.100}: {wrong}.")

    def frame(self, table: str) -> pd.DataFrame:
        """One of the tables, made a frame once, not to be changed. Raises KeyError where there is none."""
        if table not in self._frames:
            self._frames[table] = pd.DataFrame(self.tables[table])
        return self._frames[table]

    @cached_property
    def _frames(self) -> dict[str, pd.DataFrame]:
        return {}


def local() -> Path:
    """The folder of the results computed on this machine. Raises ResultError where NSS_RESULTS is no whole path, or
    that of a file."""
    named = os.environ.get("NSS_RESULTS")
    if named and not Path(named).is_absolute():  # chapters run in a folder of their own: it would mean two stores
        raise ResultError(f"NSS_RESULTS={named} given, expected a whole path: NSS_RESULTS={os.path.abspath(named)}.")
    folder = Path(named or DATA / "cache" / "results")
    if folder.exists() and not folder.is_dir():
        raise ResultError(f"NSS_RESULTS={named} given, which is a file, expected a folder or a place for one.")
    return folder


def path(folder: Path, chapter: str, preset: str, setting: str, seed: int, readings: Mapping[str, Scalar]) -> Path:
    """Where a result is kept in a store's folder. Raises ResultError for readings that no file's name can hold."""
    suffix = "".join(f",{name}={value}" for name, value in sorted(readings.items()))
    if "/" in suffix or len(suffix) > 200:
        raise ResultError(f"readings {suffix[1:]!r:.80} given, expected short ones without '/': they name a file.")
    return folder / chapter / preset / setting / f"seed{seed}{suffix}.json"


def save(result: Result, folder: Path | None = None) -> Path:
    """Write a result to a store (this machine's unless given), atomically; returns its path."""
    target = path(
        folder or local(), result.chapter, result.preset, result.setting, result.seed, result.readings
    )  # fmt: skip
    with files.atomically(target) as partial:
        partial.write_text(_compact(sealed(asdict(result))))
    return target


def unlike(first: Result, second: Result) -> str:
    """In what two results of one cell differ most, times left out: the number that is furthest off; "" in nothing."""
    furthest, apart = "", -1.0
    for table in first.tables.keys() | second.tables.keys():
        rows, others = (each.tables.get(table, []) for each in (first, second))
        if len(rows) != len(others):
            return f"{table} has {len(rows)} and {len(others)} rows"
        for number, (row, other) in enumerate(zip(rows, others, strict=True)):
            for name in row.keys() | other.keys():
                mine, theirs = row.get(name), other.get(name)
                if mine == theirs or name.startswith("seconds"):
                    continue
                numbers = isinstance(mine, int | float) and isinstance(theirs, int | float)
                off = abs(mine - theirs) if numbers else 0.0
                if off > apart:
                    furthest, apart = f"row {number} of {table}, {name}: {mine!r:.40} and {theirs!r:.40}", off
    return furthest


def sealed(content: dict) -> dict:
    """A result's fields with a digest over them."""
    return {"sha256": digests.of(content)} | content


def read(file: Path) -> Result:
    """Read and check one result: its digest, that it lies where its own words put it, and what it says.

    Raises ResultError naming the file, what was found and the mend.
    """
    content = _content(file)
    if "sha256" not in content:
        raise ResultError(f"{file} has no digest, expected one: give it one with `nss seal`, or {_mend(file)}.")
    digest = content.pop("sha256")
    if digest != digests.of(content):
        raise ResultError(f"{file} is not what was written: its digest is {digest!r:.20}; {_mend(file)}.")
    return _checked(file, content)


def seal(folder: Path) -> list[Path]:
    """Give the results of a store that were written before there were digests theirs, after checking them."""
    done = []
    for file in sorted(folder.rglob("seed*.json")):
        content = _content(file)
        if "sha256" not in content:
            done.append(save(_checked(file, content), folder))
    return done


def _content(file: Path) -> dict:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(f"{file} cannot be read ({error}); {_mend(file)}.") from error
    names = {field.name for field in fields(Result)}
    if not isinstance(content, dict) or content.keys() - {"sha256"} != names:
        found = f"{', '.join(sorted(content)):.80}" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise ResultError(
            f"{file} is no result: it has {found}, expected exactly the entries {', '.join(sorted(names))} and sha256; "
            f"{_mend(file)}."
        )
    return content


def _checked(file: Path, content: dict) -> Result:
    try:
        result = Result(**content)
        own = path(Path(), result.chapter, result.preset, result.setting, result.seed, result.readings)
    except ResultError as error:
        raise ResultError(f"{file}: {error} To mend it, {_mend(file)}.") from error
    if file.parts[-4:] != own.parts:
        raise ResultError(f"{file} is the result {own}, expected the one that belongs there; {_mend(file)}.")
    return result


def _mend(file: Path) -> str:
    if file.is_relative_to(PUBLISHED):
        return f"restore it: git checkout {os.path.relpath(file)}"
    return "delete it to have it computed again"


def find(chapter: str, preset: str, setting: str, seed: int) -> Result | None:
    """A result of the default readings from this machine's store, else the published one, else None."""
    return next(map(read, stored(chapter, preset, setting, seed)), None)


def stored(
    chapter: str, preset: str, setting: str, seed: int, readings: Mapping[str, Scalar] | None = None
) -> list[Path]:
    """The files of a result: this machine's, the published one, or both."""
    places = [path(folder, chapter, preset, setting, seed, readings or {}) for folder in (local(), PUBLISHED)]
    return [file for file in places if file.exists()]


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


def frame(results: Iterable[Result], table: str) -> pd.DataFrame:
    """One table of several results in long format, with columns setting, preset and seed in front."""
    frames = [
        result.frame(table).assign(setting=result.setting, preset=result.preset, seed=result.seed)
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
