"""RQ1's figure (Section 5.2, Fig. 5)."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nssutils import settings
from nssutils.companion import fragments, results
from nssutils.companion.fragments import METRIC_TITLES, TITLES
from nssutils.companion.results import Result
from nssutils.errors import NssError

COLOURS = dict(zip(METRIC_TITLES, sns.color_palette("colorblind", len(METRIC_TITLES)), strict=True))
NONE: list[Result] = []
NNSLICER = dict(color="black", ls="-.", marker="d", lw=1)
STYLES = {"semantic": ("-", "o"), "category-wise": ("--", "s"), "global": (":", "^")}


def fig5(found: list[Result], label: str, metrics: str = "top3", nnslicer: list[Result] = NONE) -> Figure | object:
    """Accuracy over compression rate of every slicing method, a panel for each of the six settings (Fig. 5).

    metrics: "top3" shows each setting's three best (furthest to the upper right by semantic slicing), "all" all five.
    nnslicer: results of its chapter, whose curve is drawn beside where the preset is the same.
    """
    if not found:
        return fragments.nothing(label, "No results to show here: none are published, or this book computed none.")
    caption = (
        "Accuracy with only the critical neurons active over the share of parameters left out, the paper's Fig. 5: "
        "semantic slicing at theta 0.90 to 0.99, the others, and NNSlicer by its own ranking, at the top 10% to 100%. "
        "Means over seeds; from three seeds on, bars are the 95% interval of the accuracy. "
    )
    caption += "The three metrics furthest to the upper right. " if metrics == "top3" else "All five metrics. "
    alt = (
        "Six panels, one a setting: accuracy against compression rate for global, category-wise and semantic slicing "
        "and NNSlicer, and a star for DeepArc."
    )
    return fragments.figure(draw_fig5(found, metrics, nnslicer), label, caption, alt, found)


def draw_fig5(found: list[Result], metrics: str = "top3", nnslicer: list[Result] = NONE) -> Figure:
    """The drawing of `fig5`, without its caption."""
    if metrics not in ("top3", "all"):
        raise NssError(f"metrics={metrics!r} given, expected 'top3' or 'all'.")
    drawn, axes = plt.subplots(2, 3, figsize=(9.6, 6.6), sharey=True, layout="constrained")
    shown = set()
    for ax, name in zip(axes.flat, settings.NAMES, strict=True):
        group = [result for result in found if result.setting == name]
        beside = [one for one in nnslicer if one.setting == name and group and one.preset == group[0].preset]
        shown |= _panel(ax, name, group, metrics, beside or group)  # older results have the curve themselves
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy (%)")
    for ax in axes[1]:
        ax.set_xlabel("compression rate (%)")
    handles = [Line2D([], [], color=COLOURS[m], label=METRIC_TITLES[m]) for m in METRIC_TITLES if m in shown]
    handles += [
        Line2D([], [], color="0.3", ls=ls, marker=mk, ms=4, label=method) for method, (ls, mk) in STYLES.items()
    ]
    handles += [Line2D([], [], **NNSLICER, ms=4, label="NNSlicer")]
    handles += [Line2D([], [], color="black", ls="none", marker="*", ms=11, label="DeepArc (> 0.99)")]
    handles += [Line2D([], [], color="0.6", lw=1, label="whole network")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    plt.close(drawn)  # else a notebook shows it twice
    return drawn


def _panel(ax: Axes, name: str, group: list[Result], metrics: str, nnslicer: list[Result]) -> set[str]:
    """Draw one setting; returns the metrics shown."""
    ax.set(xlim=(0, 100), ylim=(0, 102))
    ax.grid(color="0.9", lw=0.6)
    sns.despine(ax=ax)
    if not group:
        ax.set_title(TITLES[name], fontsize=11)
        ax.text(50, 50, "no result yet", ha="center", va="center", color="0.45")
        return set()
    ax.set_title(f"{TITLES[name]}\n", fontsize=11)
    ax.text(
        0.5,
        1.02,
        f"preset {group[0].preset}, n = {len(group)}",
        transform=ax.transAxes,
        ha="center",
        fontsize=9,
        color="0.35",
    )
    points = results.frame(group, "points")
    base = results.frame(group, "base")["accuracy"].mean()
    ax.axhline(100 * base, color="0.6", lw=1)
    chosen = _best(points) if metrics == "top3" else list(METRIC_TITLES)
    for method, (line, marker) in STYLES.items():
        for metric in chosen:
            curve = points[(points["method"] == method) & (points["metric"] == metric)]
            plot_curve(ax, curve, COLOURS[metric], ls=line, marker=marker, lw=1.4 if method == "semantic" else 1)
    curve = results.frame(nnslicer, "curve")
    if len(curve):
        plot_curve(ax, curve, **NNSLICER)
    removed = results.frame(group, "removed").query("threshold == 0.99")
    ax.plot(
        100 * removed["compression_rate"].mean(), 100 * removed["accuracy"].mean(),
        "*", color="black", ms=11, clip_on=False, zorder=5,
    )  # fmt: skip
    return set(chosen)


def plot_curve(ax: Axes, curve: pd.DataFrame, color, **style) -> None:
    """One method's curve: means over seeds; bars from three on."""
    rate, accuracy = (results.aggregate(curve, ["at"], value) for value in ("compression_rate", "accuracy"))
    bars = 100 * accuracy["half"] if (accuracy["n"] > 2).any() else None
    ax.errorbar(
        100 * rate["mean"], 100 * accuracy["mean"], yerr=bars, color=color, ms=3.5, elinewidth=0.7, alpha=0.9, **style
    )  # fmt: skip


def _best(points: pd.DataFrame) -> list[str]:
    """The three metrics whose semantic slices lie furthest to the upper right on average."""
    semantic = points[points["method"] == "semantic"]
    merit = (semantic["compression_rate"] + semantic["accuracy"]).groupby(semantic["metric"]).mean()
    top = set(merit.nlargest(3).index)
    return [metric for metric in METRIC_TITLES if metric in top]
