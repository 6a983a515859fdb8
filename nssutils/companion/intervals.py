"""How far apart two accuracies are, and whether that can be told from the networks and test images at hand."""

from collections.abc import Sequence

import numpy as np
from scipy import special  # scipy.stats takes a second to import

ENOUGH = 3  # networks, below which one network's luck could be all there is to a difference


def half_width(values: Sequence[float], images: Sequence[np.ndarray] = ()) -> float:
    """Half of the 95% interval of the mean of `values`, one a network; NaN below three, where it says next to nothing.

    Student's t over the networks. images: where it is known, what happens to each test image, (N,) a network; the
    interval over these, which all networks share, comes on top (in quadrature, as of two independent draws).
    """
    n = len(values)
    if n < ENOUGH:
        return float("nan")
    over_networks = special.stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(n)
    return float(np.hypot(over_networks, image_half_width(np.mean(images, axis=0)) if len(images) else 0.0))


def image_half_width(change: np.ndarray) -> float:
    """Half of the 95% interval of the mean of `change`, what happens to each of N test images, (N,).

    What a paired bootstrap over the images tends to, in closed form: the images are the sample, the network is held.
    """
    return float(special.ndtri(0.975) * np.std(change) / np.sqrt(len(change)))


def told_apart(changes: Sequence[float], images: Sequence[np.ndarray] = ()) -> int:
    """1 where the mean of `changes`, one a network, is a rise, -1 where it is a fall, 0 where neither can be told: with
    fewer than three networks, where one of them has no change, or where the interval (`half_width`) has zero in it."""
    changes = list(changes)
    if len(changes) < ENOUGH:
        return 0
    mean = float(np.mean(changes))
    return 0 if np.isnan(mean) or abs(mean) <= half_width(changes, images) else int(np.sign(mean))


def p_value(changes: Sequence[float], images: Sequence[np.ndarray] = ()) -> float:
    """How likely a mean as far from zero is by chance: 0.05 where zero is at the end of the interval; 1 below three."""
    if len(changes) < ENOUGH:
        return 1.0
    mean, half, freedom = abs(float(np.mean(changes))), half_width(changes, images), len(changes) - 1
    if half == 0 or mean == 0:
        return float(mean == 0)
    return float(2 * special.stdtr(freedom, -mean / half * special.stdtrit(freedom, 0.975)))


def holding_together(chances: Sequence[float]) -> list[bool]:
    """Which of several differences, by their p-values, can be told so that one by chance among all of them is no more
    likely than 0.05 (Holm 1979)."""
    held, order = [False] * len(chances), np.argsort(chances, kind="stable")
    for rank, at in enumerate(order):
        if chances[at] > 0.05 / (len(chances) - rank):
            break
        held[at] = True
    return held


def marked(text: str, told: int) -> str:
    """The text of a cell, marked where its difference is none that can be told."""
    return text if told or text == "–" else f"≈{text}"
