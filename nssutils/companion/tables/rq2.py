"""RQ2's tables (Section 5.3, Table 4): pruning with and without slicing first, and what a smaller network saves."""

import pandas as pd
from IPython.display import Markdown

from nssutils.companion import fragments, results
from nssutils.companion.fragments import TITLES, beside_paper, paper_number, paper_table
from nssutils.companion.results import Result
from nssutils.companion.tables.common import interval, names, or_nothing, printed
from nssutils.companion.tables.rq1 import at_rate

PRUNER_TITLES = {"lamp": "LAMP", "glob": "Glob", "unif": "Unif+", "erk": "ERK"}
SIDES = {"": "", "nss+": ", sliced"}


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
    caption = (
        "The slices: of DeepLIFT and Taylor and of all thetas the one that leaves out the most parameters while it "
        "loses at most so much on training images. Accuracy is on test images."
    )
    if pruned:
        caption += " What the paper's slices leave out is worked out from its Table 4, by its law."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=3 if "task_a" in keys else 2)


@or_nothing
def table4(found: list[Result], label: str) -> Markdown:
    """Compression rate, iterations and accuracy where each pruner stopped, beside the paper's Table 4."""
    paper = paper_table(4).set_index(["method", "setting", "measure"])["value"].astype(float)
    rows, table = results.frame(found, "pruned"), []
    for name in names(found):
        group = [result for result in found if result.setting == name]
        for pruner, title in PRUNER_TITLES.items():
            for prefix, side in SIDES.items():
                method = prefix + pruner
                mine = rows[(rows["setting"] == name) & (rows["method"] == method)]
                theirs = {m: printed(group, paper[method, name, m]) for m in ("CR", "NI", "MA")}
                steps = theirs["NI"] and theirs["NI"].removesuffix(".00")
                table.append(
                    {
                        "setting": TITLES[name],
                        "pruner": f"{title}{side}",
                        "CR": beside_paper(interval(mine["compression_rate"]), theirs["CR"]),
                        "NI": beside_paper(f"{mine['iterations'].mean():.1f}", steps),
                        "MA": beside_paper(interval(mine["accuracy"]), theirs["MA"]),
                        "MA, fine-tuned": interval(mine["finetuned"]),
                    }
                )
    caption = (
        "Pruning step by step until more than one point of accuracy is lost on training images: compression rate CR "
        "(% of the weights), iterations NI, test accuracy MA (%), and MA after an epoch of training what survived."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2)


@or_nothing
def rq2_matched(found: list[Result], label: str) -> Markdown:
    """Accuracy of both ways at the same compression, that of the later of the two stops."""
    table = []
    for name in names(found):
        group = [result for result in found if result.setting == name]
        for pruner, title in PRUNER_TITLES.items():
            rows = pd.DataFrame([_matched(result, pruner) for result in group])
            table.append(
                {
                    "setting": TITLES[name],
                    "pruner": title,
                    "CR of both": interval(rows["rate"]),
                    "alone": interval(rows[""]),
                    "after slicing": interval(rows["nss+"]),
                    "gain (points)": _points(rows["nss+"] - rows[""]),
                }
            )
    caption = "Test accuracy (%) at equal compression, that of the later of the two stops, linear between steps."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2)


@or_nothing
def rq2_summary(found: list[Result], label: str) -> Markdown:
    """The averages and counts that Section 5.3 states: the paper's, its Table 4 at the settings shown, and ours."""
    rows = results.frame(found, "pruned").rename(
        columns={"compression_rate": "CR", "iterations": "NI", "accuracy": "MA"}
    )  # fmt: skip
    ours = rows.groupby(["setting", "method"])[["CR", "NI", "MA"]].mean()
    ours[["CR", "MA"]] *= 100
    paper = paper_table(4).assign(value=lambda t: t["value"].astype(float))
    paper = paper.pivot_table(index=["setting", "method"], columns="measure", values="value")
    same = paper.loc[[index for index in paper.index if index[0] in names(found)]]
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
                "the same, ours": _signs(sides["ours"]),
            }
        )
    caption = "Means over the pairs of a setting and a pruner, alone → after slicing, and how many pairs change how."
    return fragments.table(pd.DataFrame(table), label, caption, found)


@or_nothing
def rq2_savings(found: list[Result], label: str) -> Markdown:
    """What the masked and the extracted network take, beside the whole one."""
    rows, table = results.frame(found, "savings"), []
    for name in names(found):
        mine = rows[rows["setting"] == name]
        for number, (tolerance, group) in enumerate(mine.groupby("tolerance")):
            by = {variant: part.set_index("seed") for variant, part in group.groupby("variant")}
            for variant in ("masked", "extracted") if number else ("whole", "masked", "extracted"):
                one = by[variant]
                slice_of = "" if variant == "whole" else f", {100 * tolerance:g} points"
                table.append(
                    {
                        "setting": TITLES[name],
                        "network": f"{variant}{slice_of}",
                        "parameters": f"{one['parameters'].mean():,.0f}",
                        "KiB on disk": f"{one['bytes'].mean() / 1024:,.0f}",
                        "FLOPs": _times(by["whole"]["flops"] / one["flops"]),
                        "speed, 1 image": _times(by["whole"]["seconds_1"] / one["seconds_1"]),
                        "256 images": _times(by["whole"]["seconds_256"] / one["seconds_256"]),
                    }
                )
    caption = (
        "What a slice saves: parameters and bytes; how many times fewer floating-point operations and how many times "
        "faster than the whole network. The points are those of accuracy that the slice may lose."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2)


def removed_first(setting: str) -> float:
    """The share s, in percent, that slicing removes before the paper's Table 4: the one with which its cells obey
    CR = 1 - (1 - s)(1 - r)^NI, r being that of the pruner alone. The mean over the pruners, which agree."""
    paper = paper_table(4).set_index(["method", "setting", "measure"])["value"].astype(float)
    shares = []
    for pruner in PRUNER_TITLES:
        (alone, steps), (sliced, fewer) = (
            (1 - paper[prefix + pruner, setting, "CR"] / 100, paper[prefix + pruner, setting, "NI"]) for prefix in SIDES
        )
        shares.append(1 - sliced / alone ** (fewer / steps))
    return 100 * sum(shares) / len(shares)


def _chosen(rows: pd.DataFrame) -> str:
    """Metric and theta of every seed, and how many seeds chose them."""
    counts = rows.groupby(["metric", "theta"]).size().sort_values(ascending=False)
    return ", ".join(f"{fragments.METRIC_TITLES[metric]} {theta:g} ({n})" for (metric, theta), n in counts.items())


def _matched(result: Result, pruner: str) -> dict[str, float]:
    """Of one seed: the later stop's compression rate and the accuracy of both ways there."""
    steps, pruned = results.frame([result], "steps"), results.frame([result], "pruned").set_index("method")
    rate = max(pruned.loc[prefix + pruner, "compression_rate"] for prefix in SIDES)
    curves = {prefix: steps[steps["method"] == prefix + pruner] for prefix in SIDES}
    return {"rate": rate} | {prefix: at_rate(curve, rate) for prefix, curve in curves.items()}


def _points(values: pd.Series) -> str:
    return "–" if values.isna().any() else f"{100 * values.mean():+.2f}"


def _times(values: pd.Series) -> str:
    return f"{values.mean():.2f}×"


def _sides(values: pd.Series) -> pd.DataFrame:
    """Columns alone and after, a row for each (setting, pruner), from values indexed by (setting, method)."""
    wide = values.unstack("method")
    alone, after = (wide[[prefix + pruner for pruner in PRUNER_TITLES]] for prefix in SIDES)
    return pd.DataFrame({"alone": alone.to_numpy().ravel(), "after": after.to_numpy().ravel()})


def _change(pairs: pd.DataFrame) -> str:
    return f"{pairs['alone'].mean():.2f} → {pairs['after'].mean():.2f}"


def _signs(pairs: pd.DataFrame) -> str:
    change = (pairs["after"] - pairs["alone"]).round(6)
    return f"{(change > 0).sum()} / {(change == 0).sum()} / {(change < 0).sum()}"
