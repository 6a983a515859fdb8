"""Checksums of the datasets on this machine, without reading them again while their files are the same."""

import json
from functools import cache
from pathlib import Path

from nssutils import data, digests, files
from nssutils.companion.listed import PLACES
from nssutils.settings import Setting


def of(setting: Setting) -> str | None:
    """The SHA-256 that data.load gives the setting's dataset; None where the dataset is not on this machine.

    A file's date and size decide only whether the dataset is read again: what is the same has the same checksum.
    """
    if setting.dataset not in PLACES:
        return _with_library(setting)
    place = next((data.root() / name for name in PLACES[setting.dataset] if (data.root() / name).exists()), None)
    if place is None:
        return None
    # Photographs are scaled to the setting's size before they are summed up.
    seen = digests.of([setting.dataset, setting.image_size, _files(place)])
    file = data.CACHE / "checksums.json"
    known = _read(file)
    if seen not in known:
        known[seen] = data.load(setting).sha256
        with files.atomically(file) as partial:
            partial.write_text(json.dumps({"checksums": known, "sha256": digests.of(known)}, indent=1))
    return known[seen]


def _read(file: Path) -> dict[str, str]:
    """What is known already. A file that is not what was written is set aside: a wrong checksum would turn results
    stale."""
    if not file.exists():
        return {}
    try:
        content = json.loads(file.read_bytes())
        if content["sha256"] == digests.of(content["checksums"]) and isinstance(content["checksums"], dict):
            return content["checksums"]
        files.set_aside(file, "is not what was written")
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        files.set_aside(file, f"has no checksums with their digest ({type(error).__name__}: {error})")
    return {}


@cache
def _with_library(setting: Setting) -> str:
    """Of a dataset that comes with a library, which does not change while this runs."""
    return data.load(setting).sha256


def _files(place: Path) -> list[list]:
    """Name, size and date of every file."""
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    return [[str(path.relative_to(place)), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
