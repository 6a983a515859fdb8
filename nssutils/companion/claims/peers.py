"""Judges of what the peers' papers claim, NNSlicer's and DeepArc's, of the headline, and of what is not tested here."""

from nssutils.companion.claims.evidence import Evidence
from nssutils.companion.claims.rules import Opinion, ahead, at_most, mostly, over_networks, untestable
from nssutils.companion.intervals import told_apart
from nssutils.companion.tables.nnslicer import advantages

Numbers = list[float]


def not_tested(evidence: Evidence, numbers: Numbers, why: str) -> Opinion:
    """Nothing: no result at hand can decide."""
    return untestable(why)


def nnslicer_ahead(evidence: Evidence, numbers: Numbers, application: str, baselines: list[str]) -> Opinion:
    """Whether NNSlicer is ahead of each baseline in an application.

    application: the beginning of its name in the chapter's table.
    """
    group = evidence.group("nnslicer")
    leads = advantages(group)
    mine = leads[leads["claim"].str.startswith(application) & leads["baseline"].isin(baselines)]
    told, signs = [], []
    for _, rows in mine.groupby(["claim", "baseline"], sort=False):
        values = rows["lead"].astype(float).tolist()
        told.append(told_apart(values))
        signs.append(1 if sum(values) > 0 else -1)
    return mostly(told, signs, "comparisons", len(group))


def redundant_layers_cost_little(evidence: Evidence, numbers: Numbers, tolerance: float) -> Opinion:
    """Points that a network loses when DeepArc removes its redundant units, nothing retrained."""
    losses = []
    for one in evidence.group("rq1_slicing"):
        row = next(row for row in one.tables["removed"] if row["threshold"] == 0.99)
        if row["units"] > 0:
            losses.append(one.tables["base"][0]["accuracy"] - row["accuracy"])
    if not losses:
        return untestable("no unit is redundant")
    return at_most(over_networks(losses), 0.0, tolerance, printed=tolerance)


def deeparc_repairs(evidence: Evidence, numbers: Numbers) -> Opinion:
    """By how much training what DeepArc selects raises the accuracy on adversarial images that were trained on."""
    gains = []
    for one in evidence.group("rq3_readaptation"):
        left = {row["attack"]: row["left"] for row in one.tables["attacks"]}
        rows = [row for row in one.tables["repairs"] if row["method"] == "deeparc"]
        gains.append(sum(row["ra"] - left[row["attack"]] for row in rows) / len(rows))
    return ahead(over_networks(gains))
