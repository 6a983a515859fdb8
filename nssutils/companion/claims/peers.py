"""Judges of what the peers' papers claim, NNSlicer's and DeepArc's, of the headline, and of what is not tested here."""

from nssutils.companion.claims.evidence import Evidence, Numbers
from nssutils.companion.claims.rules import Opinion, ahead, compared, over_networks, untestable
from nssutils.companion.tables.nnslicer import advantages


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
    cases = [
        (rows["lead"].astype(float).tolist(), ()) for _, rows in mine.groupby(["claim", "baseline"], sort=False)
    ]  # fmt: skip
    return compared(cases, "comparisons", len(group))


def deeparc_repairs(evidence: Evidence, numbers: Numbers) -> Opinion:
    """By how much training what DeepArc selects raises the accuracy on adversarial images that were trained on."""
    gains = []
    for one in evidence.group("rq3_readaptation"):
        left = {row["attack"]: row["left"] for row in one.tables["attacks"]}
        rows = [row for row in one.tables["repairs"] if row["method"] == "deeparc"]
        gains.append(sum(row["ra"] - left[row["attack"]] for row in rows) / len(rows))
    return ahead(over_networks(gains))
