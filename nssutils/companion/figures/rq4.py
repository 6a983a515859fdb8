"""RQ4's figure: what is kept of task A over what is learned of task B, by who is told which task is asked for."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nssutils.companion import fragments, results
from nssutils.companion.colours import INK, LIGHT, MUTED, SEMANTIC
from nssutils.companion.figures.common import COLUMNS, counted, entitled, keyed, labelled, panels
from nssutils.companion.fragments import TITLES
from nssutils.companion.results import Result
from nssutils.companion.tables.common import names, or_nothing
from nssutils.companion.tables.rq4 import METHOD_TITLES, nearer

STYLES = {
    "retrain": (INK, "v"), "replay5": (MUTED, "s"), "replay10": (MUTED, "p"), "replay100": (INK, "s"),
    "deeparc": (LIGHT["deeparc"], "^"), "nss": (SEMANTIC, "o"), "nss+replay10": (SEMANTIC, "D"),
    "random": (LIGHT["global"], "X"),
}  # fmt: skip


@or_nothing
def rq4_tasks(found: list[Result], label: str) -> Figure:
    """A panel for each setting: a marker where every method is told the task, a line to where it lands untold."""
    rows, shown = results.frame(found, "methods"), names(found)
    drawn, axes = panels(len(shown), COLUMNS, 2.9, sharex=True, sharey=True)
    told, untold = [], []
    for ax, name in zip(axes, shown, strict=True):
        mine = rows[(rows["setting"] == name) & (rows["task_a"] == nearer(found, name))]
        means = mine.groupby("method")[["a_told", "b_told", "a_untold", "b_untold"]].mean() * 100
        entitled(ax, name, [result for result in found if result.setting == name])
        for method, (colour, marker) in STYLES.items():
            if method in means.index:
                _path(ax, means.loc[method], colour, marker)
        ax.set(xlim=(-4, 104), ylim=(-4, 104))
        ax.grid()
        replays = means.loc[[each for each in means.index if each in ("replay5", "replay10")]]
        for known, ahead in (("told", told), ("untold", untold)):
            average = means[[f"a_{known}", f"b_{known}"]].mean(axis=1)
            if average["nss"] > average[replays.index].max():
                ahead.append(TITLES[name])
    labelled(axes, "task B (%)", "task A (%)")
    handles = keyed(STYLES, METHOD_TITLES)
    handles += [Line2D([], [], color=INK, lw=1, marker=".", label="where it lands untold")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8.5)
    caption = "Task A over task B after learning task B: markers where the task is told, lines to where it is not."
    ahead = "NeuSemSlice is ahead of Replay 5% and 10% on average over both tasks"
    alt = f"{counted(f'All told the task, {ahead}', told, shown)} {counted('None told, it is', untold, shown)}"
    return fragments.figure(drawn, label, caption, alt, found, "Means over networks. Up and to the right is good.")


def _path(ax: Axes, one, colour: str, marker: str) -> None:
    ax.plot([one["b_told"], one["b_untold"]], [one["a_told"], one["a_untold"]], color=colour, lw=1, marker=".", ms=5)
    ax.plot(one["b_told"], one["a_told"], marker, color=colour, ms=7, clip_on=False)
