"""NNSlicer's Fig. 3 drawn anew: accuracy on subsets of classes over the share of synapses pruned."""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nssutils.companion import fragments, results
from nssutils.companion.fragments import peer_numbers
from nssutils.companion.results import Result
from nssutils.companion.tables.common import or_nothing
from nssutils.companion.tables.nnslicer_applications import METHODS

DRAWN = ("nnslicer", "all classes", "weight", "channel", "semantic")
COLOURS = dict(zip(DRAWN, sns.color_palette("colorblind", len(DRAWN)), strict=True))
MARKERS = dict(zip(DRAWN, "osd^v", strict=True))


@or_nothing
def nnslicer_fig3(found: list[Result], label: str) -> Figure:
    """Two panels, by the statistics of batch normalisation: a line for each method; the paper's values as crosses."""
    rows = results.frame(found, "pruned")
    # A semantic slice has a size of its own: its points are averages over subsets at one theta, in order of size.
    order = ["seed", "classes", "method", "statistics"]
    rows = rows.assign(at=rows.groupby(order, sort=False).cumcount()).sort_values("share")
    drawn, axes = plt.subplots(1, 2, figsize=(9.6, 3.9), layout="constrained", sharey=True)
    whole = 100 * results.frame(found, "whole")["accuracy"].mean()
    for ax, statistics in zip(axes, ("kept", "measured again"), strict=True):
        ax.axhline(whole, color="0.6", lw=1)
        for method in DRAWN:
            mine = rows[(rows["statistics"] == statistics) & (rows["method"] == method)]
            means = mine.groupby("at")[["share", "accuracy"]].mean().sort_values("share")
            ax.plot(
                100 * means["share"],
                100 * means["accuracy"],
                color=COLOURS[method],
                marker=MARKERS[method],
                ms=4,
                lw=1.3,
            )
        ax.set(title=f"statistics {statistics}", xlabel="synapses pruned (% of each layer)", ylim=(0, 102))
        ax.grid(color="0.9", lw=0.6)
        sns.despine(ax=ax)
    axes[0].set_ylabel("accuracy (%)")
    handles = [Line2D([], [], color=COLOURS[each], marker=MARKERS[each], ms=4, label=METHODS[each]) for each in DRAWN]
    handles += [Line2D([], [], color="0.6", lw=1, label="whole network")]
    if found[0].preset != "smoke":
        for method in DRAWN[:-1]:
            values = {share: peer_numbers("nnslicer")[f"nnslicer-pruned-{share}-{method}"] for share in (50, 55)}
            axes[0].plot(list(values), list(values.values()), "x", color=COLOURS[method], ms=8, mew=2, clip_on=False)
        handles += [Line2D([], [], color="0.3", marker="x", ls="none", ms=8, mew=2, label="the paper's, by eye")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    plt.close(drawn)
    caption = (
        "Pruned for subsets of the classes, nothing trained: accuracy on these classes over the share of every layer's "
        "synapses that goes, on average over subsets. Left with the network's statistics of batch normalisation, right "
        "with those measured again."
    )
    alt = "Two panels with a line for each way to prune: accuracy over the share of synapses pruned."
    return fragments.figure(drawn, label, caption, alt, found)
