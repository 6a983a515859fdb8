"""RQ2's tables (Section 5.3, Table 4): pruning with and without slicing first, and what a smaller network saves."""

import pandas as pd
from IPython.display import Markdown

from nssutils import fragments, pruning, results
from nssutils.fragments import TITLES, beside_paper, paper_number, paper_table
from nssutils.results import Result
from nssutils.tables.common import interval, names, or_nothing, printed
from nssutils.tables.rq1 import at_rate

PRUNER_TITLES = {"lamp": "LAMP", "glob": "Glob", "unif": "Unif+", "erk": "ERK"}
SIDES = {"": "alone", "nss+": "after slicing"}


@or_nothing
def slices(found: list[Result], label: str) -> Markdown:
    """Which slice each setting got: metric and theta of every seed, its size and what it costs."""
    rows, base, table = results.frame(found, "slices"), results.frame(found, "base"), []
    keys = [key for key in ("task_a", "tolerance") if key in rows]
    for name in names(found):
        mine = rows[rows["setting"] == name]
        for key, group in mine.groupby(keys, sort=False):
            cells = dict(zip(keys, key, strict=True))
            whole = base[base["setting"] == name]
            whole = whole[whole["task_a"] == cells["task_a"]] if "task_a" in cells else whole
            table.append(
                {"setting": TITLES[name]}
                | ({"task A": cells["task_a"]} if "task_a" in cells else {})
                | {
                    "metric, theta (by seed)": ", ".join(
                        f"{fragments.METRIC_TITLES[metric]} {theta:g}"
                        for metric, theta in zip(group["metric"], group["theta"], strict=True)
                    ),
                    "may lose (points)": f"{100 * cells['tolerance']:g}",
                    "left out (%)": interval(group["compression_rate"]),
                    "accuracy, whole (%)": interval(whole["accuracy"]),
                    "accuracy, slice (%)": interval(group["accuracy"]),
                }
            )
    caption = (
        "The slices: of DeepLIFT and Taylor and of all thetas the one that leaves out the most parameters while it "
        "loses at most so much on training images. Accuracy is on test images."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=3 if "task_a" in keys else 2)


@or_nothing
def table4(found: list[Result], label: str) -> Markdown:
    """Compression rate, iterations and accuracy where each pruner stopped, beside the paper's Table 4."""
    paper = paper_table(4).set_index(["method", "setting", "measure"])["value"].astype(float)
    rows, table = results.frame(found, "pruned"), []
    for name in names(found):
        group = [result for result in found if result.setting == name]
        for pruner, title in PRUNER_TITLES.items():
            cells = {}
            for prefix, side in SIDES.items():
                mine = rows[(rows["setting"] == name) & (rows["method"] == prefix + pruner)]
                ours = {
                    "CR": interval(mine["compression_rate"]),
                    "NI": f"{mine['iterations'].mean():.1f}",
                    "MA": interval(mine["accuracy"]),
                }
                for measure, text in ours.items():
                    theirs = printed(group, paper[prefix + pruner, name, measure])
                    theirs = theirs and (theirs.removesuffix(".00") if measure == "NI" else theirs)
                    cells[f"{measure}, {side}"] = beside_paper(text, theirs)
            table.append({"setting": TITLES[name], "pruner": title} | cells)
    caption = (
        "Pruning step by step until more than one point of accuracy is lost on training images: compression rate CR "
        "(% of the weights), iterations NI, test accuracy MA (%), by the pruner alone and after slicing."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2)


@or_nothing
def rq2_matched(found: list[Result], label: str) -> Markdown:
    """Accuracy of both ways at the same compression, the later of the two stops, and fine-tuned at their own stops."""
    table = []
    for name in names(found):
        group = [result for result in found if result.setting == name]
        for pruner, title in PRUNER_TITLES.items():
            rows = pd.DataFrame([_matched(result, pruner) for result in group])
            pruned = results.frame(group, "pruned").set_index("method")["finetuned"]
            tuned = {side: interval(pd.Series(pruned[[prefix + pruner]].to_numpy())) for prefix, side in SIDES.items()}
            table.append(
                {
                    "setting": TITLES[name],
                    "pruner": title,
                    "CR of both": interval(rows["rate"]),
                    "alone": interval(rows[""]),
                    "after slicing": interval(rows["nss+"]),
                    "gain (points)": _points(rows["nss+"] - rows[""]),
                    "fine-tuned at its stop, alone": tuned["alone"],
                    "fine-tuned at its stop, after slicing": tuned["after slicing"],
                }
            )
    caption = (
        "Test accuracy (%) at equal compression, that of the later of the two stops; and at each one's own stop after "
        "an epoch of fine-tuning the surviving weights."
    )
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
    """What the masked and the extracted network take, relative to the whole one."""
    rows, table = results.frame(found, "savings"), []
    for name in names(found):
        mine = rows[rows["setting"] == name]
        for tolerance, group in mine.groupby("tolerance", sort=False):
            by = {variant: part.set_index("seed") for variant, part in group.groupby("variant")}
            whole, masked, small = by["whole"], by["masked"], by["extracted"]
            gains = {
                f"{variant}, {label}": _times(whole[key] / part[key])
                for variant, part in (("masked", masked), ("extracted", small))
                for key, label in (("seconds_1", "1 image"), ("seconds_256", "256 images"))
            }
            table.append(
                {
                    "setting": TITLES[name],
                    "may lose (points)": f"{100 * tolerance:g}",
                    "parameters": f"{whole['parameters'].mean():,.0f} → {small['parameters'].mean():,.0f}",
                    "KiB on disk": f"{whole['bytes'].mean() / 1024:,.0f} → {small['bytes'].mean() / 1024:,.0f}",
                    "FLOPs": _times(whole["flops"] / small["flops"]),
                }
                | {f"faster, {key}": value for key, value in gains.items()}
            )
    caption = (
        "What a slice saves: parameters and bytes of the whole and the extracted network; how many times fewer "
        "floating-point operations the extracted one needs; how many times faster the masked and the extracted one are."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found)


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
    alone, after = (wide[[prefix + pruner for pruner in pruning.PRUNERS]] for prefix in SIDES)
    return pd.DataFrame({"alone": alone.to_numpy().ravel(), "after": after.to_numpy().ravel()})


def _change(pairs: pd.DataFrame) -> str:
    return f"{pairs['alone'].mean():.2f} → {pairs['after'].mean():.2f}"


def _signs(pairs: pd.DataFrame) -> str:
    change = (pairs["after"] - pairs["alone"]).round(6)
    return f"{(change > 0).sum()} / {(change == 0).sum()} / {(change < 0).sum()}"
