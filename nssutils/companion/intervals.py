"""How far apart two accuracies are, and whether that can be told from the networks and test images at hand."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import special  # scipy.stats takes a second to import


def half_width(values: Sequence[float]) -> float:
    """Half of the 95% interval of the mean (Student's t over seeds); NaN below three, where it says next to nothing."""
    n = len(values)
    return float(special.stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(n)) if n > 2 else float("nan")


def image_half_width(first: np.ndarray, second: np.ndarray) -> float:
    """Half of the 95% interval of the mean of `first` minus `second`, both (N,), for the same N test images.

    What a paired bootstrap over the images tends to, in closed form: the images are the sample, the network is held.
    """
    change = np.asarray(first, float) - np.asarray(second, float)
    return float(special.ndtri(0.975) * change.std() / np.sqrt(len(change)))


def told_apart(changes: Sequence[float], image_halves: Iterable[float] = ()) -> int:
    """1 where the mean of `changes`, one a seed, is a rise, -1 where it is a fall, 0 where neither can be told.

    A change counts only with three networks or more, where it is clear of zero by the interval over seeds and by that
    over test images (`image_halves`, one a seed).
    """
    changes, halves = list(changes), list(image_halves)
    if len(changes) < 3:
        return 0
    over_images = np.sqrt(np.sum(np.square(halves))) / len(changes) if halves else 0.0
    mean = float(np.mean(changes))
    return 0 if abs(mean) <= max(half_width(changes), over_images) else int(np.sign(mean))


def marked(text: str, told: int) -> str:
    """The text of a cell, marked where its difference is none that can be told."""
    return text if told else f"≈{text}"
