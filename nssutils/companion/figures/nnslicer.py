"""NNSlicer's figure: pruning for chosen classes and protection, by method."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nssutils import settings
from nssutils.companion import fragments, results
from nssutils.companion.fragments import TITLES
from nssutils.companion.results import Result
from nssutils.companion.tables.nnslicer import HIDING_TITLES, PRUNING_TITLES

_METHODS = PRUNING_TITLES | HIDING_TITLES
COLOURS = dict(zip(_METHODS, sns.color_palette("colorblind", len(_METHODS)), strict=True))
MARKERS = dict(zip(_METHODS, "osd^", strict=True))


def nnslicer_curves(found: list[Result], label: str) -> Figure | object:
    """For each setting three panels: accuracy on chosen classes over compression, neurons and synapses pruned, and
    what an attacker regains over the share hidden."""
    if not found:
        return fragments.nothing(label, "No results to show here: none are published, or this book computed none.")
    present = [name for name in settings.NAMES if any(result.setting == name for result in found)]
    drawn, axes = plt.subplots(
        len(present), 3, figsize=(9.6, 3.1 * len(present) + 0.6), layout="constrained", squeeze=False
    )
    for row, name in zip(axes, present, strict=True):
        _row(row, [result for result in found if result.setting == name])
        row[0].set_ylabel(f"{TITLES[name]}\naccuracy (%)")
    handles = [
        Line2D([], [], color=COLOURS[method], marker=MARKERS[method], ms=4, label=title)
        for method, title in _METHODS.items()
    ]
    handles += [Line2D([], [], color="0.6", lw=1, label="whole network")]
    handles += [Line2D([], [], color="0.6", lw=1, ls=":", label="trained from nothing")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)
    plt.close(drawn)
    caption = (
        "Pruned for chosen classes: accuracy among them over the share of parameters left out, mean over 2 to 5 "
        "classes. Protected: accuracy an attacker regains over the share of each layer's weights that is hidden (lower "
        "is better). Means over seeds; from three on, bars are the 95% interval."
    )
    alt = "For each setting three panels with a line for each method: pruning neurons, pruning synapses, protection."
    return fragments.figure(drawn, label, caption, alt, found)


def _row(row: list[Axes], group: list[Result]) -> None:
    pruning, whole = results.frame(group, "pruning"), results.frame(group, "whole")["accuracy"].mean()
    for ax, level in zip(row[:2], ("neurons", "synapses"), strict=True):
        rows = pruning[pruning["level"] == level].groupby(["method", "at", "seed"], sort=False)
        rows = rows[["compression_rate", "accuracy"]].mean().reset_index()
        ax.set(title=f"{level} pruned", xlabel="compression rate (%)")
        ax.axhline(100 * whole, color="0.6", lw=1)
        _lines(ax, rows, "at", "compression_rate", "accuracy")
    protection, ax = results.frame(group, "protection"), row[2]
    ax.set(title="weights hidden", xlabel="hidden (% of each layer)")
    ax.axhline(100 * results.frame(group, "base")["accuracy"].mean(), color="0.6", lw=1)
    nothing = protection["method"] == "everything"
    ax.axhline(100 * protection[nothing]["regained"].mean(), color="0.6", lw=1, ls=":")
    _lines(ax, protection[~nothing], "hidden", "hidden", "regained")
    for ax in row:
        ax.grid(color="0.9", lw=0.6)
        sns.despine(ax=ax)


def _lines(ax: Axes, rows: pd.DataFrame, at: str, x: str, y: str) -> None:
    """A line for each method through the means at each `at`."""
    for method, curve in rows.groupby("method", sort=False):
        across, up = (results.aggregate(curve, [at], value) for value in (x, y))
        ax.errorbar(
            100 * across["mean"], 100 * up["mean"], yerr=100 * up["half"] if up["n"].max() > 2 else None,
            color=COLOURS[method], marker=MARKERS[method], ms=4, lw=1.2, elinewidth=0.7, alpha=0.9,
        )  # fmt: skip
