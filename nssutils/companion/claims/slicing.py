"""Judges of what Sections 3 and 5.2 claim: the pilot studies, RQ1, DeepArc. Each sees the results of one setting.

A judge is called with the evidence and the claim's printed numbers, and gives an Opinion.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from nssutils.companion.claims.evidence import Evidence, Numbers, Unmeasured, printed_base
from nssutils.companion.claims.rules import (
    Opinion,
    ahead,
    always,
    at_least,
    at_most,
    compared,
    noted,
    over_networks,
    untestable,
    valued,
)  # fmt: skip
from nssutils.companion.fragments import paper_table
from nssutils.companion.results import Result, frame
from nssutils.companion.tables.common import METRICS, right
from nssutils.companion.tables.pilot import class_means, counted_falls
from nssutils.companion.tables.rq1 import METHODS, RATES, answers_at, at_rate, curve, lead_at, no_larger

PRINTED_SECONDS = "mlp-mnist"  # the one setting whose seconds the paper prints

# The pilot studies


def falls(evidence: Evidence, numbers: Numbers) -> Opinion:
    """How many of the steps from one band to the next lower one make accuracy fall, over all metrics, in each network
    by itself; the paper counts in a table of means."""
    group = evidence.group("pilot_global")
    counts = [float(sum(counted_falls(one, metric)[0] for metric in METRICS)) for one in group]
    printed = (paper_table(1)["arrow"] == "down").sum()
    opinion = valued(over_networks(counts, unit="falls", scale=1), float(printed))
    means = class_means(group).groupby(["metric", "band"], sort=False)["accuracy"].mean()
    mine = sum(int((np.diff(each) < 0).sum()) for _, each in means.groupby("metric", sort=False))
    return noted(opinion, f"{mine} in the mean, as the paper counts")


def falls_with_each_metric(evidence: Evidence, numbers: Numbers) -> Opinion:
    """Whether every metric has a step at which accuracy falls."""
    group = evidence.group("pilot_global")
    cases = [([1.0 if counted_falls(one, metric)[0] else -1.0 for one in group], ()) for metric in METRICS]
    signs = [1 if np.mean([bool(counted_falls(one, metric)[1]) for one in group]) > 0.5 else -1 for metric in METRICS]
    falling = paper_table(1).query("arrow == 'down'")["metric"].nunique()
    return compared(cases, "metrics", len(group), f"{falling} of {len(METRICS)} by Table 1", signs)


def rises_throughout(evidence: Evidence, numbers: Numbers) -> Opinion:
    """Whether accuracy rises from band to band when each class has a ranking of its own, for each metric."""
    group = evidence.group("pilot_categorywise")
    clear = [[counted_falls(one, metric)[0] for one in group] for metric in METRICS]
    cases = [([-1.0 if count else 1.0 for count in counts], ()) for counts in clear]
    signs = [1 if np.mean(counts) < 0.5 else -1 for counts in clear]
    return compared(cases, "metrics", len(group), signs=signs)


def band_to_band(evidence: Evidence, numbers: Numbers, metric: str, upper: str, lower: str) -> Opinion:
    """How much accuracy falls from one masked band to a lower-ranking one."""
    drops, images = [], []
    for one in evidence.group("pilot_global"):
        (base,) = one.tables["base"]
        rows = {row["band"]: row for row in one.tables["masking"] if row["metric"] == metric}
        drops.append(rows[upper]["accuracy"] - rows[lower]["accuracy"])
        images += _changed(right(one, rows[upper], base), right(one, rows[lower], base))
    printed = paper_table(1).query("metric == @metric").set_index("band")["value"]
    return ahead(over_networks(drops, images), paper=f"{printed[upper] - printed[lower]:.2f} points")


def classwise_below_global(evidence: Evidence, numbers: Numbers) -> Opinion:
    """Whether masking the top tenth leaves less accuracy when ranked for each class than when ranked for all."""
    groups = [evidence.group(chapter) for chapter in ("pilot_global", "pilot_categorywise")]
    if len({one.preset for group in groups for one in group}) > 1:
        raise Unmeasured("what it speaks of, on the same networks,")
    pair = [_top_tenth(group) for group in groups]
    seeds = [seed for seed in pair[0].index if seed in pair[1].index]
    less = (pair[0] - pair[1]).loc[seeds]
    return compared([(less[metric].tolist(), ()) for metric in METRICS], "metrics", len(seeds))


def top_tenth_near_zero(
    evidence: Evidence, numbers: Numbers, metrics: Iterable[str], tolerance: float
) -> Opinion:  # fmt: skip
    """What the top tenth, masked class by class, leaves by the given metrics, the worse of them."""
    rows = _top_tenth(evidence.group("pilot_categorywise"))[list(metrics)]
    printed = paper_table(2).query("band == '0-10' and metric in @metrics")["value"].max() / 100
    return at_most(over_networks(rows.max(axis=1), unit="%"), printed, tolerance, printed)


def classes_differ(evidence: Evidence, numbers: Numbers, band: str, tolerance: float) -> Opinion:
    """How far Table 3's classes are apart when a band of each is masked, ranked by DeepLIFT: the largest difference.
    One that is nearly whole and one of which nothing is left are more than half apart.
    """
    table = paper_table(3).query("band == @band")
    rows = frame(evidence.group("pilot_categorywise"), "masking").query("metric == 'deeplift' and band == @band")
    spread = rows[rows["category"].isin(table["category"])].groupby("seed")["accuracy"].agg(["max", "min"])
    spread, printed = spread["max"] - spread["min"], table["value"]
    return valued(over_networks(spread), float(printed.max() - printed.min()) / 100, null=0.5, tolerance=tolerance)


def class_needs_more(
    evidence: Evidence, numbers: Numbers, needs: Mapping[str, int | str], spares: Mapping[str, int | str]
) -> Opinion:  # fmt: skip
    """By how much more accuracy is lost by one class with a band of its neurons masked, ranked by DeepLIFT, than by
    another with a band of its own masked, though that ranks higher."""
    gaps = []
    for one in evidence.group("pilot_categorywise"):
        whole = {row["category"]: row["accuracy"] for row in one.tables["base"]}
        rows = one.frame("masking").query("metric == 'deeplift'").set_index(["category", "band"])["accuracy"]
        lost = [whole[each["category"]] - rows[each["category"], each["band"]] for each in (needs, spares)]
        gaps.append(float(lost[0] - lost[1]))
    table = paper_table(3).set_index(["category", "band"])["value"]
    left = [table[each["category"], each["band"]] for each in (spares, needs)]
    return ahead(over_networks(gaps), paper=f"{left[0]:.1f}% left against {left[1]:.1f}%")


def sparser_with_depth(evidence: Evidence, numbers: Numbers) -> Opinion:
    """By how much less the deeper half of the layers keeps than the other half, at theta 0.95, over the metrics."""
    differences = []
    for one in evidence.group("rq1_slicing"):
        rows = one.frame("layers")
        halves = []
        for _, layers in rows.groupby("metric", sort=False):
            shares = layers["share"].to_numpy()
            halves.append(shares[: len(shares) // 2].mean() - shares[-(len(shares) // 2) :].mean())
        differences.append(float(np.mean(halves)))
    return ahead(over_networks(differences))


# RQ1: selections


def semantic_ahead(
    evidence: Evidence, numbers: Numbers, of: Sequence[str] = METHODS[1:], chapter: str = "rq1_slicing"
) -> Opinion:  # fmt: skip
    """Whether semantic selection is ahead of the others named, at each compression that all reach, for each metric."""
    group, cases = evidence.group(chapter), []
    for metric in METRICS:
        for rate in RATES:
            leads = [lead_at(one, metric, rate, of) for one in group]
            if not any(np.isnan(lead) for lead, _ in leads):
                cases.append(([lead for lead, _ in leads], [images for _, images in leads if images is not None]))
    return compared(cases, "comparisons", len(group))


def only_at_low_compression(
    evidence: Evidence, numbers: Numbers, method: str, rate: float, least: float
) -> Opinion:  # fmt: skip
    """Points lost by a selection at a compression, the least over the metrics."""
    losses, images = [], []
    for one in evidence.group("rq1_slicing"):
        at = [_loss(one, method, metric, rate) for metric in METRICS]
        reached = [pair for pair in at if not np.isnan(pair[0])]
        loss, changed = min(reached, key=lambda pair: pair[0], default=(float("nan"), None))
        losses.append(loss)
        images += [] if changed is None else [changed]
    return _reached(losses, images, rate, lambda estimate: at_least(estimate, least))


def loss_at_most(
    evidence: Evidence, numbers: Numbers, metrics: Iterable[str], rate: float, tolerance: float = 0.0
) -> Opinion:  # fmt: skip
    """Points of accuracy that semantic selection loses at a compression, by the worst of the metrics that reach it; of
    a network whose slices all leave out more than that, what the largest of them loses.

    The latter if all such networks are within the claim: a smaller compression would then cost no more. Else nothing is
    known of these.
    """
    limit, exact, bounds, images = numbers[0] / 100, [], [], []
    for one in evidence.group("rq1_slicing"):
        reached = [pair for metric in metrics if not np.isnan((pair := _loss(one, "semantic", metric, rate))[0])]
        loss, changed = max(reached, key=lambda pair: pair[0], default=(float("nan"), None))
        exact.append(loss)
        bounds.append(np.max([_loss_beyond(one, metric, rate) for metric in metrics]) if np.isnan(loss) else loss)
        images += [] if changed is None else [changed]
    within = all(bound <= limit + tolerance for bound in bounds)
    return _reached(
        bounds if within else exact, images, rate, lambda estimate: at_most(estimate, limit, tolerance, limit)
    )


def loss_of_others(evidence: Evidence, numbers: Numbers, metric: str, rate: float, tolerance: float) -> Opinion:
    """Points that global and category-wise selection lose at a compression, on average over the two."""
    losses, images = [], []
    for one in evidence.group("rq1_slicing"):
        (first, changed), (second, also) = (_loss(one, method, metric, rate) for method in METHODS[1:])
        losses.append((first + second) / 2)
        images += [(changed + also) / 2] if changed is not None and also is not None else []
    return _reached(losses, images, rate, lambda estimate: valued(estimate, numbers[0] / 100, tolerance=tolerance))


def gain_over(
    evidence: Evidence, numbers: Numbers, metric: str, rate: float, method: str, tolerance: float = 0.0
) -> Opinion:  # fmt: skip
    """Points of accuracy that semantic selection saves against another at a compression; of a network whose semantic
    slices all leave out more, with what the largest of them loses.

    numbers: the points saved, or what accuracy the two have.
    """
    gains, images = [], []
    for one in evidence.group("rq1_slicing"):
        (theirs, lost), (ours, kept) = (_loss(one, each, metric, rate) for each in (method, "semantic"))
        gains.append(theirs - (_loss_beyond(one, metric, rate) if np.isnan(ours) else ours))
        images += _changed(lost, kept)
    printed = (numbers[0] - sum(numbers[1:])) / 100
    return _reached(gains, images, rate, lambda estimate: valued(estimate, printed, tolerance=tolerance))


def theta_trades(evidence: Evidence, numbers: Numbers) -> Opinion:
    """Whether a higher theta gives a larger and more accurate slice: rank correlations, the lower of the two."""
    lowest = []
    for one in evidence.group("rq1_slicing"):
        points = one.frame("points").query("method == 'semantic'")
        correlations = []
        for _, rows in points.groupby("metric", sort=False):
            at = rows["at"].rank()  # Spearman's correlations, by ranks; what is alike at all has none
            gains = [(1 - rows["compression_rate"]).rank().corr(at), rows["accuracy"].rank().corr(at)]
            correlations.append(min(0.0 if np.isnan(each) else each for each in gains))
        lowest.append(float(np.mean(correlations)))
    return ahead(over_networks(lowest, unit="rank correlation", scale=1))


# RQ1: metrics


def metrics_alike(evidence: Evidence, numbers: Numbers, tolerance: float) -> Opinion:
    """How far the best metric is above the worst, over the compressions that semantic slices reach with all five."""
    spreads = [_by_metric(one).agg(lambda row: row.max() - row.min()).mean() for one in evidence.group("rq1_slicing")]
    return _reached(spreads, [], None, lambda estimate: at_most(estimate, 0.0, tolerance))


def metrics_ahead(evidence: Evidence, numbers: Numbers, better: list[str]) -> Opinion:
    """By how much the worse of the named metrics is above the best of the others, over the compressions that all
    reach."""
    return _metrics_apart(evidence, better, [metric for metric in METRICS if metric not in better])


def weakest_metric(evidence: Evidence, numbers: Numbers, metric: str) -> Opinion:
    """By how much the worst of the other metrics is above the one named, over the compressions that all reach."""
    return _metrics_apart(evidence, [other for other in METRICS if other != metric], [metric])


def times_slower(
    evidence: Evidence, numbers: Numbers, metric: str, than: str, tolerance: float
) -> Opinion:  # fmt: skip
    """How many times as long one metric takes as another; on MNIST beside the ratio of the seconds that are printed.

    tolerance: of that ratio, as a share of it.
    """
    ratios = [_seconds(one)[metric] / _seconds(one)[than] for one in evidence.group("rq1_slicing")]
    estimate, printed = over_networks(ratios, unit="times", scale=1), numbers[0] / numbers[1]
    if evidence.setting != PRINTED_SECONDS:
        return ahead(estimate, margin=1.0)
    return valued(estimate, printed, null=1.0, tolerance=tolerance * printed)


def times_alike(evidence: Evidence, numbers: Numbers, metrics: list[str], tolerance: float) -> Opinion:
    """How many times as long the slowest of some metrics takes as the fastest, beside the ratio of the seconds that are
    printed, for MNIST."""
    ratios = []
    for one in evidence.group("rq1_slicing"):
        seconds = [_seconds(one)[metric] for metric in metrics]
        ratios.append(max(seconds) / min(seconds))
    printed = max(numbers) / min(numbers)
    estimate = over_networks(ratios, unit="times", scale=1)
    return at_most(estimate, printed, tolerance, printed if evidence.setting == PRINTED_SECONDS else None)


# DeepArc


def deeparc_removes(evidence: Evidence, numbers: Numbers, anything: bool) -> Opinion:
    """Whether DeepArc finds a redundant unit above its threshold that makes the network smaller."""
    rates = [_removed(one, 0.99)["compression_rate"] for one in evidence.group("rq1_slicing")]
    what = "made smaller" if anything else "not made smaller"
    return always([(rate > 0) == anything for rate in rates], what, what)


def highest_similarity(evidence: Evidence, numbers: Numbers, tolerance: float) -> Opinion:
    """The highest similarity of consecutive units."""
    highest = [max(row["similarity"] for row in one.tables["deeparc"]) for one in evidence.group("rq1_slicing")]
    return at_most(over_networks(highest, unit="", scale=1), numbers[0], tolerance, numbers[0])


def deeparc_accuracy(evidence: Evidence, numbers: Numbers, tolerance: float, threshold: float = 0.99) -> Opinion:
    """Points that the network loses once DeepArc's redundant units are gone; printed is what accuracy is left."""
    if not (losses := _lost_by_deeparc(evidence, threshold)):
        return untestable(f"nothing is removed above {threshold:g}")
    return valued(over_networks(losses), printed_base(evidence.setting) - numbers[0] / 100, tolerance=tolerance)


def redundant_layers_cost_little(evidence: Evidence, numbers: Numbers, tolerance: float) -> Opinion:
    """Points that a network loses when DeepArc removes its redundant units, nothing retrained."""
    if not (losses := _lost_by_deeparc(evidence, 0.99)):
        return untestable("no unit is redundant")
    return at_most(over_networks(losses), 0.0, tolerance)


def deeparc_size(evidence: Evidence, numbers: Numbers, tolerance: float, threshold: float = 0.99) -> Opinion:
    """Share of the parameters that DeepArc removes, of the networks that lose some; none where no network does."""
    rates = [_removed(one, threshold)["compression_rate"] for one in evidence.group("rq1_slicing")]
    losing = [rate for rate in rates if rate > 0] or rates
    opinion = valued(over_networks(losing, unit="%"), numbers[0] / 100, tolerance=tolerance)
    few = f"{len(losing)} of {len(rates)} networks lose some" if len(losing) < len(rates) else ""
    return noted(opinion, few)


def ahead_of_deeparc(evidence: Evidence, numbers: Numbers) -> Opinion:
    """Points by which a semantic slice by Taylor of DeepArc's size is more accurate than what DeepArc leaves."""
    leads, images = [], []
    for one in evidence.group("rq1_slicing"):
        row = _removed(one, 0.99)
        if row["compression_rate"] > 0:
            points = curve(one, "semantic", "taylor")
            leads.append(at_rate(points, row["compression_rate"]) - row["accuracy"])
            if not np.isnan(leads[-1]):
                images += _changed(
                    answers_at(one, points, row["compression_rate"]), right(one, row, one.tables["base"][0])
                )
    if not leads:
        return untestable("nothing is removed above 0.99")
    return _reached(leads, images, None, ahead)


# What several judges read off


def _top_tenth(group: list[Result]) -> pd.DataFrame:
    """Accuracy with the top tenth masked, on average over the classes: seeds down, metrics across."""
    rows = frame(group, "masking").query("band == '0-10'")
    return rows.groupby(["seed", "metric"])["accuracy"].mean().unstack("metric")


def _loss(one: Result, method: str, metric: str, rate: float) -> tuple[float, np.ndarray | None]:
    """Accuracy lost at a compression, NaN where the curve does not cover it, and what is lost of each test image."""
    (base,), points = one.tables["base"], curve(one, method, metric)
    accuracy = at_rate(points, rate)
    if np.isnan(accuracy):
        return float("nan"), None
    changed = _changed(right(one, base), answers_at(one, points, rate))
    return base["accuracy"] - accuracy, changed[0] if changed else None


def _loss_beyond(one: Result, metric: str, rate: float) -> float:
    """Accuracy that the largest semantic slice loses, where even that leaves out more than a compression; else NaN."""
    accuracy, beyond = no_larger(curve(one, "semantic", metric), rate)
    return one.tables["base"][0]["accuracy"] - accuracy if beyond else float("nan")


def _metrics_apart(evidence: Evidence, better: list[str], others: list[str]) -> Opinion:
    leads = []
    for one in evidence.group("rq1_slicing"):
        rates = _by_metric(one)
        leads.append(float((rates.loc[better].min() - rates.loc[others].max()).mean()))
    return _reached(leads, [], None, ahead)


def _by_metric(one: Result) -> pd.DataFrame:
    """Accuracy of semantic slices: metrics down, the compressions across that all of them reach."""
    curves = {metric: pd.DataFrame(curve(one, "semantic", metric)) for metric in METRICS}
    found = pd.DataFrame({rate: {metric: at_rate(curves[metric], rate) for metric in METRICS} for rate in RATES})
    return found.dropna(axis=1)


def _seconds(one: Result) -> dict[str, float]:
    return {row["metric"]: row["seconds"] for row in one.tables["seconds"]}


def _removed(one: Result, threshold: float) -> dict:
    return next(row for row in one.tables["removed"] if row["threshold"] == threshold)


def _lost_by_deeparc(evidence: Evidence, threshold: float) -> list[float]:
    """Accuracy lost with DeepArc's redundant units gone, of each network that has some."""
    pairs = [(one.tables["base"][0], _removed(one, threshold)) for one in evidence.group("rq1_slicing")]
    return [base["accuracy"] - row["accuracy"] for base, row in pairs if row["units"] > 0]


def _changed(first: np.ndarray | None, second: np.ndarray | None) -> list[np.ndarray]:
    """What a difference is on each test image, in a list: empty where an older result does not say."""
    return [] if first is None or second is None else [first - second]


def _reached(values: list[float], images: list[np.ndarray], rate: float | None, rule) -> Opinion:
    """The rule on those networks whose curves cover the compression, or a common one."""
    here = [value for value in values if not np.isnan(value)]
    what = "share a compression" if rate is None else f"cover {rate:.0%}"
    if not here:
        return untestable(f"the curves do not {what}")
    opinion = rule(over_networks(here, images))
    few = f"in {len(here)} of {len(values)} networks the curves {what}" if len(here) < len(values) else ""
    return noted(opinion, few)
