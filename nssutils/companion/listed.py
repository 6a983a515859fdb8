"""What `nss list` said last, said again while nothing that it rests on has changed: without torch, at once.

It rests on the results, the code that measured them, the chapters, the lock, the certificates and the datasets. Each
file is told by its place, size, inode and times, of which that of its last change cannot be set by hand.
"""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from nssutils import files

FILE = files.ROOT / "data" / "cache" / "listing.json"
RESTS_ON = ("nssutils", "book", "requirements.lock", "data/certificates.json", "data/results")
# Where each dataset lies in its folder; of several places the first that is there.
PLACES = {
    "mnist": ("MNIST/raw",),
    "fashion-mnist": ("FashionMNIST/raw",),
    "cifar10": ("cifar-10-batches-py", "cifar10.npz"),
    "imagenet10": ("imagenet10",),
}


def again(presets: Sequence[str]) -> str | None:
    """What was said of these presets last; None where nothing was, or where it may not be so any more."""
    kept = _read()
    return kept["said"].get(_name(presets)) if kept.get("state") == state() else None


def keep(presets: Sequence[str], text: str, before: str) -> None:
    """Keep what was said, for as long as the state is the one `before` it was worked out."""
    kept = _read()
    said = kept["said"] if kept.get("state") == before else {}
    content = {"state": before, "said": said | {_name(presets): text}}
    with files.atomically(FILE) as partial:
        partial.write_text(json.dumps(content | {"sha256": _digest(content)}, indent=1))


def state() -> str:
    """A digest of all that the answer rests on."""
    cache = files.ROOT / "data" / "cache"
    datasets = Path(os.environ.get("NSS_DATA") or cache)
    places = [files.ROOT / name for name in RESTS_ON] + [Path(os.environ.get("NSS_RESULTS") or cache / "results")]
    places += [datasets / name for several in PLACES.values() for name in several]
    # Handwritten digits come with scikit-learn.
    told: list = [sys.version, version("scikit-learn"), os.getcwd()]
    return _digest(told + [[str(place), sorted(_files(place))] for place in places])


def _files(place: Path) -> list[tuple]:
    """Every file of a folder, or the file itself; none of what Python keeps beside its code."""
    if not place.is_dir():
        return [_told(place)] if place.exists() else []
    found = []
    for folder, below, names in os.walk(place):
        below[:] = [name for name in below if name != "__pycache__" and not name.startswith(".")]
        found += [_told(Path(folder, name)) for name in names]
    return found


def _told(file: Path) -> tuple:
    one = os.stat(file)
    return str(file), one.st_size, one.st_ino, one.st_mtime_ns, one.st_ctime_ns


def _name(presets: Sequence[str]) -> str:
    return " ".join(presets)


def _digest(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _read() -> dict:
    """What is kept. A file that is not what was written is set aside."""
    if not FILE.exists():
        return {}
    try:
        content = json.loads(FILE.read_bytes())
        if content.pop("sha256") == _digest(content):
            return content
        files.set_aside(FILE, "is not what was written")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        files.set_aside(FILE, f"has no listing with its digest ({type(error).__name__}: {error})")
    return {}
