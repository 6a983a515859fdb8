"""The rules by which a claim of the paper is judged, stated once: an estimate with its interval in, a verdict out.

- **reproduced**: ours is within its own 95% interval, or within the tolerance that the claim itself implies, of what
  is claimed; a claim without a number is reproduced where it can be told that it holds.
- **direction holds**: the difference points the way it is claimed to, but is of another size; or more cases do than
  can be told to do the contrary.
- **contradicted**: it can be told that the contrary holds, or that it does in as many cases as the claim.
- **cannot be told**: fewer than three networks, or an interval that includes both. A mean over settings can be told
  from three settings of fewer networks, by the spread of the settings.
- **not testable here**: what the claim speaks of does not occur, or is not measured.

A network whose accuracy is more than BASE_GAP points from the paper's network can give a direction at best, and
contradicts nothing. A claim about several settings is worth the weakest of those in which it can be told.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nssutils.companion.intervals import half_width, told_apart

REPRODUCED, DIRECTION, CONTRADICTED, UNTOLD, UNTESTABLE = VERDICTS = (
    "reproduced", "direction holds", "contradicted", "cannot be told", "not testable here",
)  # fmt: skip
SYMBOLS = dict(zip(VERDICTS, "✓∼✗?–", strict=True))
TOLD = (REPRODUCED, DIRECTION, CONTRADICTED)
ENOUGH = 3  # networks, below which one network's luck could be all there is to a difference
BASE_GAP = 0.02


@dataclass(frozen=True)
class Estimate:
    """A quantity as our networks have it: mean, half its 95% interval (infinite below three networks), how many
    networks; shown `scale` times as large with its unit, for instance a share in points."""

    mean: float
    half: float
    networks: int
    unit: str = "points"
    scale: float = 100.0

    def text(self) -> str:
        spread = "" if np.isinf(self.half) else f" ± {self.scale * self.half:.2f}"
        return f"{self.shown(self.mean).removesuffix(self.unit).strip()}{spread} {self.unit}".strip()

    def shown(self, value: float) -> str:
        """Another value of the same quantity, for instance the paper's."""
        return f"{self.scale * value:.2f} {self.unit}".strip()


def over_networks(
    values: Iterable[float], images: Iterable[float] = (), unit: str = "points", scale: float = 100.0
) -> Estimate:
    """values: one a network; images: half the 95% interval of each over the test images, where that is known. The
    wider of the two intervals counts."""
    values, images = [float(value) for value in values], list(images)
    over_images = float(np.sqrt(np.sum(np.square(images)))) / len(values)
    half = max(half_width(values), over_images) if len(values) >= ENOUGH else float("inf")
    return Estimate(float(np.mean(values)), half, len(values), unit, scale)


def over_settings(by_setting: Mapping[str, Sequence[float]], unit: str = "points", scale: float = 100.0) -> Estimate:
    """The mean over settings of the means over their networks, whose settings are given and no sample.

    Where a setting has too few networks for an interval of its own, the spread of the settings serves: that of the
    networks is in it, and what the settings differ by comes on top, so that it is wider than need be.
    """
    few = min(len(values) for values in by_setting.values())
    means = [float(np.mean(values)) for values in by_setting.values()]
    if few >= ENOUGH:
        half = float(np.sqrt(np.sum(np.square([half_width(values) for values in by_setting.values()])))) / len(means)
    else:
        half = half_width(means) if len(means) >= ENOUGH else float("inf")
    return Estimate(float(np.mean(means)), half, few, unit, scale)


@dataclass(frozen=True)
class Opinion:
    """What a rule says: a verdict; `tendency`, 1 where the measured value is as claimed, -1 where it is the contrary,
    whether or not that can be told, 0 where it is neither; and the two values in words."""

    verdict: str
    tendency: int
    ours: str
    paper: str = ""
    networks: int = 0
    note: str = ""


def ahead(estimate: Estimate, margin: float = 0.0, paper: str = "") -> Opinion:
    """The claim: the quantity is above `margin`."""
    return _opinion(estimate, estimate.mean - margin, REPRODUCED, paper, strictly=True)


def valued(estimate: Estimate, printed: float, null: float = 0.0, tolerance: float = 0.0) -> Opinion:
    """The claim: the quantity is `printed`, and so on that side of `null`, which would be no effect."""
    side = 1 if printed >= null else -1
    near = abs(estimate.mean - printed) <= max(tolerance, 0 if np.isinf(estimate.half) else estimate.half)
    return _opinion(
        estimate,
        side * (estimate.mean - null),
        REPRODUCED if near else DIRECTION,
        estimate.shown(printed),
        strictly=True,
    )


def at_most(estimate: Estimate, limit: float, tolerance: float = 0.0, printed: float | None = None) -> Opinion:
    """The claim: the quantity is no more than `limit`, give or take what its wording leaves open."""
    paper = f"at most {estimate.shown(limit)}" if printed is None else estimate.shown(printed)
    return _opinion(estimate, limit + tolerance - estimate.mean, REPRODUCED, paper)


def at_least(estimate: Estimate, limit: float, tolerance: float = 0.0) -> Opinion:
    """The claim: the quantity is no less than `limit`, give or take what its wording leaves open."""
    paper = f"at least {estimate.shown(limit)}"
    return _opinion(estimate, estimate.mean - (limit - tolerance), REPRODUCED, paper)


def compared(
    cases: Iterable[tuple[Sequence[float], Iterable[float]]], what: str, networks: int, paper: str = ""
) -> Opinion:  # fmt: skip
    """The claim: in each case there is a gain. cases: its gains, one a network, and half the interval of each over the
    test images, where that is known."""
    cases = list(cases)
    told = [told_apart(gains, halves) for gains, halves in cases]
    signs = [int(np.sign(np.mean(gains))) for gains, _ in cases]
    return mostly(told, signs, what, networks, paper)


def mostly(told: Iterable[int], signs: Iterable[int], what: str, networks: int, paper: str = "") -> Opinion:
    """The claim: so it is in each case. told: 1 for each case that can be told to be as claimed, -1 for each that can
    be told to be the contrary, 0 for the others; signs: the same by the measured values alone; what: cases of what."""
    told, signs = list(told), list(signs)
    if not told:
        return untestable(f"no {what} to compare")
    yes, no, level = (told.count(sign) for sign in (1, -1, 0))
    if networks < ENOUGH:
        ours = f"{signs.count(1)} of {len(signs)} {what} point so"
        return Opinion(UNTOLD, int(np.sign(sum(signs))), ours, paper, networks, _few(networks))
    ours = ", ".join([f"{yes} of {len(told)} {what}"] + [f"{no} against"] * bool(no) + [f"{level} ≈"] * bool(level))
    if yes + no == 0:
        return Opinion(UNTOLD, int(np.sign(sum(signs))), ours, paper, networks)
    if no >= yes:
        return Opinion(CONTRADICTED, -1, ours, paper, networks)
    return Opinion(REPRODUCED if not no and yes >= level else DIRECTION, 1, ours, paper, networks)


def always(flags: Iterable[bool], what: str, paper: str = "") -> Opinion:
    """The claim: so it is with each network, which either is so or not."""
    flags = list(flags)
    share = float(np.mean(flags))
    ours = f"{what}: {sum(flags)} of {len(flags)} networks"
    tendency = int(np.sign(share - 0.5))
    if len(flags) < ENOUGH:
        return Opinion(UNTOLD, tendency, ours, paper, len(flags), _few(len(flags)))
    verdict = REPRODUCED if share == 1 else CONTRADICTED if share == 0 else UNTOLD
    return Opinion(verdict, tendency, ours, paper, len(flags))


def untestable(why: str) -> Opinion:
    return Opinion(UNTESTABLE, 0, "", note=why)


def guarded(opinion: Opinion, gap: float | None) -> Opinion:
    """The opinion as far as networks can give it that are `gap` less accurate (or more) than the paper's."""
    if gap is None or abs(gap) <= BASE_GAP or opinion.verdict == UNTESTABLE:
        return opinion
    weaker = {REPRODUCED: DIRECTION, CONTRADICTED: UNTOLD}.get(opinion.verdict, opinion.verdict)
    note = f"{100 * abs(gap):.1f} points {'less' if gap < 0 else 'more'} accurate than the paper's"
    return replace(opinion, verdict=weaker, note="; ".join(filter(None, (opinion.note, note))))


def mark(verdict: str, tendency: int) -> str:
    """A verdict as a symbol; where it cannot be told, with an arrow for what the measured values say."""
    return SYMBOLS[verdict] + ({1: "↑", 0: "", -1: "↓"}[tendency] if verdict == UNTOLD else "")


def weakest(verdicts: Iterable[str]) -> str:
    """The verdict on a claim about several settings: the weakest of those in which it can be told."""
    verdicts = set(verdicts)
    return next(verdict for verdict in (CONTRADICTED, DIRECTION, REPRODUCED, UNTOLD, UNTESTABLE) if verdict in verdicts)


def _opinion(estimate: Estimate, excess: float, holding: str, paper: str, strictly: bool = False) -> Opinion:
    """`holding` where the excess is told to be above zero (or is exactly that, if not strictly), contradicted where it
    is told to be below."""
    excess = round(excess, 12)
    tendency = int(np.sign(excess)) if strictly or excess else 1
    told = excess != 0 if strictly or estimate.half else True
    verdict = UNTOLD if not told or abs(excess) < estimate.half else holding if tendency > 0 else CONTRADICTED
    note = _few(estimate.networks)
    if note and np.isfinite(estimate.half):
        note = f"some settings have {note}: by the spread of the settings"
    return Opinion(verdict, tendency, estimate.text(), paper, estimate.networks, note)


def _few(networks: int) -> str:
    return "" if networks >= ENOUGH else f"{networks} network" + ("s" if networks != 1 else "")
