"""Where the project lies, files that are written whole or not at all, and what becomes of damaged ones."""

import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nssutils.errors import NssError

ROOT = Path(__file__).resolve().parent.parent
_HOST = re.sub(r"\W", "_", socket.gethostname())


class FileError(NssError):
    """A file that cannot be written: the disk is full, or may not be written to."""


@contextmanager
def atomically(path: str | Path) -> Iterator[Path]:
    """A path to write to within the block: it becomes `path` when the block ends well, and is gone when it does not.

    Raises FileError where the disk is full or read-only; what lay at `path` is still there then. An error of another
    file, which the block reads, is that file's.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{_HOST}-{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        try:
            yield partial
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        where, whole = Path(error.filename or path).absolute(), path.absolute()
        if not where.is_relative_to(whole.parent) and not whole.is_relative_to(where):
            raise
        raise FileError(
            f"{path} cannot be written ({error.strerror or error}), expected a folder with room that may be written "
            "to. What was there is as it was: make room or allow writing, and give the same command again."
        ) from error


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder in `folder` to work in within the block, gone when it ends; what a killed process left is swept away."""
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix="_", suffix=f".{_HOST}-{os.getpid()}.partial") as made:
        yield Path(made)


def set_aside(path: Path, why: str) -> None:
    """Rename a damaged file of the cache to `*.damaged` and say so in one line: who needs it makes it again."""
    damaged = path.with_name(f"{path.name}.damaged")
    print(f"{path} {why}: it is kept as {damaged.name} and made again.", file=sys.stderr, flush=True)
    try:
        os.replace(path, damaged)
    except OSError as error:
        raise FileError(f"{path} {why}, and cannot be set aside ({error.strerror}): move it away.") from error


def _sweep(folder: Path) -> None:
    """Remove what processes of this machine left behind that were killed between writing and renaming."""
    for partial in folder.glob("*.partial"):
        found = re.search(r"\.(?:(\w+)-)?(\d+)\.partial$", partial.name)
        if found and found[1] in (_HOST, None) and not _alive(int(found[2])):
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):  # none, or a number that is none's
        return False
    except PermissionError:  # another user's
        return True
    return True
