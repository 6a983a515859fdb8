"""The one exception type of the project: its messages quote what was given and say what was expected."""

import difflib
from collections.abc import Iterable


class NssError(Exception):
    """Base of every error this package raises on purpose."""


def near_miss(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the known name closest to `name`, or `""` where none is close."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
