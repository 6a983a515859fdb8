"""The method in pictures: the paper's Figures 1 to 4, drawn anew from one slice of a trained network."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nssutils.companion import fragments, results
from nssutils.companion.colours import INK, LIGHT, LINE, MUTED, SEMANTIC
from nssutils.companion.fragments import TITLES
from nssutils.companion.results import Result

SHOWN = 14  # neurons of a layer that are drawn, evenly among those there are
ENDS = {"input": 6, "output": 10}  # points that stand for the image, and the classes
# What is critical has NeuSemSlice's colour. The neurons of task B are trained, and so have the other selections'.
GREY, CRITICAL, TRAINED, OTHER = LINE, SEMANTIC, LIGHT["category-wise"], LIGHT["global"]
WHAT = {1: "slicing", 2: "restructuring", 3: "re-adaptation", 4: "incremental development"}


def method_figure(found: list[Result], label: str, number: int) -> Figure | object:
    """The paper's Fig. `number` (1 to 4) from the first network's slice; every circle is one of its neurons."""
    if not found:
        return fragments.nothing(label, "No slice to draw from: none is published, or this book computed none.")
    one = found[0]
    rows = results.frame([one], "neurons")
    share = 100 * rows["critical"].mean()
    texts = {
        1: "Semantic slicing: contributions to one class, the neurons critical for it, those critical for any class.",
        2: "Restructuring: what is not critical goes, and a smaller network is left.",
        3: "Re-adaptation: only the critical neurons are trained.",
        4: "Incremental development: what is critical for task A is frozen, the rest learns task B.",
    }
    note = (
        f"The paper's Fig. {number} on a real slice of {TITLES[one.setting]}, {share:.0f}% of its neurons, by "
        f"DeepLIFT; of each layer {SHOWN} neurons are drawn, taken evenly, and a sample of the connections."
    )
    alt = (
        f"A network drawn as columns of circles, coloured by their part in {WHAT[number]}: {share:.0f}% of its neurons "
        "are critical."
    )
    return fragments.figure(draw_method(rows, number), label, texts[number], alt, [one], note)


def draw_method(rows: pd.DataFrame, number: int) -> Figure:
    """The drawing of `method_figure`, without its caption."""
    drawn_rows = _sampled(rows)
    shades = [to_rgba(CRITICAL, 0.1 + 0.9 * value**0.5) for value in drawn_rows["contribution"]]
    critical, task_a, first = (drawn_rows[name].to_numpy(bool) for name in ("critical", "task_a", "first"))
    panels = {
        1: [("contributions", shades, None), ("critical for the class", _two(first, CRITICAL), None),
            ("critical for any class", _two(critical, CRITICAL), None)],
        2: [("the whole network", _two(critical, CRITICAL), None),
            ("restructured", _two(critical, CRITICAL), critical)],
        3: [("critical neurons", _two(critical, CRITICAL), None), ("trained", _two(critical, TRAINED), None)],
        4: [("critical for task A", _two(task_a, CRITICAL), None),
            ("task B: frozen, trained", np.where(task_a, CRITICAL, OTHER), None)],
    }[number]  # fmt: skip
    figure, axes = plt.subplots(1, len(panels), figsize=(3.3 * len(panels), 3.4), layout="constrained")
    for ax, (title, colours, kept) in zip(axes, panels, strict=True):
        _network(ax, drawn_rows, colours, kept)
        ax.set_title(title, fontsize=10)
    names = {
        1: [(CRITICAL, "critical")], 2: [(CRITICAL, "critical: kept"), (GREY, "removed")],
        3: [(TRAINED, "critical: trained"), (GREY, "unchanged")],
        4: [(CRITICAL, "critical: frozen"), (OTHER, "trained")],
    }[number]  # fmt: skip
    handles = [Line2D([], [], marker="o", ls="none", color=colour, label=name) for colour, name in names]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    plt.close(figure)
    return figure


def _two(mask: np.ndarray, colour: str) -> np.ndarray:
    return np.where(mask, colour, GREY)


def _sampled(rows: pd.DataFrame) -> pd.DataFrame:
    """SHOWN neurons of each layer, evenly among those there are."""
    parts = []
    for _, layer in rows.groupby("layer", sort=False):
        chosen = np.linspace(0, len(layer) - 1, min(SHOWN, len(layer))).round().astype(int)
        parts.append(layer.iloc[chosen])
    return pd.concat(parts, ignore_index=True)


def _network(ax: Axes, rows: pd.DataFrame, colours, kept: np.ndarray | None) -> None:
    """Columns of circles, input to output, with a line for every third connection; where `kept` is given, only those
    neurons and their connections."""
    ax.axis("off")
    layers = list(rows["layer"].unique())
    columns = [np.linspace(0.25, 0.75, ENDS["input"])]
    shown = np.ones(len(rows), bool) if kept is None else kept
    members = []
    for layer in layers:
        at = np.flatnonzero((rows["layer"] == layer).to_numpy())
        ys = np.linspace(0, 1, len(at))
        columns.append(ys[shown[at]])
        members.append((at[shown[at]], ys[shown[at]]))
    columns.append(np.linspace(0.1, 0.9, ENDS["output"]))
    for x, (left, right) in enumerate(pairwise(columns)):
        pairs = [(a, b) for a in left for b in right][::3]
        ends = [end for a, b in pairs for end in ((x, a), (x + 1, b), (np.nan, np.nan))]  # one path, broken
        ax.plot(*zip(*ends, strict=True), color=LINE, lw=0.5, zorder=1)
    for x, (at, ys) in enumerate(members, start=1):
        ax.scatter(
            np.full(len(at), x), ys, c=[colours[i] for i in at], s=62, edgecolors=MUTED, linewidths=0.5, zorder=2
        )
    for x, ys in ((0, columns[0]), (len(columns) - 1, columns[-1])):
        ax.scatter(np.full(len(ys), x), ys, c="none", s=30, edgecolors=MUTED, linewidths=0.7, zorder=2)
    texts = ["image", *(f"layer {i + 1}" for i in range(len(layers))), "classes"]
    for x, text in enumerate(texts):
        ax.text(x, -0.1, text, ha="center", va="top", fontsize=8, color=INK)
    ax.set(xlim=(-0.4, len(columns) - 0.6), ylim=(-0.16, 1.06))
