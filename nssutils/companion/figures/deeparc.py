"""DeepArc's figure: how alike consecutive blocks are, from the first to the last."""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nssutils.companion import fragments, results
from nssutils.companion.fragments import TITLES
from nssutils.companion.results import Result
from nssutils.companion.tables.common import names, or_nothing

COLUMNS = 2
STYLES = dict(zip(("biased", "debiased"), (("o", "--"), ("s", "-")), strict=True))
COLOURS = dict(zip(STYLES, sns.color_palette("colorblind", len(STYLES)), strict=True))


@or_nothing
def deeparc_similarities(found: list[Result], label: str) -> Figure:
    """A panel for each network: both kinds of CKA of each block with the one before, over depth."""
    shown = names(found)
    rows = -(-len(shown) // COLUMNS)
    drawn, axes = plt.subplots(
        rows, COLUMNS, figsize=(9.6, 2.9 * rows + 0.6), sharey=True, layout="constrained", squeeze=False
    )
    for ax, name in zip(axes.flat, shown, strict=False):
        _panel(ax, name, [result for result in found if result.setting == name])
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel("CKA with the block before")
    handles = [
        Line2D([], [], color=COLOURS[kind], marker=marker, ls=line, ms=4, label=f"{kind} CKA")
        for kind, (marker, line) in STYLES.items()
    ]
    handles += [Line2D([], [], color="0.6", lw=1, ls=":", label="thresholds")]
    handles += [Line2D([], [], color="0.9", lw=5, label="shape changes")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    plt.close(drawn)
    caption = (
        "How alike each block's output is to that of the block before, on test images: a block above the threshold "
        "joins its predecessor's module. Means over seeds; from three on, bars are the 95% interval."
    )
    alt = "For each network a panel with two lines, biased and debiased CKA of consecutive blocks, from first to last."
    return fragments.figure(drawn, label, caption, alt, found)


def _panel(ax: Axes, name: str, group: list[Result]) -> None:
    rows, shares = results.frame(group, "similarities"), results.frame(group, "modularity")
    ax.set_title(f"{TITLES[name]} (preset {group[0].preset}, n = {len(group)})", fontsize=11)
    ax.set_xlabel("block")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(color="0.95", lw=0.6)
    sns.despine(ax=ax)
    for block in rows[rows["unit"].str.fullmatch(r"layer[2-9]\.0")]["block"].unique():
        ax.axvspan(block - 0.5, block + 0.5, color="0.9", lw=0, zorder=0)
    for threshold in shares["threshold"].unique():
        ax.axhline(threshold, color="0.6", lw=1, ls=":", zorder=1)
    for kind, (marker, line) in STYLES.items():
        mean = results.aggregate(rows[rows["kind"] == kind], ["block"], "cka")
        ax.errorbar(
            mean["block"], mean["mean"], yerr=mean["half"] if mean["n"].max() > 2 else None,
            color=COLOURS[kind], marker=marker, ls=line, ms=3, lw=1.1, elinewidth=0.7, alpha=0.9,
        )  # fmt: skip
