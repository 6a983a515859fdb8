"""Judges of what the peers' papers claim, NNSlicer's and DeepArc's, of the headline, and of what is not tested here."""

import numpy as np

from nssutils.companion.claims.evidence import Evidence, Numbers, Unmeasured
from nssutils.companion.claims.rules import (
    Opinion,
    ahead,
    at_most,
    compared,
    over_networks,
    untestable,
    valued,
)  # fmt: skip
from nssutils.companion.fragments import peer_numbers, peer_table
from nssutils.companion.results import Result, frame
from nssutils.companion.tables.deeparc import PRINTED_FOR


def not_tested(evidence: Evidence, numbers: Numbers, why: str) -> Opinion:
    """Nothing: no result at hand can decide."""
    return untestable(why)


def nnslicer_detects(
    evidence: Evidence, numbers: Numbers, measure: str, than: str | None = None, tolerance: float = 0.0
) -> Opinion:  # fmt: skip
    """A measure of the trees that see all synapses, on average over the attacks; or by how much it is above that of
    trees that see something else."""
    values, printed = [], peer_table("nnslicer_table4").query("attack == 'Average'").set_index("method")[measure]
    for one in evidence.group("nnslicer_detection"):
        rows = frame([one], "detection").query("against == 'answer'")
        means = rows.groupby("features")[measure].mean()
        values.append(means["synapses"] - (means[than] if than else 0.0))
    if than:
        return ahead(over_networks(values), paper=f"{100 * (printed['nnslicer'] - printed['featuremap']):.0f} points")
    return valued(over_networks(values, unit="%"), float(printed["nnslicer"]), null=0.5, tolerance=tolerance)


def nnslicer_prunes(evidence: Evidence, numbers: Numbers, share: float, than: str, statistics: str) -> Opinion:
    """By how many points pruning a share for the chosen classes keeps more accuracy than another way, on average over
    the subsets.

    statistics: of batch normalisation, "kept" or "measured again".
    """
    values = peer_numbers("nnslicer")
    printed = [values[f"nnslicer-pruned-{100 * share:.0f}-{method}"] / 100 for method in ("nnslicer", than)]
    leads = []
    for one in evidence.group("nnslicer_pruning"):
        rows = one.frame("pruned")
        rows = rows[np.isclose(rows["share"], share) & (rows["statistics"] == statistics)]
        if rows.empty:
            raise Unmeasured(f"a share of {share:.0%} pruned")
        means = rows.groupby("method")["accuracy"].mean()
        leads.append(means["nnslicer"] - means[than])
    return ahead(over_networks(leads), paper=f"{100 * (printed[0] - printed[1]):.0f} points")


def nnslicer_prunes_then_tunes(evidence: Evidence, numbers: Numbers, share: float, than: str) -> Opinion:
    """By how many points pruning a share for three classes is ahead of another way after an epoch of training."""
    values = peer_numbers("nnslicer")
    printed = [values[f"nnslicer-tuned-{100 * share:.0f}-{method}"] / 100 for method in ("nnslicer", than)]
    leads = []
    for one in evidence.group("nnslicer_pruning"):
        rows = one.frame("tuned")
        means = rows[np.isclose(rows["share"], share)].set_index("method")["accuracy"]
        leads.append(means["nnslicer"] - means[than])
    return ahead(over_networks(leads), paper=f"{100 * (printed[0] - printed[1]):.0f} points")


def nnslicer_protects(evidence: Evidence, numbers: Numbers, than: str) -> Opinion:
    """By how many points less of the target classes an attacker regains than when half is hidden in another way, with
    fewer and with more images."""
    group, cases = evidence.group("nnslicer_protection"), []
    for size in sorted({row["images"] for row in group[0].tables["protection"]}):
        by = [_regained(one, size) for one in group]
        cases.append(([each[than] - each["nnslicer"] for each in by], ()))
    return compared(cases, "numbers of images", len(group))


def _regained(one: Result, size: int) -> dict[str, float]:
    return {row["method"]: row["target"] for row in one.tables["protection"] if row["images"] == size}


def deeparc_edits(
    evidence: Evidence, numbers: Numbers, what: str, blocks: int, tolerance: float, most: float | None = None
) -> Opinion:  # fmt: skip
    """How many points of accuracy it costs that blocks are removed, or added as copies of those before, the most alike
    first and nothing retrained.

    most: what the claim allows; without it what it cost DeepArc's ResNet-110.
    """
    costs = []
    for one in evidence.group("deeparc"):
        (row,) = (row for row in one.tables["edited"] if (row["what"], row["blocks"]) == (what, blocks))
        costs.append(one.tables["base"][0]["accuracy"] - row["accuracy"])
    printed = _cost(f"{what}-{blocks}")
    return at_most(over_networks(costs), printed if most is None else most, tolerance, _if_its(evidence, printed))


def deeparc_searches(evidence: Evidence, numbers: Numbers, size: int, tolerance: float) -> Opinion:
    """How many points of accuracy the best draw of so many blocks to remove costs, as the test images themselves choose
    it."""
    costs = []
    for one in evidence.group("deeparc"):
        best = max(row["accuracy"] for row in one.tables["search"] if row["size"] == size)
        costs.append(one.tables["base"][0]["accuracy"] - best)
    printed = _cost(f"search-{size}")
    return at_most(over_networks(costs), printed, tolerance, _if_its(evidence, printed))


def deeparc_repairs_where_it_drops(evidence: Evidence, numbers: Numbers, most: float) -> Opinion:
    """By how many points training the blocks at which clean and attacked images part raises the accuracy on the
    mixture of both that it was trained on, on average over the attacks.

    most: the share of the blocks above which those that are trained are not few.
    """
    values, gains, shares = peer_numbers("deeparc"), [], []
    for one in evidence.group("deeparc"):
        rows = [row for row in one.tables["repair"] if row["method"] == "drop"]
        gains.append(float(np.mean([row["mix"] - row["mix_before"] for row in rows])))
        shares.append(float(np.mean([row["units"] for row in rows])) / one.tables["base"][0]["blocks"])
    if (share := np.mean(shares)) > most:
        return untestable(f"{share:.0%} of the blocks are trained")
    printed = _if_its(evidence, values["repair-after"] - values["repair-before"])
    return ahead(over_networks(gains), paper="" if printed is None else f"{100 * printed:.2f} points")


def _cost(name: str) -> float:
    """Accuracy that a change cost DeepArc's ResNet-110."""
    values = peer_numbers("deeparc")
    return values["accuracy"] - values[name]


def _if_its(evidence: Evidence, printed: float) -> float | None:
    """A number that is printed for DeepArc's ResNet-110, for that alone."""
    return printed if evidence.setting == PRINTED_FOR else None
