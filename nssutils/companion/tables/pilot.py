"""The pilot studies' tables (Section 3.1, Tables 1 to 3)."""

from itertools import pairwise

import numpy as np
import pandas as pd
from IPython.display import Markdown

from nssutils.companion import fragments, results
from nssutils.companion.fragments import METRIC_TITLES, beside_paper, dagger, paper_table, percent
from nssutils.companion.intervals import image_half_width
from nssutils.companion.results import Result
from nssutils.companion.tables.common import by_setting, interval, metrics_in, or_nothing, printed, right, with_slips


@or_nothing
def table1(found: list[Result], label: str) -> Markdown:
    """Accuracy after masking bands of globally ranked neurons, beside the paper's Table 1."""
    return _bands(found, label, 1, "Accuracy (%) after masking a band of the neurons ranked over the whole dataset.")


@or_nothing
def table2(found: list[Result], label: str) -> Markdown:
    """Class-averaged accuracy after masking bands of per-class ranked neurons, beside the paper's Table 2."""
    return _bands(
        found, label, 2, "Accuracy (%), averaged over the classes, after masking a band ranked for each class."
    )


@or_nothing
def table3(found: list[Result], label: str) -> Markdown:
    """Accuracy on four classes after masking bands ranked by DeepLIFT for each, beside the paper's Table 3."""
    paper = paper_table(3).set_index(["band", "category"])["value"]
    bands, categories = (paper.index.get_level_values(level).unique() for level in ("band", "category"))
    table = []
    for group, lead in by_setting(found):
        rows = results.frame(group, "masking").query("metric == 'deeplift'")
        ours = results.aggregate(rows, ["band", "category"], "accuracy").set_index(["band", "category"])
        for band in bands:
            cells = {
                f"Category {c}": _cell(group, ours.loc[(band, c)], paper[band, c], dagger(3, band=band, category=c))
                for c in categories
            }
            table.append(lead | {"masked": _band(band)} | cells)
    caption = with_slips("Accuracy (%) on single classes, neurons ranked for each by DeepLIFT.", table)
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=len(lead) + 1)


@or_nothing
def falls(found: list[Result], label: str) -> Markdown:
    """How often masking a lower band hurts more than the band above it, by metric: theirs and ours."""
    paper, table = paper_table(2 if found[0].chapter == "pilot_categorywise" else 1), []
    for group, lead in by_setting(found):
        rows, base = class_means(group), results.frame(group, "base").groupby("seed")["accuracy"].mean()
        for metric in metrics_in(group, "masking"):
            printed = paper[paper["metric"] == metric]["value"]
            mine = rows[rows["metric"] == metric]
            counts = [counted_falls(result, metric) for result in group]
            drop = mine[mine["band"] == "0-10"].set_index("seed")["accuracy"] - base
            table.append(
                lead
                | {
                    "metric": METRIC_TITLES[metric],
                    "steps": mine["band"].nunique() - 1,
                    "falls, the paper": int((np.diff(printed) < 0).sum())
                    if is_the_papers(group) and len(printed)
                    else "–",
                    "falls, ours, by seed": ", ".join(f"{clear} ({whole})" for clear, whole in counts),
                    "top band minus base (points), ours": f"{100 * drop.mean():.2f}",
                }
            )
    caption = "Steps to a lower band at which the accuracy falls although it should rise."
    note = "Ours count where they are larger than the test images' sampling error; in parentheses: all, however small."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=len(lead) + 1, note=note)


def counted_falls(result: Result, metric: str) -> tuple[int, int]:
    """How often accuracy falls on the way down: by more than the sampling error of the test images, and in all."""
    bases = {row.get("category"): row for row in result.tables["base"]}
    bands: dict[str, list[dict]] = {}
    for row in result.tables["masking"]:
        if row["metric"] == metric:
            bands.setdefault(row["band"], []).append(row)
    clear = whole = 0
    for upper, lower in pairwise(bands.values()):
        change = np.mean([row["accuracy"] for row in lower]) - np.mean([row["accuracy"] for row in upper])
        answers = [
            [right(result, row, bases[row.get("category")]) for row in band] for band in (upper, lower)
        ]  # fmt: skip
        known = all(one is not None for band in answers for one in band)
        error = image_half_width(np.subtract(*map(np.concatenate, answers))) if known else 0.0
        whole += change < 0
        clear += change < -error
    return clear, whole


def _bands(found: list[Result], label: str, number: int, caption: str) -> Markdown:
    paper, table = paper_table(number).set_index(["band", "metric"])["value"], []
    for group, lead in by_setting(found):
        ours = results.aggregate(class_means(group), ["band", "metric"], "accuracy").set_index(["band", "metric"])
        base = interval(results.frame(group, "base").groupby("seed")["accuracy"].mean())
        shown = metrics_in(group, "masking")
        table.append(lead | {"masked": "nothing"} | {METRIC_TITLES[m]: base for m in shown})
        for band in paper.index.get_level_values("band").unique():
            cells = {METRIC_TITLES[m]: _cell(group, ours.loc[(band, m)], paper.get((band, m))) for m in shown}
            table.append(lead | {"masked": _band(band)} | cells)
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=len(lead) + 1)


def _cell(group: list[Result], ours: pd.Series, paper: float | None, mark: str = "") -> str:
    """Our mean and interval above the paper's value, which the pilot studies have for one setting only."""
    theirs = printed(group, paper if is_the_papers(group) else None, mark)
    return beside_paper(percent(ours["mean"], ours["half"]), theirs)


def is_the_papers(group: list[Result]) -> bool:
    """Whether results are of the pilot studies' network."""
    return group[0].setting == "vgg16-cifar10"


def class_means(found: list[Result]) -> pd.DataFrame:
    """The masking rows; where they are by category, averaged over the categories."""
    rows = results.frame(found, "masking")
    return rows.groupby(["seed", "metric", "band"], sort=False, as_index=False)["accuracy"].mean()


def _band(band: str) -> str:
    low, high = band.split("-")
    return f"{low}% → {high}%"
