"""What each reading changes: accuracy at equal compression, the slices chosen, and the distance to the paper."""

import numpy as np
import pandas as pd
from IPython.display import Markdown

from nssutils import settings
from nssutils.companion import fragments, results
from nssutils.companion.fragments import METRIC_TITLES, TITLES, beside_paper, paper_value
from nssutils.companion.intervals import marked, told_apart
from nssutils.companion.results import Result
from nssutils.companion.tables.common import (
    METRICS,
    groups,
    interval,
    lacking,
    names,
    or_nothing,
    printed,
    tenths,
    without_paper,
)  # fmt: skip
from nssutils.companion.tables.rq1 import METHODS, RATES, at_rate
from nssutils.companion.tables.rq2 import removed_first
from nssutils.studies.sensitivity_combined import SCANS

OURS = "this book"  # the reading that has all others at this book's values


def effects(result: Result) -> pd.DataFrame:
    """Of one network: reading, value, metric, effect: the accuracy that a reading's value adds at equal compression, on
    average over the compressions that both curves reach; NaN where there are none."""
    curves, rows = _curves(result), []
    for (reading, value, method, metric), one in curves.items():
        if reading != OURS and method == "semantic":
            pairs = [(at_rate(one, rate), at_rate(curves[OURS, "", method, metric], rate)) for rate in RATES]
            gains = [theirs - ours for theirs, ours in pairs if not np.isnan(theirs - ours)]
            effect = float(np.mean(gains)) if gains else float("nan")
            rows.append({"reading": reading, "value": value, "metric": metric, "effect": effect})
    return pd.DataFrame(rows)


def _curves(result: Result) -> dict[tuple[str, ...], pd.DataFrame]:
    """(reading, value, method, metric) -> points."""
    points = results.frame([result], "points")
    return {key: one for key, one in points.groupby(["reading", "value", "method", "metric"], sort=False)}


def leads(result: Result) -> pd.DataFrame:
    """Of one network: reading, value, metric, rate, lead: of semantic selection over the better of the two others, at
    each compression that all three reach. A reading of the scan leaves the others as they are."""
    curves, rows = _curves(result), []
    for reading, value, method, metric in [key for key in curves if key[2] == METHODS[0]]:
        others = [curves.get((reading, value, each, metric), curves[OURS, "", each, metric]) for each in METHODS[1:]]
        for rate in RATES:
            # Not max(): it passes over a NaN, of a selection that does not reach the compression.
            rival = np.max([at_rate(one, rate) for one in others])
            lead = at_rate(curves[reading, value, method, metric], rate) - rival
            if not np.isnan(lead):
                rows.append({"reading": reading, "value": value, "metric": metric, "rate": rate, "lead": lead})
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
    for name, mine in groups(found).items():
        rows = pd.concat([effects(one) for one in mine])
        for (reading, value), group in rows.groupby(["reading", "value"], sort=False):
            row = {"setting": TITLES[name], "reading": reading, "value": value}
            for metric in METRICS:
                mine = group[group["metric"] == metric]["effect"]
                row[METRIC_TITLES[metric]] = _points(mine)
            table.append(row)
    caption = "Points of accuracy that each value of a reading adds at equal compression, against this book's."
    note = (
        "On average over the compressions that both curves reach; – where a metric is not touched or the curves do "
        "not meet, ≈ where the difference cannot be told."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=3, note=note)


@or_nothing
def sensitivity_leads(found: list[Result], label: str) -> Markdown:
    """How far RQ1's answer depends on the readings: semantic selection's lead under each value of each."""
    table = []
    for name, group in groups(found).items():
        rows = pd.concat([leads(one).assign(seed=one.seed) for one in group])
        for (reading, value), mine in rows.groupby(["reading", "value"], sort=False):
            same = rows[rows["reading"] == OURS].merge(mine[["metric", "rate", "seed"]])
            cells = {"setting": TITLES[name], "reading": reading, "value": value}
            cells["metrics"] = ", ".join(METRIC_TITLES[each] for each in METRICS if each in set(mine["metric"]))
            cells["metrics"] = "all" if mine["metric"].nunique() == len(METRICS) else cells["metrics"]
            cells["lead (points)"], cells["ahead / ≈ / behind"] = _lead(mine, len(group))
            cells["this book's"] = "" if reading == OURS else _lead(same, len(group))[0]
            table.append(cells)
    caption = "Points by which semantic selection is ahead of the better of the two others, under each reading."
    note = (
        "At equal compression, on average over the metrics touched and the compressions that all three reach in every "
        "network; and in how many of these comparisons it is ahead, level or behind, as far as can be told. Last, the "
        "same comparisons with this book's readings."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=4, note=note)


def of_all_networks(rows: pd.DataFrame, networks: int) -> pd.DataFrame:
    """Of the rows of `leads` of so many networks the comparisons that all of them allow: the same ones in each."""
    return rows.groupby(["metric", "rate"]).filter(lambda one: len(one) == networks)


def _lead(rows: pd.DataFrame, networks: int) -> tuple[str, str]:
    """The mean lead, and in how many comparisons it is ahead, level and behind."""
    rows = of_all_networks(rows, networks)
    if rows.empty:
        return "–", "–"
    means = rows.groupby("seed")["lead"].mean()
    cases = [one["lead"].tolist() for _, one in rows.groupby(["metric", "rate"])]
    told = [told_apart(case) for case in cases]
    return marked(f"{100 * means.mean():+.2f}", told_apart(means)), " / ".join(str(told.count(k)) for k in (1, 0, -1))


@or_nothing
def sensitivity_combined(found: list[Result], label: str) -> Markdown:
    """The combination of readings whose slices lie nearest the paper's in size, beside this book's."""
    found, table = [one for one in found if "combined" in one.tables], []
    for name, group in groups(found).items():
        sizes = combinations(group)
        wanted = pd.Series(paper_shares(name))
        apart = 100 * (sizes - wanted).abs().mean(axis=1)
        shown = {"this book": apart.index[0]} | ({} if name in lacking(found) else {"nearest": apart.idxmin()})
        for title, key in shown.items():
            row = {"setting": TITLES[name], "readings": title, **dict(zip(apart.index.names, key, strict=True))}
            for tolerance in wanted.index:
                row[f"may lose {100 * tolerance:g} points"] = beside_paper(
                    f"{100 * sizes.loc[key, tolerance]:.1f}", printed(found, 100 * wanted[tolerance])
                )
            table.append(row | {"distance (points)": tenths(apart[key])})
    if not table:
        return fragments.nothing(label, "No network here is small enough for every combination to be tried.")
    caption = "The combination of readings whose slices lie nearest the paper's in size: parameters left out (%)."
    texts, note = 2 + len(apart.index.names), without_paper(found).strip()
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=texts, note=note)


def combinations(group: list[Result]) -> pd.DataFrame:
    """Of one setting: the share left out on average over networks, a row for each combination of readings (this book's
    first), a column for each tolerance. The slice chosen is DeepLIFT's or Taylor's, by whichever leaves out more."""
    rows = results.frame(group, "combined")
    keys = ["seed", *SCANS, "tolerance"]
    deeplift, taylor = (rows[rows["metric"] == metric] for metric in ("deeplift", "taylor"))
    pairs = deeplift.merge(taylor, on=keys, suffixes=("", " of Taylor"), sort=False)
    within = [pairs[f"loss{side}"] <= pairs["tolerance"] for side in ("", " of Taylor")]
    both = [pairs[f"compression_rate{side}"] for side in ("", " of Taylor")]
    larger = np.where(both[0] >= both[1], both[0], both[1])
    lesser = np.where(pairs["loss"] <= pairs["loss of Taylor"], both[0], both[1])
    pairs["share"] = np.select(
        [within[0] & within[1], within[0], within[1]], [larger, both[0], both[1]], default=lesser
    )  # fmt: skip
    pairs = pairs.rename(columns={"variant": "DeepLIFT", "variant of Taylor": "Taylor"})
    means = pairs.groupby(["DeepLIFT", "Taylor", *SCANS, "tolerance"], sort=False)["share"].mean()
    return means.unstack("tolerance", sort=False)


@or_nothing
def sensitivity_distances(found: list[Result], label: str) -> Markdown:
    """What the slices chosen for RQ2 and RQ3 leave out under each reading, and how far that is from the paper."""
    table = []
    for name, group in groups(found).items():
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
            row["distance (points)"] = tenths(apart[reading, value])
            table.append(row)
    nearest = {name: nearest_reading(found, name) for name in names(found) if name not in lacking(found)}
    told = "; ".join(f"{TITLES[name]}: {named(key)}" for name, key in nearest.items())
    caption = f"Parameters (%) that the chosen slice leaves out.{f' Nearest the paper: {told}.' if told else ''}"
    note = (
        "By the accuracy on training images that the slice may lose; the paper's by Table 4's law and by Table 5's "
        f"TPR. The distance is the mean of the two. Each reading is varied alone.{without_paper(found)}"
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=3, note=note)


def paper_shares(setting: str) -> dict[float, float]:
    """What the paper's slices leave out, by the tolerance at which ours are chosen: Table 4's and Table 5's; NaN for a
    setting that the paper lacks."""
    trained = paper_value(5, attack="fgsm", setting=setting, method="nss", measure="TPR")
    return {0.005: removed_first(setting) / 100, 0.03: 1 - trained / 100}


def distances(group: list[Result]) -> pd.Series:
    """Of one setting: (reading, value) -> mean distance in points of what is left out from the paper's shares; NaN for
    a setting that the paper lacks."""
    wanted = paper_shares(group[0].setting)
    rows = (
        results.frame(group, "slices").groupby(["reading", "value", "tolerance"], sort=False)["compression_rate"].mean()
    )
    apart = {key: 100 * abs(left_out - wanted[key[2]]) for key, left_out in rows.items()}
    return pd.Series(apart).groupby(level=[0, 1], sort=False).mean()


def nearest_reading(found: list[Result], setting: str) -> tuple[str, str] | None:
    """The value of a reading, varied alone, with which the slices lie nearest the paper's; None for a setting that the
    paper lacks."""
    if setting not in settings.NAMES:
        return None
    return distances([one for one in found if one.setting == setting]).idxmin()


def named(key: tuple[str, str] | None) -> str:
    """A reading and its value in words; a dash for none."""
    if key is None:
        return "–"
    return " ".join(filter(None, key)) if key[0] == OURS else f"{key[0]}, {key[1]}"


def _points(values: pd.Series) -> str:
    if values.empty or values.isna().any():
        return "–"
    return marked(f"{100 * values.mean():+.2f}", told_apart(values))
