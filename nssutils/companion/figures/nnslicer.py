"""NNSlicer's Fig. 3 drawn anew: accuracy on subsets of classes over the share of synapses pruned."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nssutils.companion import fragments, results
from nssutils.companion.colours import INK, LIGHT, MUTED
from nssutils.companion.figures.common import panels
from nssutils.companion.fragments import peer_numbers
from nssutils.companion.results import Result
from nssutils.companion.tables.common import or_nothing
from nssutils.companion.tables.nnslicer_applications import METHODS, PRINTED_FOR, numbered

DRAWN = ("nnslicer", "all classes", "weight", "channel", "semantic")
COLOURS = dict(zip(DRAWN, (LIGHT["nnslicer"], LIGHT["nnslicer"], INK, MUTED, LIGHT["semantic"]), strict=True))
MARKERS = dict(zip(DRAWN, "osd^v", strict=True))
PRINTED = dict(ms=9, mew=1.6, markerfacecolor="none", clip_on=False)  # the paper's values: a method's marker, hollow
LINES = dict(zip(DRAWN, ("-", "--", "-", "-", "-"), strict=True))


@or_nothing
def nnslicer_fig3(found: list[Result], label: str) -> Figure:
    """Two panels, by the statistics of batch normalisation: a line for each method; the paper's values as its marker,
    hollow."""
    rows = numbered(found)
    drawn, axes = panels(2, 2, 3.4, sharey=True)
    whole = 100 * results.frame(found, "whole")["accuracy"].mean()
    best = []
    for ax, statistics in zip(axes, ("kept", "measured again"), strict=True):
        ax.axhline(whole, color=MUTED, lw=1)
        half = {}
        for method in DRAWN:
            mine = rows[(rows["statistics"] == statistics) & (rows["method"] == method)]
            means = mine.groupby("at")[["share", "accuracy"]].mean().sort_values("share")
            ax.plot(
                100 * means["share"],
                100 * means["accuracy"],
                color=COLOURS[method],
                marker=MARKERS[method],
                ls=LINES[method],
                ms=4,
                lw=1.3,
            )
            half[method] = np.interp(0.5, means["share"], means["accuracy"], left=0, right=0)
        best.append(f"statistics {statistics}: {METHODS[max(half, key=half.get)]}")
        ax.set(title=f"statistics {statistics}", xlabel="synapses pruned (%)", ylim=(0, 102))
        ax.grid()
    axes[0].set_ylabel("accuracy (%)")
    handles = [
        Line2D([], [], color=COLOURS[each], marker=MARKERS[each], ls=LINES[each], ms=4, label=METHODS[each])
        for each in DRAWN
    ]
    handles += [Line2D([], [], color=MUTED, lw=1, label="whole network")]
    if found[0].preset != "smoke" and {one.setting for one in found} == {PRINTED_FOR}:
        for method in DRAWN[:-1]:
            values = {share: peer_numbers("nnslicer")[f"nnslicer-pruned-{share}-{method}"] for share in (50, 55)}
            axes[0].plot(list(values), list(values.values()), MARKERS[method], color=COLOURS[method], **PRINTED)
        handles += [Line2D([], [], color=INK, marker="o", ls="none", **PRINTED, label="the paper's, by eye")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4)
    caption = "Pruned for subsets of the classes, nothing trained: accuracy over the share of synapses that goes."
    note = (
        "Accuracy on these classes, on average over subsets. The same share of every layer goes; a semantic slice has "
        "its own size in each. Left with the network's statistics of batch normalisation, right with those measured "
        "again."
    )
    alt = f"With half of the synapses pruned the most accuracy is left by, {'; '.join(best)}."
    return fragments.figure(drawn, label, caption, alt, found, note)
