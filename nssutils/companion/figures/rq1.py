"""RQ1's figures (Section 5.2): Fig. 5, to be touched, and where in the network the critical neurons are."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nssutils import settings
from nssutils.companion import fragments, results
from nssutils.companion.colours import INK, LIGHT, MUTED, SEMANTIC
from nssutils.companion.figures import touch
from nssutils.companion.figures.common import (
    COLUMNS,
    METRIC_MARKERS,
    counted,
    entitled,
    labelled,
    listed,
    panels,
    short,
)
from nssutils.companion.fragments import METRIC_TITLES, TITLES
from nssutils.companion.results import Result
from nssutils.companion.tables.common import NO_RESULTS, lacking, metrics_in, names, or_nothing
from nssutils.companion.tables.rq1 import RATES, lead_at, losing, slices_beside
from nssutils.errors import NssError

NONE: list[Result] = []
LINES = {"semantic": "-", "global": ":", "category-wise": "--"}  # a selection is a colour and a line, a metric a marker
NNSLICER = dict(color=LIGHT["nnslicer"], ls="-.", marker="d", lw=1.2)


def fig5(found: list[Result], label: str, metrics: str = "top3", nnslicer: list[Result] = NONE) -> Figure | object:
    """Accuracy over compression rate of every slicing method, a panel for each of the six settings (Fig. 5), and for
    each other that has results.

    metrics: "top3" shows each setting's three best (furthest to the upper right by semantic slicing), "all" all five.
    nnslicer: results of its chapter, whose curve is drawn beside where the preset is the same.
    """
    if not found:
        return fragments.nothing(label, NO_RESULTS, "once")
    caption = "Accuracy with only the critical neurons active over the share of parameters left out (Fig. 5)."
    note = (
        "Semantic slicing at theta 0.90 to 0.99, the others, and NNSlicer by its own ranking, at the top 10% to 100%. "
        "Means over networks; from three on, bars are the 95% interval of the accuracy. "
    )
    note += "The three metrics furthest to the upper right. " if metrics == "top3" else "All five metrics. "
    note += f"DeepArc's star is the mean over the networks that lose a unit, where some do{_some_lose(found)}."
    drawn, curves = draw_fig5(found, metrics, nnslicer)
    alt = f"{leading(found)} A panel for each setting: accuracy against compression by selection, and DeepArc's star."
    return fragments.figure(drawn, label, caption, alt, found, note, touch.html(drawn, curves))


def _some_lose(found: list[Result]) -> str:
    """In words, in which settings some networks lose a unit to DeepArc and others none."""
    removed = results.frame(found, "removed").query("threshold == 0.99")
    lose = {name: removed[removed["setting"] == name]["units"] > 0 for name in names(found)}
    texts = [f"{each.sum()} of {len(each)} in {TITLES[name]}" for name, each in lose.items() if 0 < each.mean() < 1]
    return f" ({listed(texts)})" if texts else ""


def leading(found: list[Result]) -> str:
    """In how many settings semantic selection is ahead of both others on average at equal compression."""
    ahead, shown = [], names(found)
    for name in shown:
        leads = [lead_at(one, metric, rate)[0] for one in found if one.setting == name
                 for metric in METRIC_TITLES for rate in RATES]  # fmt: skip
        if pd.Series(leads).mean() > 0:
            ahead.append(TITLES[name])
    return counted("At equal compression semantic selection is ahead on average", ahead, shown)


def draw_fig5(
    found: list[Result], metrics: str = "top3", nnslicer: list[Result] = NONE
) -> tuple[Figure, list[touch.Curve]]:
    """The drawing of `fig5` without its caption, and the curves in it that can be read."""
    if metrics not in ("top3", "all"):
        raise NssError(f"metrics={metrics!r} given, expected 'top3' or 'all'.")
    which = [*settings.NAMES, *lacking(found)]
    drawn, axes = panels(len(which), COLUMNS, 3.0, sharey=True)
    shown, curves = set(), []
    for ax, name in zip(axes, which, strict=True):
        group = [result for result in found if result.setting == name]
        beside = [one for one in nnslicer if one.setting == name and group and one.preset == group[0].preset]
        drawn_here = _panel(ax, name, group, metrics, beside or group)  # older results have the curve themselves
        curves += drawn_here
        shown |= {curve["metric"] for curve in drawn_here}
        ax.tick_params(labelleft=True)  # a panel can be looked at by itself
    labelled(axes, "compression rate (%)", "accuracy (%)")
    handles = [Line2D([], [], color=LIGHT[method], ls=line, label=method) for method, line in LINES.items()]
    handles += [Line2D([], [], **NNSLICER, ms=4, label="NNSlicer")]
    handles += [Line2D([], [], color=LIGHT["deeparc"], ls="none", marker="*", ms=11, label="DeepArc (> 0.99)")]
    handles += [
        Line2D([], [], color=INK, ls="none", marker=METRIC_MARKERS[m], ms=5, label=METRIC_TITLES[m])
        for m in METRIC_TITLES if m in shown
    ]  # fmt: skip
    handles += [Line2D([], [], color=MUTED, lw=1, label="whole network")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8.5)
    return drawn, curves


def _panel(ax: Axes, name: str, group: list[Result], metrics: str, nnslicer: list[Result]) -> list[touch.Curve]:
    """Draw one setting; returns its curves."""
    ax.set(xlim=(0, 100), ylim=(0, 102))
    ax.grid()
    entitled(ax, name, group)
    if not group:
        ax.text(50, 50, "no result yet", ha="center", va="center", color=MUTED)
        return []
    points = results.frame(group, "points")
    base = results.frame(group, "base")["accuracy"].mean()
    ax.axhline(100 * base, color=MUTED, lw=1)
    curves = []
    for method, line in LINES.items():
        for metric in _best(points) if metrics == "top3" else list(METRIC_TITLES):
            rows = points[(points["method"] == method) & (points["metric"] == metric)]
            style = dict(color=LIGHT[method], ls=line, marker=METRIC_MARKERS[metric])
            curve = touch.curve(ax, setting=name, selection=method, metric=metric)
            plot_curve(ax, rows, curve, **style, lw=1.5 if method == "semantic" else 1)
            curves.append(curve)
    rows = results.frame(nnslicer, "curve")
    if len(rows):
        curve = touch.curve(ax, setting=name, selection="nnslicer", metric="")
        plot_curve(ax, rows, curve, **NNSLICER)
        curves.append(curve)
    removed = losing(results.frame(group, "removed").query("threshold == 0.99"))
    ax.plot(
        100 * removed["compression_rate"].mean(), 100 * removed["accuracy"].mean(),
        "*", color=LIGHT["deeparc"], ms=12, clip_on=False, zorder=5,
    )  # fmt: skip
    return curves


def plot_curve(ax: Axes, rows: pd.DataFrame, curve: touch.Curve, color: str, **style) -> None:
    """One method's curve: means over seeds; bars from three on."""
    rate, accuracy = (results.aggregate(rows, ["at"], value) for value in ("compression_rate", "accuracy"))
    xs, ys = 100 * rate["mean"], 100 * accuracy["mean"]
    bars = 100 * accuracy["half"] if (accuracy["n"] > 2).any() else None
    made = ax.errorbar(xs, ys, yerr=bars, color=color, ms=3.5, elinewidth=0.7, **style)
    for part in made.get_children():
        part.set_gid(curve["id"])
    curve["points"] = list(zip(rate["at"], xs, ys, strict=True))


def _best(points: pd.DataFrame) -> list[str]:
    """The three metrics whose semantic slices lie furthest to the upper right on average."""
    semantic = points[points["method"] == "semantic"]
    merit = (semantic["compression_rate"] + semantic["accuracy"]).groupby(semantic["metric"]).mean()
    top = set(merit.nlargest(3).index)
    return [metric for metric in METRIC_TITLES if metric in top]


@or_nothing
def rq1_depth(found: list[Result], label: str) -> Figure:
    """A panel for each setting: the share of each layer that the slice keeps, from the first layer to the last."""
    rows, shown = results.frame(found, "layers"), names(found)
    drawn, axes = panels(len(shown), COLUMNS, 2.4, sharey=True)
    sparser = []
    for ax, name in zip(axes, shown, strict=True):
        entitled(ax, name, [result for result in found if result.setting == name])
        mine = rows[rows["setting"] == name]
        shares = 100 * mine.groupby(["layer", "metric"], sort=False)["share"].mean().unstack("metric", sort=False)
        depth = range(1, len(shares) + 1)
        ax.fill_between(depth, shares.min(axis=1), shares.max(axis=1), color=SEMANTIC, alpha=0.2, lw=0)
        ax.plot(depth, shares.mean(axis=1), color=SEMANTIC, marker="o", ms=3.5 if len(shares) < 30 else 1.5, lw=1.2)
        ax.set(ylim=(-3, 104))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid()
        if (shares.iloc[-1] < shares.iloc[0]).sum() > shares.shape[1] / 2:
            sparser.append(TITLES[name])
    labelled(axes, "layer, first to last", "neurons kept (%)")
    caption = "Share of each layer that the semantic slice at theta 0.95 keeps, from the first layer to the last."
    alt = counted("With most metrics the last layer keeps a smaller share than the first", sparser, shown)
    note = "The line is the mean of the five metrics, the band their range."
    return fragments.figure(drawn, label, caption, alt, found, note)


@or_nothing
def rq1_star(found: list[Result], label: str) -> Figure | object:
    """A line for each network and threshold at which DeepArc removes something: its star, and each metric's semantic
    slice of the same size, or its largest where that is smaller still."""
    removed = results.frame(found, "removed").query("units > 0")
    lines = [(name, threshold) for name in names(found)
             for threshold in removed[removed["setting"] == name]["threshold"].unique()]  # fmt: skip
    if not lines:
        return fragments.nothing(label, "DeepArc finds nothing to remove from these networks.")
    drawn, (ax,) = panels(1, 1, 0.8 + 0.55 * len(lines))
    ticks, ahead, shown = [], [], []
    for y, (name, threshold) in enumerate(lines):
        whole = [result for result in found if result.setting == name]
        mine = removed[(removed["setting"] == name) & (removed["threshold"] == threshold)]
        group = [result for result in whole if result.seed in set(mine["seed"])]
        star, slices = mine["accuracy"].mean(), []
        for metric in metrics_in(group, "points"):
            beside = slices_beside(group, mine, metric)
            accuracy, smaller = beside["accuracy"].mean(skipna=False), beside["smaller"].any()
            ax.plot(100 * accuracy, y, METRIC_MARKERS[metric], color=SEMANTIC, ms=6, mfc="none" if smaller else None)
            slices += [accuracy] if accuracy == accuracy else []  # NaN: no slice is as small
        ax.plot(100 * results.frame(group, "base")["accuracy"].mean(), y, "|", color=INK, ms=18)
        ax.plot(100 * star, y, "*", color=LIGHT["deeparc"], ms=13, zorder=3)
        networks = f" in {len(group)} of {len(whole)}" * (len(group) < len(whole))
        left_out = f"{mine['compression_rate'].mean():.0%} left out"
        ticks.append(f"{short(name, whole)}\n> {threshold:g}{networks}: {left_out}")
        if slices:
            shown.append(f"{TITLES[name]} (> {threshold:g})")
            ahead += shown[-1:] if min(slices) > star else []
    ax.set(yticks=range(len(lines)), xlim=(0, 100), ylim=(len(lines) - 0.5, -0.5), xlabel="accuracy (%)")
    ax.set_yticklabels(ticks, fontsize=8.5)
    ax.grid(axis="x")
    handles = [Line2D([], [], color=LIGHT["deeparc"], ls="none", marker="*", ms=11, label="DeepArc")]
    handles += [
        Line2D([], [], color=SEMANTIC, ls="none", marker=METRIC_MARKERS[metric], ms=6, label=METRIC_TITLES[metric])
        for metric in metrics_in(found, "points")
    ]
    handles += [Line2D([], [], color=INK, ls="none", marker="|", ms=11, label="whole network")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8.5)
    caption = "Accuracy of what DeepArc leaves and of semantic slices of the same size; nothing is retrained."
    alt = f"Slices by all metrics that have one are more accurate than what DeepArc leaves in {len(ahead)} of "
    alt += f"{len(shown)} cases{': ' * bool(ahead)}{listed(ahead)}."
    note = (
        "Means over the networks that lose a unit to DeepArc; where not all do, a line says how many. A hollow marker "
        "is a metric's largest slice where that is smaller than what DeepArc leaves; a metric without a marker has no "
        "slice as small. Where no network loses a unit there is no line."
    )
    return fragments.figure(drawn, label, caption, alt, [one for one in found if one.setting in dict(lines)], note)
