"""What the figures of several chapters share."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nssutils.companion.colours import MUTED
from nssutils.companion.fragments import METRIC_TITLES, TITLES
from nssutils.companion.results import Result

WIDTH = 9.6
COLUMNS = 3  # of a grid with a panel for each setting
METRIC_MARKERS = dict(zip(METRIC_TITLES, "os^DvPX*", strict=False))


def panels(count: int, columns: int, height: float, **more) -> tuple[Figure, list[Axes]]:
    """A grid of panels, those that are not needed left empty."""
    rows = -(-count // columns)
    drawn, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, height * rows + 0.5), layout="constrained", squeeze=False, **more
    )
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    plt.close(drawn)  # else a notebook shows it twice
    return drawn, list(axes.flat[:count])


def labelled(axes: list[Axes], x: str, y: str) -> None:
    """What the axes of a grid's panels are: told once a row, and below the lowest of each column."""
    for ax in axes[::COLUMNS]:
        ax.set_ylabel(y)
    for ax in axes[-COLUMNS:]:
        ax.set_xlabel(x)


def entitled(ax: Axes, name: str, group: list[Result]) -> None:
    """A panel's title: the setting, and how large its experiment was."""
    ax.set_title(f"{TITLES[name]}\n", fontsize=10, loc="left")
    scale = f"{group[0].preset}, n = {len(group)}" if group else ""
    ax.text(0, 1.03, scale, transform=ax.transAxes, fontsize=8.5, color=MUTED)


def keyed(styles: dict[str, tuple[str, str]], titles: dict[str, str]) -> list[Line2D]:
    """A legend's entries for methods that are markers: styles has a colour and a marker for each."""
    return [
        Line2D([], [], color=colour, marker=marker, ls="none", ms=7, label=titles[name])
        for name, (colour, marker) in styles.items()
    ]


def listed(texts: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else "".join(texts)


def counted(statement: str, which: list[str], shown: list[str]) -> str:
    """A finding for an alt text: in which of the settings shown a statement holds by the means."""
    return f"{statement} in {len(which)} of {len(shown)} settings{': ' * bool(which)}{listed(which)}."


def short(name: str, group: list[Result]) -> str:
    """A row's label: the network, and how large its experiment was."""
    network = TITLES[name].removesuffix("-CIFAR10").removesuffix("-ImageNet10")
    return f"{network}\n{group[0].preset}, n = {len(group)}"
