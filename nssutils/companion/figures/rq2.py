"""RQ2's figure: accuracy while pruning goes on, alone and after slicing (Section 5.3)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nssutils.companion import fragments, results
from nssutils.companion.colours import INK, SEMANTIC
from nssutils.companion.figures.common import counted, panels, short
from nssutils.companion.fragments import TITLES
from nssutils.companion.results import Result
from nssutils.companion.tables.common import names, or_nothing
from nssutils.companion.tables.rq2 import PRUNER_TITLES, matched, nearest_tau

STYLES = {"": (INK, "--", "alone"), "nss+": (SEMANTIC, "-", "sliced first")}


@or_nothing
def rq2_curves(found: list[Result], label: str) -> Figure:
    """A row of panels for each setting, a panel for each pruner: both ways to it over compression."""
    shown, tau = names(found), nearest_tau(found)
    drawn, axes = panels(len(shown) * len(PRUNER_TITLES), len(PRUNER_TITLES), 1.55, sharex=True, sharey="row")
    ahead = []
    for row, name in enumerate(shown):
        group = [result for result in found if result.setting == name]
        gains = []
        for ax, (pruner, title) in zip(axes[row * len(PRUNER_TITLES) :], PRUNER_TITLES.items(), strict=False):
            _panel(ax, group, pruner, tau)
            if row == 0:
                ax.set_title(title, fontsize=10)
            both = pd.DataFrame([matched(result, pruner, tau) for result in group])
            gains.append((both["nss+"] - both[""]).mean())
        axes[row * len(PRUNER_TITLES)].set_ylabel(short(name, group), fontsize=8.5)
        if sum(gain > 0 for gain in gains) > len(gains) / 2:
            ahead.append(TITLES[name])
    for ax in axes[-len(PRUNER_TITLES) :]:
        ax.set_xlabel("compression (%)", fontsize=9)
    handles = [Line2D([], [], color=colour, ls=line, label=side) for colour, line, side in STYLES.values()]
    handles += [Line2D([], [], color=INK, marker="o", ls="none", ms=4, label="where the stop rule ends it")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=3)
    caption = "Test accuracy (%) over the share of weights pruned, without retraining, alone and after slicing."
    alt = counted("At equal compression slicing first is ahead with most pruners", ahead, shown)
    return fragments.figure(drawn, label, caption, alt, found, "Means over networks.")


def _panel(ax: Axes, group: list[Result], pruner: str, tau: float) -> None:
    steps, pruned = results.frame(group, "steps"), results.frame(group, "pruned")
    ax.grid()
    ax.tick_params(labelsize=8)
    for prefix, (colour, line, _) in STYLES.items():
        method = prefix + pruner
        mean = steps[steps["method"] == method].groupby("step")[["compression_rate", "accuracy"]].agg(["mean", "count"])
        mean = mean[mean["accuracy", "count"] > 0]  # each seed was tested where its own runs stopped
        ax.plot(100 * mean["compression_rate", "mean"], 100 * mean["accuracy", "mean"], color=colour, ls=line, lw=1.4)
        stop = pruned[(pruned["method"] == method) & np.isclose(pruned["tau"], tau)]
        stop = stop[["compression_rate", "accuracy"]].mean()
        ax.plot(100 * stop["compression_rate"], 100 * stop["accuracy"], "o", color=colour, ms=4)
