"""Accuracy over compression on networks that the paper does not have."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nssutils.companion import fragments, results
from nssutils.companion.figures.rq1 import COLOURS, STYLES, plot_curve
from nssutils.companion.fragments import METRIC_TITLES, TITLES
from nssutils.companion.results import Result
from nssutils.companion.tables.common import names, or_nothing


@or_nothing
def your_curves(found: list[Result], label: str) -> Figure:
    """A panel a network: a line for each metric and selection, as in Fig. 5."""
    present = names(found)
    drawn, axes = plt.subplots(1, len(present), figsize=(4.8 * len(present), 3.9), layout="constrained", sharey=True)
    for ax, name in zip(np.atleast_1d(axes), present, strict=True):
        group = [one for one in found if one.setting == name]
        points = results.frame(group, "points")
        ax.axhline(100 * results.frame(group, "base")["accuracy"].mean(), color="0.6", lw=1)
        for (method, metric), curve in points.groupby(["method", "metric"], sort=False):
            style, marker = STYLES[method]
            plot_curve(ax, curve, COLOURS[metric], ls=style, marker=marker, lw=1.4 if method == "semantic" else 1)
        ax.set(title=TITLES[name], xlabel="compression rate (%)", xlim=(0, 100), ylim=(0, 102))
        ax.grid(color="0.9", lw=0.6)
        sns.despine(ax=ax)
    np.atleast_1d(axes)[0].set_ylabel("accuracy (%)")
    shown = list(dict.fromkeys(results.frame(found, "points")["metric"]))
    handles = [Line2D([], [], color=COLOURS[metric], label=METRIC_TITLES[metric]) for metric in shown]
    handles += [Line2D([], [], color="0.3", ls=ls, marker=mk, ms=4, label=m) for m, (ls, mk) in STYLES.items()]
    handles += [Line2D([], [], color="0.6", lw=1, label="whole network")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    plt.close(drawn)
    caption = (
        "Accuracy with only the slice active over the share of parameters left out, on networks that the paper lacks."
    )
    alt = "A panel for each network: accuracy against compression rate for three selections and two metrics."
    return fragments.figure(drawn, label, caption, alt, found)
