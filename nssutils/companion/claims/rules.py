"""The rules by which a claim of the paper is judged, stated once: an estimate with its interval in, a verdict out.

- **reproduced**: ours is within its own 95% interval, or within the tolerance that the claim itself implies, of what
  is claimed; a claim without a number is reproduced where it can be told that it holds; one about several cases where
  it can be told in half of them at least, and of none the contrary.
- **direction holds**: the difference points the way it is claimed to, but is of another size; or more cases do than
  can be told to do the contrary.
- **contradicted**: it can be told that the contrary holds; of several cases, that it does in as many as the claim, or
  in one where the claim can be told in none, all cases looked at together.
- **cannot be told**: fewer than three networks or none, or an interval that includes both. A mean over settings can be
  told from three settings of fewer networks, by the spread of the settings.
- **not testable here**: what the claim speaks of does not occur.

A network whose accuracy is more than BASE_GAP points from the paper's network, or that the paper has not, can give a
direction at best, and contradicts nothing. A claim about several settings is worth the weakest of those in which it can
be told.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nssutils.companion.intervals import ENOUGH, half_width, holding_together, p_value, told_apart

REPRODUCED, DIRECTION, CONTRADICTED, UNTOLD, UNTESTABLE = VERDICTS = (
    "reproduced", "direction holds", "contradicted", "cannot be told", "not testable here",
)  # fmt: skip
SYMBOLS = dict(zip(VERDICTS, "✓∼✗?–", strict=True))
TOLD = (REPRODUCED, DIRECTION, CONTRADICTED)
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

    def shown(self, value: float, tolerance: float = 0.0) -> str:
        """Another value of the same quantity, for instance the paper's, with what its wording leaves open."""
        give = f", give or take {self.scale * tolerance:.3g} {self.unit}".rstrip() if tolerance else ""
        return f"{self.scale * value:.2f} {self.unit}".strip() + give


def over_networks(
    values: Iterable[float], images: Sequence[np.ndarray] = (), unit: str = "points", scale: float = 100.0
) -> Estimate:
    """values: one a network; images: what happens to each test image, an array a network, where that is known."""
    values = [float(value) for value in values]
    half = half_width(values, images) if len(values) >= ENOUGH else float("inf")
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
    whether or not that can be told, 0 where it is neither; the two values in words; and `otherwise`, the verdict that
    it would be if the networks were as accurate as the paper's, where that is another (`guarded`)."""

    verdict: str
    tendency: int
    ours: str
    paper: str = ""
    networks: int = 0
    note: str = ""
    otherwise: str = ""


def ahead(estimate: Estimate, margin: float = 0.0, paper: str = "") -> Opinion:
    """The claim: the quantity is above `margin`."""
    return _opinion(estimate, estimate.mean - margin, REPRODUCED, paper, strictly=True)


def valued(estimate: Estimate, printed: float, null: float = 0.0, tolerance: float = 0.0) -> Opinion:
    """The claim: the quantity is `printed`, and so on that side of `null`, which would be no effect."""
    side = 1 if printed >= null else -1
    if estimate.half == 0 and estimate.mean == null != printed:  # no effect at all, in any network
        return Opinion(CONTRADICTED, -1, estimate.text(), estimate.shown(printed, tolerance), estimate.networks)
    off = round(abs(estimate.mean - printed), 12)
    near = off <= max(tolerance, 0 if np.isinf(estimate.half) else estimate.half)
    return _opinion(
        estimate,
        side * (estimate.mean - null),
        REPRODUCED if near else DIRECTION,
        estimate.shown(printed, tolerance),
        strictly=True,
    )


def at_most(estimate: Estimate, limit: float, tolerance: float = 0.0, printed: float | None = None) -> Opinion:
    """The claim: the quantity is no more than `limit`, give or take what its wording leaves open. printed: what the
    paper prints; without it the limit is how its words are read."""
    read = f"read as at most {estimate.shown(limit + tolerance)}"
    paper = read if printed is None else estimate.shown(printed, tolerance)
    return _opinion(estimate, limit + tolerance - estimate.mean, REPRODUCED, paper)


def at_least(estimate: Estimate, limit: float, printed: float | None = None) -> Opinion:
    """The claim: the quantity is no less than `limit`; as `at_most`."""
    paper = f"read as at least {estimate.shown(limit)}" if printed is None else estimate.shown(printed)
    return _opinion(estimate, estimate.mean - limit, REPRODUCED, paper)


def compared(
    cases: Iterable[tuple[Sequence[float], Sequence[np.ndarray]]], what: str, networks: int, paper: str = "",
    signs: Sequence[int] | None = None,
) -> Opinion:  # fmt: skip
    """The claim: in each case there is a gain.

    cases: its gains, one a network, and what happens to each test image, an array a network, where that is known.
    signs: where the measured values point in each case, if that is not the sign of the mean gain. what: cases of what.

    Each case is told by its own interval. That half of them can be is more than chance; that a few can, or that a few
    are the contrary, may be chance where cases are many. It counts where one at least can be told also when all of them
    are looked at together (intervals.holding_together).
    """
    cases = list(cases)
    if not cases:
        return untestable(f"no {what} to compare")
    told = [told_apart(*case) for case in cases]
    signs = [int(np.sign(np.mean(gains))) for gains, _ in cases] if signs is None else list(signs)
    held = holding_together([p_value(*case) for case in cases])
    yes, no, level = (told.count(sign) for sign in (1, -1, 0))
    if networks < ENOUGH:
        ours = f"{signs.count(1)} of {len(signs)} {what} point so"
        return Opinion(UNTOLD, int(np.sign(sum(signs))), ours, paper, networks, _few(networks))
    ours = ", ".join([f"{yes} of {len(told)} {what}"] + [f"{no} against"] * bool(no) + [f"{level} ≈"] * bool(level))
    if not no and yes >= level:
        return Opinion(REPRODUCED, 1, ours, paper, networks)
    sure = {sign for sign, holds in zip(told, held, strict=True) if holds}
    if 1 in sure and yes > no:
        return Opinion(DIRECTION, 1, ours, paper, networks)
    if -1 in sure:
        note = "the contrary alone is told with all looked at together" if yes > no else ""
        return Opinion(CONTRADICTED, -1, ours, paper, networks, note)
    note = "told one by one, not all together" if yes + no else ""
    return Opinion(UNTOLD, int(np.sign(sum(signs))), ours, paper, networks, note)


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
    """The opinion as far as networks can give it that are `gap` less accurate (or more) than the paper's; infinite
    where the paper has no such network."""
    if gap is None or abs(gap) <= BASE_GAP or opinion.verdict == UNTESTABLE:
        return opinion
    weaker = {REPRODUCED: DIRECTION, CONTRADICTED: UNTOLD}.get(opinion.verdict, opinion.verdict)
    if np.isinf(gap):
        note = "another network than the paper's"
    else:
        note = f"{100 * abs(gap):.1f} points {'less' if gap < 0 else 'more'} accurate than the paper's"
    otherwise = opinion.verdict if weaker != opinion.verdict else ""
    return replace(noted(opinion, note), verdict=weaker, otherwise=otherwise)


def of_all(opinion: Opinion, measured: int, settings: int) -> Opinion:
    """The opinion on a claim about several settings together, as far as those that are measured can give it."""
    if measured == settings or opinion.verdict == UNTESTABLE:
        return opinion
    note = f"{measured} of {settings} settings are measured"
    return replace(noted(opinion, note), verdict=UNTOLD, otherwise="")


def noted(opinion: Opinion, note: str) -> Opinion:
    """The opinion with a note more, if there is one."""
    return replace(opinion, note="; ".join(filter(None, (opinion.note, note))))


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
    excess, half = round(excess, 12), round(estimate.half, 12)  # so that neither is what rounding leaves of zero
    tendency = int(np.sign(excess)) if strictly or excess else 1
    told = excess != 0 if strictly or half else True
    verdict = UNTOLD if not told or abs(excess) < half else holding if tendency > 0 else CONTRADICTED
    note = _few(estimate.networks)
    if note and np.isfinite(estimate.half):
        note = f"some settings have {note}: by the spread of the settings"
    return Opinion(verdict, tendency, estimate.text(), paper, estimate.networks, note)


def _few(networks: int) -> str:
    return "" if networks >= ENOUGH else f"{networks} network" + ("s" if networks != 1 else "")
