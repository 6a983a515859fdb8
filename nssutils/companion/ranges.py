"""The values that a chapter's parameters may have beside their types, checked before anything is computed."""

import math

from nssutils import contribution, settings
from nssutils.companion import schema
from nssutils.errors import NssError, near_miss


class RangeError(NssError):
    """A parameter's value that means nothing."""


def _numbers(text: str, most: int) -> bool:
    """Whether a text is whole numbers up to `most`, separated by commas, each once."""
    parts = [part.strip() for part in text.split(",")]
    return all(part.isascii() and part.isdigit() and len(part) < 10 and int(part) <= most for part in parts) and len(
        set(parts)
    ) == len(parts)


def _known(text: str) -> bool:
    return text == "all" or all(part.strip() in settings.KNOWN for part in text.split(","))


def _within(low: float, high: float):
    return lambda value: low <= value <= high


def _one_of(*names: str):
    return f"one of {', '.join(names)}", lambda value: value in names


_SHARE, _MORE = ("a share in [0, 1]", _within(0, 1)), ("0 or more", lambda value: value >= 0)
# Parameter -> what it must be, in words, and whether a value is that.
RANGES = {
    "preset": _one_of(*settings.PRESETS, "published"),
    "setting": (f"all, or some of {', '.join(settings.KNOWN)}, separated by commas", _known),
    "seed": ("all, or numbers from 0, separated by commas", lambda value: value == "all" or _numbers(value, 2**31)),
    "samples": ("2 or more", lambda value: value >= 2),
    "taylor_batch": ("1 or more", lambda value: value >= 1),
    "epochs": _MORE,
    "finetune": _MORE,
    "lr": ("a learning rate above 0, at most 1", lambda value: 0 < value <= 1),
    "tolerance": _SHARE,
    "theta": _SHARE,
    "threshold": _SHARE,
    "share": _SHARE,
    "eps_fgsm": _SHARE,
    "eps_pgd": _SHARE,
    "spatial": _one_of("mean", "flatten"),
    "task_a": _one_of("preset", "first", "last", "both"),
    "mix": _one_of("shuffled", "balanced"),
    "metric": _one_of(*contribution.METRICS),
    "metrics": _one_of("top3", "all"),
}
# Names of a reader's own files and functions: no result has them.
FREE = {"network", "data", "more", "out"}


def check(values: dict) -> None:
    """Raise RangeError, naming the parameter, what was given and what is expected, for the first that is out of range.

    A name without a range of its own may have any finite number and any text of plain letters.
    """
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise RangeError(f"parameter {name!r}: {value} given, expected a finite number.")
        if isinstance(value, str) and name not in FREE and not schema.is_plain(value):
            raise RangeError(f"parameter {name!r}: {value!r:.60} given, expected letters, digits and plain signs.")
        expected, holds = RANGES.get(name, ("", lambda value: True))
        if not holds(value):
            names = settings.KNOWN if name == "setting" else settings.PRESETS if name == "preset" else ()
            raise RangeError(f"parameter {name!r}: {value!r:.60} given, expected {expected}.{near_miss(value, names)}")
