"""RQ2's tables (Section 5.3, Table 4): pruning with and without slicing first, and what a smaller network saves."""

import numpy as np
import pandas as pd
from IPython.display import Markdown

from nssutils import settings
from nssutils.companion import fragments, results, slips
from nssutils.companion.fragments import TITLES, beside_paper, paper_number, paper_value
from nssutils.companion.intervals import marked, told_apart
from nssutils.companion.results import Result
from nssutils.companion.tables.common import (
    groups,
    interval,
    lacking,
    names,
    or_nothing,
    printed,
    printed_cell,
    right,
    tenths,
    with_slips,
    without_paper,
)  # fmt: skip
from nssutils.companion.tables.rq1 import at_rate

PRUNER_TITLES = {"lamp": "LAMP", "glob": "Glob", "unif": "Unif+", "erk": "ERK"}
SIDES = {"": "", "nss+": ", sliced"}
MEASURES = {"CR": "compression_rate", "NI": "iterations", "MA": "accuracy"}
VARIANTS = {"whole": "whole", "masked": "masked", "extracted": "extracted", "folded": "extracted, BN folded"}


@or_nothing
def slices(found: list[Result], label: str) -> Markdown:
    """Which slice each setting got: metric and theta of every seed, its size and what it costs."""
    rows, base, table = results.frame(found, "slices"), results.frame(found, "base"), []
    pruned = found[0].chapter == "rq2_restructuring"
    keys = [key for key in ("task_a", "tolerance") if key in rows]
    for name in names(found):
        mine = rows[rows["setting"] == name]
        for number, (key, group) in enumerate(mine.groupby(keys, sort=False)):
            theirs = printed(found, removed_first(name)) if pruned and not number else None
            cells = dict(zip(keys, key, strict=True))
            whole = base[base["setting"] == name]
            whole = whole[whole["task_a"] == cells["task_a"]] if "task_a" in cells else whole
            table.append(
                {"setting": TITLES[name]}
                | ({"task A": cells["task_a"]} if "task_a" in cells else {})
                | {
                    "metric, theta (seeds)": _chosen(group),
                    "may lose (points)": f"{100 * cells['tolerance']:g}",
                    "left out (%)": beside_paper(interval(group["compression_rate"]), theirs),
                    "accuracy, whole (%)": interval(whole["accuracy"]),
                    "accuracy, slice (%)": interval(group["accuracy"]),
                }
            )
    caption = "The slices that are taken: how much each leaves out, and its accuracy on test images."
    note = (
        "Of DeepLIFT and Taylor and of all thetas it is the slice that leaves out the most parameters while it loses "
        "at most so much on training images."
    )
    if pruned:
        note += " What the paper's slices leave out is worked out from its Table 4, by its law."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=3 if "task_a" in keys else 2, note=note)


@or_nothing
def rq2_taus(found: list[Result], label: str) -> Markdown:
    """How far from Table 4 each reading of the stop rule ends, which the paper does not print, and what it makes of
    slicing first."""
    table = []
    for tau in sorted(results.frame(found, "pruned")["tau"].unique()):
        per, measured = distances(found, tau), [one for one in found if tau in _taus(one)]
        row = {"given up": f"{100 * tau:g}"}
        row |= {measure: _told(measured, column, tau) for measure, column in MEASURES.items()}
        row["all"] = tenths(per.mean())
        table.append(row | {TITLES[name]: tenths(per.get(name)) for name in names(found)})
    caption = (
        "Readings of the stop rule: pairs in which slicing first raises CR, NI and MA, and the distance from the "
        f"paper's Table 4. {100 * nearest_tau(found):g} is taken."
    )
    note = (
        "Given up are points of accuracy. Pairs are settings by pruners: as many rise / cannot be told / fall. "
        "Distances are in points of compression, on average over the eight ways to prune. Taken is the "
        f"{_which(found)} of those that give up more than the slice has given up already, and at which every network "
        "was measured: where pruning may cost less than slicing did, a slice is not pruned at all."
        f"{without_paper(found)}"
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, note=note)


def distances(found: list[Result], tau: float) -> pd.Series:
    """Mean distance of our compression rates from Table 4's, in points, for each setting that was measured at tau; NaN
    for one that the paper lacks."""
    rows = _at(results.frame(found, "pruned"), tau)
    ours = 100 * rows.groupby(["setting", "method"])["compression_rate"].mean()
    apart = {key: abs(value - _table4(*key, "CR")) for key, value in ours.items()}
    return pd.Series(apart).groupby(level=0).mean()


def nearest_tau(found: list[Result]) -> float:
    """The reading of the stop rule that lies nearest Table 4, among those that every network was measured at and that
    give up more accuracy than its slice may lose, where there are such: by a smaller one a slice is not pruned. The
    largest of them where the paper lacks every setting."""
    common = set.intersection(*map(_taus, found))
    given_up = max(one.tables["slices"][0]["tolerance"] for one in found)
    pruned = {tau for tau in common if tau > given_up} or {max(common)}
    if _which(found) == "largest":
        return float(max(pruned))
    return float(min(sorted(pruned), key=lambda tau: distances(found, tau).mean()))


def _taus(one: Result) -> set[float]:
    return {row["tau"] for row in one.tables["pruned"]}


def _which(found: list[Result]) -> str:
    """Which reading of the stop rule `nearest_tau` is, in a word."""
    return "largest" if lacking(found) == names(found) else "nearest"


def _table4(setting: str, method: str, measure: str) -> float:
    return paper_value(4, setting=setting, method=method, measure=measure)


def _at(rows: pd.DataFrame, tau: float) -> pd.DataFrame:
    return rows[np.isclose(rows["tau"], tau)]


@or_nothing
def table4(found: list[Result], label: str) -> Markdown:
    """Compression rate, iterations and accuracy where each pruner stopped, beside the paper's Table 4."""
    tau, tuned, table = nearest_tau(found), results.frame(found, "finetuned"), []
    rows = _at(results.frame(found, "pruned"), tau)
    for name, group in groups(found).items():
        for pruner, title in PRUNER_TITLES.items():
            for prefix, side in SIDES.items():
                method = prefix + pruner
                mine = rows[(rows["setting"] == name) & (rows["method"] == method)]
                theirs = {m: printed_cell(group, 4, method=method, setting=name, measure=m) for m in ("CR", "NI", "MA")}
                steps = theirs["NI"] and theirs["NI"].replace(".00", "")
                table.append(
                    {
                        "setting": TITLES[name],
                        "pruner": f"{title}{side}",
                        "CR": beside_paper(interval(mine["compression_rate"]), theirs["CR"]),
                        "NI": beside_paper(f"{mine['iterations'].mean():.1f}", steps),
                        "MA": beside_paper(interval(mine["accuracy"]), theirs["MA"]),
                        "tuned": interval(tuned[(tuned["setting"] == name) & (tuned["method"] == method)]["accuracy"]),
                    }
                )
    caption = "Where each pruner stops: compression rate CR (% of the weights), iterations NI, test accuracy MA (%)."
    note = (
        f"A run stops before accuracy on training images falls by more than {100 * tau:g} "
        f"point{'s' * (tau != 0.01)}. Tuned: MA after one pass over the scored training images, from where a point is "
        f"lost.{without_paper(found)}"
    )
    note += " The limit is the largest that was measured." if _which(found) == "largest" else ""
    return fragments.table(pd.DataFrame(table), label, with_slips(caption, table), found, texts=2, note=note)


@or_nothing
def rq2_matched(found: list[Result], label: str) -> Markdown:
    """Accuracy of both ways at the same compression, that of the later of the two stops."""
    tau, table = nearest_tau(found), []
    for name, group in groups(found).items():
        for pruner, title in PRUNER_TITLES.items():
            rows = pd.DataFrame([matched(result, pruner, tau) for result in group])
            gains = rows["nss+"] - rows[""]
            table.append(
                {
                    "setting": TITLES[name],
                    "pruner": title,
                    "CR of both": interval(rows["rate"]),
                    "alone": interval(rows[""]),
                    "after slicing": interval(rows["nss+"]),
                    "gain (points)": marked(_points(gains), told_apart(gains)),
                }
            )
    caption = "Test accuracy (%) at equal compression, that of the later of the two stops."
    note = "Linear between steps; ≈ where no gain or loss can be told."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)


@or_nothing
def rq2_summary(found: list[Result], label: str) -> Markdown:
    """The averages and counts that Section 5.3 states: the paper's, its Table 4 at the settings shown, and ours."""
    tau = nearest_tau(found)
    rows = _at(results.frame(found, "pruned"), tau).rename(columns={ours: short for short, ours in MEASURES.items()})
    ours = rows.groupby(["setting", "method"])[["CR", "NI", "MA"]].mean()
    ours[["CR", "MA"]] *= 100
    same = ours.copy()  # of the same settings and methods, NaN where the paper has none
    for measure in same:
        same[measure] = [_table4(*key, measure) for key in same.index]
    mean = {key: paper_number(f"rq2-{key}") for key in ("ni-before", "ni-after", "cr-before", "cr-after")}
    text = {"NI": (mean["ni-before"], mean["ni-after"]), "CR": (mean["cr-before"], mean["cr-after"])}
    table = []
    for measure, what in (("NI", "iterations"), ("CR", "compression rate (%)"), ("MA", "accuracy (%)")):
        sides = {key: _sides(values[measure]) for key, values in (("same", same), ("ours", ours))}
        table.append(
            {"mean over the pairs": what}
            | {
                "the paper's text": " → ".join(f"{value:.2f}" for value in text[measure]) if measure in text else "–",
                "its Table 4, these settings": _change(sides["same"]),
                "ours": _change(sides["ours"]),
                "pairs that rise / stay / fall, Table 4": _signs(sides["same"]),
                "ours: rise / cannot be told / fall": _told(found, MEASURES[measure], tau),
            }
        )
    caption = "Means over settings and pruners, alone → after slicing, and how many pairs rise or fall."
    note = "Ours rise or fall where the 95% intervals over networks and over test images are clear of zero."
    note += without_paper(found)
    return fragments.table(pd.DataFrame(table), label, caption, found, note=note)


@or_nothing
def rq2_savings(found: list[Result], label: str) -> Markdown:
    """What the masked and the extracted network take, beside the whole one."""
    rows, table = results.frame(found, "savings"), []
    for name in names(found):
        mine = rows[rows["setting"] == name]
        for number, (tolerance, group) in enumerate(mine.groupby("tolerance")):
            by = {variant: part.set_index("seed") for variant, part in group.groupby("variant")}
            for variant in (each for each in VARIANTS if each in by and not (number and each == "whole")):
                one = by[variant]
                slice_of = "" if variant == "whole" else f", {100 * tolerance:g} points"
                table.append(
                    {
                        "setting": TITLES[name],
                        "network": f"{VARIANTS[variant]}{slice_of}",
                        "parameters": f"{one['parameters'].mean():,.0f}",
                        "KiB on disk": f"{one['bytes'].mean() / 1024:,.0f}",
                        "FLOPs": _times(by["whole"]["flops"] / one["flops"]),
                        "speed, 1 image": _times(by["whole"]["seconds_1"] / one["seconds_1"]),
                        "256 images": _times(by["whole"]["seconds_256"] / one["seconds_256"]),
                    }
                )
    caption = "What a slice saves: size, and how many times fewer operations and faster than the whole network."
    note = "The points are those of accuracy that the slice may lose. FLOPs are floating-point operations."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)


def removed_first(setting: str) -> float:
    """The share, in percent, that slicing removes before the paper's Table 4, by its law (slips.kept); NaN for a
    setting that the paper lacks."""
    return 100 * (1 - slips.kept(setting)) if setting in settings.NAMES else float("nan")


def _chosen(rows: pd.DataFrame) -> str:
    """Metric and theta of every seed, and how many seeds chose them."""
    counts = rows.groupby(["metric", "theta"]).size().sort_values(ascending=False)
    return ", ".join(f"{fragments.METRIC_TITLES[metric]} {theta:g} ({n})" for (metric, theta), n in counts.items())


def _told(found: list[Result], column: str, tau: float) -> str:
    """How many of our pairs rise, cannot be told, and fall after slicing."""
    counts = {1: 0, 0: 0, -1: 0}
    for group in groups(found).values():
        for pruner in PRUNER_TITLES:
            counts[told_apart(*changes(group, pruner, column, tau))] += 1
    return f"{counts[1]} / {counts[0]} / {counts[-1]}"


def changes(group: list[Result], pruner: str, column: str, tau: float) -> tuple[list[float], list[np.ndarray]]:
    """By how much slicing first changes where a pruner stops, one a network; for the accuracy also what it changes of
    each test image, where results say which were recognised."""
    found, images = [], []
    for result in group:
        stops = {row["method"]: row for row in result.tables["pruned"] if np.isclose(row["tau"], tau)}
        pair = stops[f"nss+{pruner}"], stops[pruner]
        found.append(pair[0][column] - pair[1][column])
        answers = [right(result, row, result.tables["base"][0]) for row in pair]
        if column == "accuracy" and answers[0] is not None:
            images.append(np.subtract(*answers))
    return found, images


def matched(result: Result, pruner: str, tau: float) -> dict[str, float]:
    """Of one seed: the later stop's compression rate and the accuracy of both ways there."""
    steps = results.frame([result], "steps").dropna(subset="accuracy")
    pruned = _at(results.frame([result], "pruned"), tau).set_index("method")
    rate = max(pruned.loc[prefix + pruner, "compression_rate"] for prefix in SIDES)
    curves = {prefix: steps[steps["method"] == prefix + pruner] for prefix in SIDES}
    return {"rate": rate} | {prefix: at_rate(curve, rate) for prefix, curve in curves.items()}


def _points(values: pd.Series) -> str:
    return "–" if values.isna().any() else f"{100 * values.mean():+.2f}"


def _times(values: pd.Series) -> str:
    return f"{values.mean():.2f}×"


def _sides(values: pd.Series) -> pd.DataFrame:
    """Columns alone and after, a row for each (setting, pruner), from values indexed by (setting, method); no row where
    there are no values."""
    wide = values.unstack("method")
    alone, after = (wide[[prefix + pruner for pruner in PRUNER_TITLES]] for prefix in SIDES)
    return pd.DataFrame({"alone": alone.to_numpy().ravel(), "after": after.to_numpy().ravel()}).dropna()


def _change(pairs: pd.DataFrame) -> str:
    return "–" if pairs.empty else f"{pairs['alone'].mean():.2f} → {pairs['after'].mean():.2f}"


def _signs(pairs: pd.DataFrame) -> str:
    change = (pairs["after"] - pairs["alone"]).round(6)
    return "–" if pairs.empty else f"{(change > 0).sum()} / {(change == 0).sum()} / {(change < 0).sum()}"
