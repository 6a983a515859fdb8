"""Accuracy over compression on networks that the paper does not have."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nssutils.companion import fragments, results
from nssutils.companion.colours import INK, LIGHT, MUTED
from nssutils.companion.figures import touch
from nssutils.companion.figures.common import METRIC_MARKERS, entitled, panels
from nssutils.companion.figures.rq1 import LINES, leading, plot_curve
from nssutils.companion.fragments import METRIC_TITLES
from nssutils.companion.results import Result
from nssutils.companion.tables.common import names, or_nothing


@or_nothing
def your_curves(found: list[Result], label: str) -> Figure:
    """A panel a network, with the lines of Fig. 5."""
    shown, curves = names(found), []
    drawn, axes = panels(len(shown), len(shown), 3.4, sharey=True)
    for ax, name in zip(axes, shown, strict=True):
        group = [one for one in found if one.setting == name]
        points = results.frame(group, "points")
        entitled(ax, name, group)
        ax.axhline(100 * results.frame(group, "base")["accuracy"].mean(), color=MUTED, lw=1)
        for (method, metric), rows in points.groupby(["method", "metric"], sort=False):
            curve = touch.curve(ax, setting=name, selection=method, metric=metric)
            style = dict(color=LIGHT[method], ls=LINES[method], marker=METRIC_MARKERS[metric])
            plot_curve(ax, rows, curve, **style, lw=1.5 if method == "semantic" else 1)
            curves.append(curve)
        ax.set(xlabel="compression rate (%)", xlim=(0, 100), ylim=(0, 102))
        ax.grid()
    axes[0].set_ylabel("accuracy (%)")
    handles = [Line2D([], [], color=LIGHT[method], ls=line, label=method) for method, line in LINES.items()]
    handles += [
        Line2D([], [], color=INK, ls="none", marker=METRIC_MARKERS[metric], ms=5, label=METRIC_TITLES[metric])
        for metric in dict.fromkeys(results.frame(found, "points")["metric"])
    ]
    handles += [Line2D([], [], color=MUTED, lw=1, label="whole network")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    caption = "Accuracy with only the slice active over the share of parameters left out, beyond the paper."
    note = "Semantic slicing at theta 0.90 to 0.99, the others at the top 10% to 100%. Means over networks."
    return fragments.figure(drawn, label, caption, leading(found), found, note, touch.html(drawn, curves))
