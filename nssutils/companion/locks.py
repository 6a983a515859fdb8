"""Who works on what: a lock is a file that a process holds open, and that says who it is and since when.

The system gives it free when the process ends, however it ends: no lock is left behind.
"""

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from nssutils import files
from nssutils.errors import NssError

GLANCES = 3  # as often a lock is tried for: someone may have looked at it just then


class LockError(NssError):
    """Someone else holds the lock."""


@contextmanager
def held(path: Path, what: str, wait: bool = False) -> Iterator[None]:
    """Hold the lock `path` within the block; `what` names what it guards, for whoever is told to wait.

    Raises LockError, saying who holds it and since when, or waits, and says so, until it is free.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b")  # not "w": what its holder says must stay
    except OSError as error:
        raise files.FileError(f"{path} cannot be written ({error.strerror}), expected a folder that can be.") from error
    with file:
        if not _taken(file):
            if not wait:
                raise LockError(f"{what} is locked by {_holder(file)}. Wait for it, or stop it, and try again.")
            print(f"waiting for {what}: {_holder(file)} has it", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        me = {"process": os.getpid(), "machine": socket.gethostname(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
        file.write(json.dumps(me).encode())
        file.flush()
        yield


def holder(path: Path) -> str:
    """Who holds the lock, in another process or this one, and since when; "" where nobody does."""
    if not path.exists():
        return ""
    with open(path, "rb") as file:
        # Shared: who only looks is in nobody's way who looks, too, and a file that is read can have no other on NFS.
        return "" if _free(file, fcntl.LOCK_SH) else _holder(file)


def _taken(file) -> bool:
    """Whether the lock was free; it is held then, until the file is closed."""
    for _ in range(GLANCES):
        if _free(file, fcntl.LOCK_EX):
            return True
        time.sleep(0.02)
    return False


def _free(file, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file) -> str:
    file.seek(0)
    try:
        me = json.loads(file.read())
        return f"process {me['process']} on {me['machine']} since {me['since']}"
    except (ValueError, TypeError, LookupError):  # it has the lock and has not yet said who it is
        return "a process that has just begun"
