"""RQ2's figure: accuracy while pruning goes on (Section 5.3)."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nssutils import settings
from nssutils.companion import fragments, results
from nssutils.companion.fragments import TITLES
from nssutils.companion.results import Result
from nssutils.companion.tables.rq2 import PRUNER_TITLES, nearest_tau


def rq2_curves(found: list[Result], label: str) -> Figure | object:
    """Accuracy over compression of every pruner, alone and after slicing, a panel for each setting."""
    if not found:
        return fragments.nothing(label, "No results to show here: none are published, or this book computed none.")
    present = [name for name in settings.NAMES if any(result.setting == name for result in found)]
    height = 3.2 * -(-len(present) // 2)
    drawn, axes = plt.subplots(
        -(-len(present) // 2), 2, figsize=(9.6, height + 0.8), layout="constrained", squeeze=False
    )  # fmt: skip
    colours = dict(zip(PRUNER_TITLES, sns.color_palette("colorblind", len(PRUNER_TITLES)), strict=True))
    for ax, name in zip(axes.flat, present, strict=False):
        _curves(ax, name, [result for result in found if result.setting == name], colours, nearest_tau(found))
    for ax in axes.flat[len(present) :]:
        ax.set_axis_off()
    handles = [Line2D([], [], color=colours[p], label=title) for p, title in PRUNER_TITLES.items()]
    lines = (("--", "alone"), ("-", "sliced first"))
    handles += [Line2D([], [], color="0.3", ls=line, label=side) for line, side in lines]
    drawn.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)
    plt.close(drawn)
    caption = (
        "Test accuracy over the share of weights pruned, without retraining; dots are where the stop rule ended each "
        "run. Means over seeds."
    )
    alt = "A panel for each setting: accuracy against compression for four pruners, alone and after slicing."
    return fragments.figure(drawn, label, caption, alt, found)


def _curves(ax: Axes, name: str, group: list[Result], colours: dict, tau: float) -> None:
    """Draw one setting's pruning courses."""
    ax.set_title(f"{TITLES[name]} (preset {group[0].preset}, n = {len(group)})", fontsize=11)
    ax.set(xlabel="compression rate (% of the weights)", ylabel="accuracy (%)")
    ax.grid(color="0.9", lw=0.6)
    sns.despine(ax=ax)
    steps, pruned = results.frame(group, "steps"), results.frame(group, "pruned")
    for method in steps["method"].unique():
        sliced, pruner = method.startswith("nss+"), method.removeprefix("nss+")
        mean = steps[steps["method"] == method].groupby("step")[["compression_rate", "accuracy"]].agg(["mean", "count"])
        mean = mean[mean["accuracy", "count"] > 0]  # each seed was tested where its own runs stopped
        ax.plot(
            100 * mean["compression_rate", "mean"], 100 * mean["accuracy", "mean"],
            color=colours[pruner], ls="-" if sliced else "--", lw=1.4 if sliced else 1,
        )  # fmt: skip
        stop = pruned[(pruned["method"] == method) & np.isclose(pruned["tau"], tau)]
        stop = stop[["compression_rate", "accuracy"]].mean()
        ax.plot(100 * stop["compression_rate"], 100 * stop["accuracy"], "o", color=colours[pruner], ms=4)
