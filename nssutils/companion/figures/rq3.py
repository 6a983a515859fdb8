"""RQ3's figure: what a repair reaches over the share of the parameters that it trains."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nssutils.companion import fragments, results
from nssutils.companion.colours import INK, LIGHT, LINE, SEMANTIC
from nssutils.companion.figures.common import COLUMNS, counted, entitled, keyed, labelled, panels
from nssutils.companion.fragments import TITLES
from nssutils.companion.results import Result
from nssutils.companion.tables.common import names, or_nothing
from nssutils.companion.tables.rq3 import METHOD_TITLES

# colour, marker; NeuSemSlice + DeepArc is the one within the other's layers
STYLES = {
    "full": (INK, "s"), "deeparc": (LIGHT["deeparc"], "^"), "nss": (SEMANTIC, "o"), "nss+deeparc": (SEMANTIC, "D"),
}  # fmt: skip
MEASURES = {"ra": "on adversarials trained on (RA)", "raa": "on new ones (RAA)"}


@or_nothing
def rq3_shares(found: list[Result], label: str) -> Figure:
    """A panel for each setting: RA filled, RAA hollow, means over seeds and both attacks."""
    rows, shown = results.frame(found, "repairs"), names(found)
    drawn, axes = panels(len(shown), COLUMNS, 2.7, sharex=True, sharey=True)
    ahead = []
    for ax, name in zip(axes, shown, strict=True):
        group = [result for result in found if result.setting == name]
        means = rows[rows["setting"] == name].groupby("method")[["tpr", "ra", "raa"]].mean() * 100
        entitled(ax, name, group)
        for method, (colour, marker) in STYLES.items():
            one = means.loc[method]
            ax.plot([one["tpr"]] * 2, [one["ra"], one["raa"]], color=LINE, lw=1, zorder=1)
            ax.plot(one["tpr"], one["ra"], marker, color=colour, ms=7)
            ax.plot(one["tpr"], one["raa"], marker, color=colour, ms=7, markerfacecolor="none", mew=1.4)
        ax.set(xlim=(0, 108), ylim=(-3, 106))
        ax.grid()
        if means["ra"].idxmax() in ("nss", "nss+deeparc"):
            ahead.append(TITLES[name])
    labelled(axes, "parameters trained (%)", "accuracy (%)")
    handles = keyed(STYLES, METHOD_TITLES)
    handles += [
        Line2D([], [], color=INK, marker="o", ls="none", ms=6, label=MEASURES["ra"]),
        Line2D([], [], color=INK, marker="o", ls="none", ms=6, markerfacecolor="none", label=MEASURES["raa"]),
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=3)
    caption = "What a repair reaches over the share of the parameters that it trains: up and to the left is good."
    note = "Means over networks and both attacks. Filled: accuracy on the adversarials trained on; hollow: on new ones."
    alt = counted("RA is highest where critical neurons alone are trained", ahead, shown)
    return fragments.figure(drawn, label, caption, alt, found, note)
