"""What each reading changes: accuracy at equal compression, the slices chosen, and the distance to the paper."""

import numpy as np
import pandas as pd
from IPython.display import Markdown

from nssutils.companion import fragments, results
from nssutils.companion.fragments import METRIC_TITLES, TITLES, beside_paper, paper_grid
from nssutils.companion.intervals import marked, told_apart
from nssutils.companion.results import Result
from nssutils.companion.tables.common import METRICS, interval, names, or_nothing, printed
from nssutils.companion.tables.rq1 import RATES, at_rate
from nssutils.companion.tables.rq2 import removed_first

OURS = "this book"  # the reading that has all others at this book's values


def effects(result: Result) -> pd.DataFrame:
    """Of one network: reading, value, metric, effect: the accuracy that a reading's value adds at equal compression, on
    average over the compressions that both curves reach; NaN where there are none."""
    points = results.frame([result], "points")
    curves = {key: one for key, one in points.groupby(["reading", "value", "metric"], sort=False)}
    rows = []
    for (reading, value, metric), one in curves.items():
        if reading != OURS:
            pairs = [(at_rate(one, rate), at_rate(curves[OURS, "", metric], rate)) for rate in RATES]
            gains = [theirs - ours for theirs, ours in pairs if not np.isnan(theirs - ours)]
            effect = float(np.mean(gains)) if gains else float("nan")
            rows.append({"reading": reading, "value": value, "metric": metric, "effect": effect})
    return pd.DataFrame(rows)


def mean_effects(found: list[Result], setting: str) -> pd.DataFrame:
    """For one setting: reading, value and, over its networks, the effects on average over the metrics."""
    parts = [effects(one).assign(seed=one.seed) for one in found if one.setting == setting]
    rows = pd.concat(parts).dropna(subset="effect")
    return rows.groupby(["reading", "value", "seed"], sort=False)["effect"].mean().reset_index()


@or_nothing
def sensitivity_effects(found: list[Result], label: str) -> Markdown:
    """By metric, what each reading's value adds to the accuracy at equal compression."""
    table = []
    for name in names(found):
        rows = pd.concat([effects(one) for one in found if one.setting == name])
        for (reading, value), group in rows.groupby(["reading", "value"], sort=False):
            row = {"setting": TITLES[name], "reading": reading, "value": value}
            for metric in METRICS:
                mine = group[group["metric"] == metric]["effect"]
                row[METRIC_TITLES[metric]] = _points(mine)
            table.append(row)
    caption = (
        "Points of accuracy that each value of a reading adds at equal compression, against this book's, on average "
        "over the compressions that both curves reach; – where a metric is not touched or the curves do not meet, "
        "≈ where the difference cannot be told."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=3)


@or_nothing
def sensitivity_distances(found: list[Result], label: str) -> Markdown:
    """What the slices chosen for RQ2 and RQ3 leave out under each reading, and how far that is from the paper."""
    table = []
    for name in names(found):
        group = [one for one in found if one.setting == name]
        rows = results.frame(group, "slices")
        wanted = paper_shares(name)
        apart = distances(group)
        for (reading, value), mine in rows.groupby(["reading", "value"], sort=False):
            row = {"setting": TITLES[name], "reading": reading, "value": value}
            for tolerance, theirs in wanted.items():
                left_out = mine[np.isclose(mine["tolerance"], tolerance)]["compression_rate"]
                row[f"may lose {100 * tolerance:g} points"] = beside_paper(
                    interval(left_out), printed(group, 100 * theirs)
                )
            row["distance (points)"] = f"{apart[reading, value]:.1f}"
            table.append(row)
    nearest = [f"{TITLES[name]}: {_named(nearest_reading(found, name))}" for name in names(found)]
    caption = (
        "Share of the parameters (%) that the chosen slice leaves out, by the accuracy on training images that it may "
        "lose; the paper's by Table 4's law and by Table 5's TPR. The distance is the mean of the two. Nearest the "
        f"paper, each reading varied alone: {'; '.join(nearest)}."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=3)


def paper_shares(setting: str) -> dict[float, float]:
    """What the paper's slices leave out, by the tolerance at which ours are chosen: Table 4's and Table 5's."""
    return {0.005: removed_first(setting) / 100, 0.03: 1 - paper_grid(5, "TPR").at[("fgsm", setting), "nss"] / 100}


def distances(group: list[Result]) -> pd.Series:
    """Of one setting: (reading, value) -> mean distance in points of what is left out from the paper's shares."""
    wanted = paper_shares(group[0].setting)
    rows = (
        results.frame(group, "slices").groupby(["reading", "value", "tolerance"], sort=False)["compression_rate"].mean()
    )
    apart = {key: 100 * abs(left_out - wanted[key[2]]) for key, left_out in rows.items()}
    return pd.Series(apart).groupby(level=[0, 1], sort=False).mean()


def nearest_reading(found: list[Result], setting: str) -> tuple[str, str]:
    """The value of a reading, varied alone, with which the slices lie nearest the paper's."""
    return distances([one for one in found if one.setting == setting]).idxmin()


def _named(key: tuple[str, str]) -> str:
    return " ".join(filter(None, key)) if key[0] == OURS else f"{key[0]}, {key[1]}"


def _points(values: pd.Series) -> str:
    if values.empty or values.isna().any():
        return "–"
    return marked(f"{100 * values.mean():+.2f}", told_apart(values))
