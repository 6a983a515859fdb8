"""The pilot studies' charts: accuracy over the bands that are masked, on average and on single classes."""

from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nssutils.companion import fragments, results
from nssutils.companion.colours import INK, LIGHT, MUTED
from nssutils.companion.figures.common import entitled, listed, panels, short
from nssutils.companion.fragments import METRIC_TITLES, TITLES, paper_table
from nssutils.companion.results import Result
from nssutils.companion.tables.common import groups, metrics_in, names, or_nothing
from nssutils.companion.tables.pilot import class_means, counted_falls, is_the_papers


@or_nothing
def pilot_slopes(found: list[Result], label: str) -> Figure:
    """A right ranking rises in every panel; steps that fall are drawn thick."""
    classwise = found[0].chapter == "pilot_categorywise"
    colour = LIGHT["category-wise" if classwise else "global"]
    paper = paper_table(2 if classwise else 1)
    shown, metrics = names(found), metrics_in(found, "masking")
    drawn, axes = panels(len(shown) * len(metrics), len(metrics), 1.45, sharex=True, sharey="row")
    falls = dict.fromkeys(shown, 0)
    for row, (name, group) in enumerate(groups(found).items()):
        whole = results.frame(group, "base").groupby("seed")["accuracy"].mean().mean()
        means = class_means(group).groupby(["metric", "band"], sort=False)["accuracy"].mean()
        for ax, metric in zip(axes[row * len(metrics) :], metrics, strict=False):
            known = is_the_papers(group) and metric in set(paper["metric"])
            theirs = paper[paper["metric"] == metric]["value"] if known else None
            _panel(ax, list(means[metric].items()), whole, colour, theirs)
            if row == 0:
                ax.set_title(METRIC_TITLES[metric], fontsize=10)
        axes[row * len(metrics)].set_ylabel(short(name, group), fontsize=8.5)
        falls[name] = sum(counted_falls(one, metric)[1] > 0 for metric in metrics for one in group) / len(group)
    axes[-(len(metrics) + 1) // 2].set_xlabel("neurons masked, from the highest-ranking tenth downwards", fontsize=9)
    handles = [
        Line2D([], [], color=colour, marker="o", ms=4, label="ours"),
        Line2D([], [], color=colour, lw=4, label="a fall"),
        Line2D([], [], color=INK, ls=":", marker="x", ms=5, label="the paper's"),
        Line2D([], [], color=MUTED, lw=1, label="nothing masked"),
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4)
    ranked = "for each class" if classwise else "over the whole dataset"
    caption = f"Accuracy (%) after masking a tenth of the neurons ranked {ranked}. A right ranking rises throughout."
    counts = listed([f"{TITLES[name]} {count:.2g}" for name, count in falls.items()])
    alt = f"Metrics, of {len(metrics)}, that fall although they should rise, on average a network: {counts}."
    note = (
        "Means over networks; a fall of the mean is drawn thick, however small. The table counts falls network by "
        "network: those beyond the sampling error of the test images, and all."
    )
    return fragments.figure(drawn, label, caption, alt, found, note)


@or_nothing
def pilot_classes(found: list[Result], label: str) -> Figure:
    """How differently classes fare, ranked for each by DeepLIFT; beside them the paper's four."""
    paper = paper_table(3).groupby("category", sort=False)["value"]
    apart, colour = [], LIGHT["category-wise"]
    drawn, axes = panels(len(names(found)), 4, 2.3, sharex=True, sharey=True)
    for ax, (name, group) in zip(axes, groups(found).items(), strict=True):
        rows = results.frame(group, "masking").query("metric == 'deeplift'")
        means = 100 * rows.groupby(["band", "category"], sort=False)["accuracy"].mean().unstack("category")
        ax.plot(range(len(means)), means.to_numpy(), color=colour, marker="o", ms=2.5, lw=0.9)
        if is_the_papers(group):
            for _, theirs in paper:
                ax.plot(range(len(theirs)), theirs, color=INK, ls=":", marker="x", ms=5, lw=1.2)
        ax.set_xticks(range(len(means)), [f"{band}%" for band in means.index], fontsize=7.5)
        ax.set_xlabel("tenth that is masked", fontsize=9)
        entitled(ax, name, group)
        widest = (means.max(axis="columns") - means.min(axis="columns")).idxmax()
        apart.append(f"{TITLES[name]} at {widest}% ({means.loc[widest].min():.0f} to {means.loc[widest].max():.0f})")
    axes[0].set_ylabel("accuracy (%)", fontsize=9)
    handles = [
        Line2D([], [], color=colour, marker="o", ms=3, lw=0.9, label="a class, ours"),
        Line2D([], [], color=INK, ls=":", marker="x", ms=5, lw=1.2, label="one of the paper's four"),
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=2)
    caption = "Accuracy (%) on each class after masking a tenth of the neurons ranked for it by DeepLIFT."
    alt = f"Where the classes lie furthest apart: {listed(apart)}."
    note = "A line is a class, its mean over networks. The paper does not say from which number it counts the classes."
    return fragments.figure(drawn, label, caption, alt, found, note)


def _panel(ax: Axes, points: list[tuple[str, float]], whole: float, colour: str, theirs) -> None:
    ys = [100 * y for _, y in points]
    ax.axhline(100 * whole, color=MUTED, lw=1)
    if theirs is not None:
        ax.plot(range(len(ys)), list(theirs), color=INK, ls=":", marker="x", ms=4, lw=1)
    ax.plot(range(len(ys)), ys, color=colour, marker="o", ms=3.5, lw=1.3)
    for x, (first, second) in enumerate(pairwise(ys)):
        if second < first:
            ax.plot([x, x + 1], [first, second], color=colour, lw=4, solid_capstyle="butt")
    ax.set_xticks([0, len(ys) - 1], [f"{points[0][0]}%", f"{points[-1][0]}%"], fontsize=8)
    ax.tick_params(axis="y", labelsize=8)
    ax.margins(x=0.12)
