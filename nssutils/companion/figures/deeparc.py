"""DeepArc's figure: how alike consecutive blocks are, from the first to the last."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nssutils.companion import fragments, results
from nssutils.companion.colours import LIGHT, LINE, MUTED
from nssutils.companion.figures.common import entitled, panels
from nssutils.companion.fragments import TITLES
from nssutils.companion.results import Result
from nssutils.companion.tables.common import names, or_nothing

COLUMNS = 2
STYLES = {"biased": (MUTED, "o", "--"), "debiased": (LIGHT["deeparc"], "s", "-")}


@or_nothing
def deeparc_similarities(found: list[Result], label: str) -> Figure:
    """A panel for each network: both kinds of CKA of each block with the one before, over depth."""
    shown = names(found)
    drawn, axes = panels(len(shown), COLUMNS, 2.9, sharey=True)
    for ax, name in zip(axes, shown, strict=True):
        _panel(ax, name, [result for result in found if result.setting == name])
    for ax in axes[::COLUMNS]:
        ax.set_ylabel("CKA with the block before")
    handles = [
        Line2D([], [], color=colour, marker=marker, ls=line, ms=4, label=f"{kind} CKA")
        for kind, (colour, marker, line) in STYLES.items()
    ]
    handles += [Line2D([], [], color=MUTED, lw=1, ls=":", label="thresholds")]
    handles += [Line2D([], [], color=LINE, lw=5, label="shape changes")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4)
    caption = "How alike each block's output is to that of the block before, on test images."
    note = (
        "A block above the threshold joins its predecessor's module. Means over networks; from three on, bars are the "
        "95% interval."
    )
    rows = results.frame(found, "similarities").query("kind == 'debiased'")
    medians = rows.groupby("setting", sort=False)["cka"].median()
    alike = ", ".join(f"{TITLES[name]} {median:.3f}" for name, median in medians.items())
    alt = f"The median of debiased CKA over consecutive blocks: {alike}."
    return fragments.figure(drawn, label, caption, alt, found, note)


def _panel(ax: Axes, name: str, group: list[Result]) -> None:
    rows, shares = results.frame(group, "similarities"), results.frame(group, "modularity")
    entitled(ax, name, group)
    ax.set_xlabel("block")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid()
    for block in rows[rows["unit"].str.fullmatch(r"layer[2-9]\.0")]["block"].unique():
        ax.axvspan(block - 0.5, block + 0.5, color=LINE, lw=0, zorder=0)
    for threshold in shares["threshold"].unique():
        ax.axhline(threshold, color=MUTED, lw=1, ls=":", zorder=1)
    for kind, (colour, marker, line) in STYLES.items():
        mean = results.aggregate(rows[rows["kind"] == kind], ["block"], "cka")
        ax.errorbar(
            mean["block"], mean["mean"], yerr=mean["half"] if mean["n"].max() > 2 else None,
            color=colour, marker=marker, ls=line, ms=3, lw=1.1, elinewidth=0.7, alpha=0.9,
        )  # fmt: skip
