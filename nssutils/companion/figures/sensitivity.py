"""Tornado charts: how far each reading moves the accuracy, the widest on top."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nssutils.companion import fragments
from nssutils.companion.colours import INK, LIGHT, MUTED
from nssutils.companion.fragments import TITLES
from nssutils.companion.intervals import half_width
from nssutils.companion.results import Result
from nssutils.companion.tables.common import names, or_nothing
from nssutils.companion.tables.sensitivity import mean_effects


@or_nothing
def sensitivity_tornado(found: list[Result], label: str) -> Figure:
    """A panel for each setting: a bar for each value of each reading, its effect on accuracy at equal compression."""
    shown = names(found)
    drawn, axes = plt.subplots(1, len(shown), figsize=(4.6 * len(shown), 4.4), layout="constrained", squeeze=False)
    for ax, name in zip(axes.flat, shown, strict=True):
        _panel(ax, found, name)
    plt.close(drawn)
    caption = "How far each reading moves the accuracy at equal compression; lines are 95% intervals over networks."
    widest = []
    for name in shown:
        means = mean_effects(found, name).groupby(["reading", "value"], sort=False)["effect"].mean()
        reading, value = means.abs().idxmax()
        widest.append(f"{TITLES[name]} by {reading}, {value} ({100 * means[reading, value]:+.1f} points)")
    alt = f"Moved most: {'; '.join(widest)}."
    return fragments.figure(drawn, label, caption, alt, found, "On average over the metrics that a reading touches.")


def _panel(ax: Axes, found: list[Result], name: str) -> None:
    rows = mean_effects(found, name)
    means = rows.groupby(["reading", "value"], sort=False)["effect"].agg(["mean", half_width])
    means = means.reindex(means["mean"].abs().sort_values().index)
    colours = np.where(means["mean"] < 0, LIGHT["contradicted"], LIGHT["reproduced"])
    ax.barh([f"{reading}: {value}" for reading, value in means.index], 100 * means["mean"], color=colours, height=0.6)
    ax.errorbar(
        100 * means["mean"], range(len(means)), xerr=100 * means["half_width"].fillna(0), fmt="none", ecolor=INK, lw=1
    )  # fmt: skip
    ax.axvline(0, color=MUTED, lw=0.8)
    ax.set(title=TITLES[name], xlabel="points of accuracy")
    ax.tick_params(axis="y", labelsize=8)
