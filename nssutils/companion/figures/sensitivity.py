"""Tornado charts: how far each reading moves the accuracy, the widest on top."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nssutils.companion import fragments
from nssutils.companion.colours import INK, LIGHT, MUTED
from nssutils.companion.figures.common import panels
from nssutils.companion.fragments import TITLES
from nssutils.companion.intervals import half_width, told_apart
from nssutils.companion.results import Result
from nssutils.companion.tables.common import names, or_nothing
from nssutils.companion.tables.sensitivity import mean_effects


@or_nothing
def sensitivity_tornado(found: list[Result], label: str) -> Figure:
    """A panel for each setting: a bar for each value of each reading, its effect on accuracy at equal compression."""
    shown = names(found)
    drawn, axes = panels(len(shown), 2, 4.0)
    for ax, name in zip(axes, shown, strict=True):
        _panel(ax, found, name)
    caption = "How far each reading moves the accuracy at equal compression; lines are 95% intervals over networks."
    widest = []
    for name in shown:
        means = mean_effects(found, name).groupby(["reading", "value"], sort=False)["effect"].mean()
        reading, value = means.abs().idxmax()
        widest.append(f"{TITLES[name]} by {reading}, {value} ({100 * means[reading, value]:+.1f} points)")
    alt = f"Moved most: {'; '.join(widest)}."
    note = (
        "On average over the metrics that a reading touches. A hollow bar cannot be told from zero: its interval "
        "includes zero, or there are fewer than three networks."
    )
    return fragments.figure(drawn, label, caption, alt, found, note)


def _panel(ax: Axes, found: list[Result], name: str) -> None:
    rows = mean_effects(found, name)
    means = rows.groupby(["reading", "value"], sort=False)["effect"].agg(["mean", half_width, told_apart])
    means = means.reindex(means["mean"].abs().sort_values().index)
    colours = np.where(means["mean"] < 0, LIGHT["contradicted"], LIGHT["reproduced"])
    labels = [f"{reading}: {value}" for reading, value in means.index]
    fills = np.where(means["told_apart"] == 0, "none", colours)
    ax.barh(labels, 100 * means["mean"], color=fills, edgecolor=colours, linewidth=1.2, height=0.6)
    ax.errorbar(
        100 * means["mean"], range(len(means)), xerr=100 * means["half_width"].fillna(0), fmt="none", ecolor=INK, lw=1
    )  # fmt: skip
    ax.axvline(0, color=MUTED, lw=0.8)
    ax.set(title=TITLES[name], xlabel="points of accuracy")
    ax.tick_params(axis="y", labelsize=9.5)
