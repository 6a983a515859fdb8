"""What makes a figure of curves answer to the reader: the points, where they are drawn, its panels, and switches.

The drawing is whole without it: the script (book/_static/touch.js) finds the data beside the SVG. Values are those of
the results, positions those of the drawing.
"""

import json
from typing import TypedDict

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nssutils.companion.fragments import METRIC_TITLES, TITLES

SELECTIONS = {"nnslicer": "NNSlicer"}
POINTS_AN_INCH = 72  # an SVG's unit


class Curve(TypedDict, total=False):
    """One curve: the id of its parts in the SVG, what it is of, and its points (at, x, y)."""

    id: str
    ax: Axes
    setting: str
    selection: str
    metric: str
    points: list[tuple[float, float, float]]


def curve(ax: Axes, setting: str, selection: str, metric: str) -> Curve:
    """A curve that is yet to be drawn on `ax`."""
    name = f"curve-{setting}-{selection}-{metric}"
    return Curve(id=name, ax=ax, setting=setting, selection=selection, metric=metric, points=[])


def html(drawn: Figure, curves: list[Curve]) -> str:
    """The data as a script element that is no script. Afterwards the drawing's margins are as they are."""
    drawn.fixed = True  # colours.svg cuts no margin: positions would be others
    drawn.set_dpi(POINTS_AN_INCH)
    drawn.draw_without_rendering()  # lays it out: a bare figure's canvas.draw() does nothing
    drawn.set_layout_engine("none")  # once: saved, it would be laid out anew, up to two points elsewhere
    height = drawn.get_figheight() * POINTS_AN_INCH
    content = []
    for one in curves:
        places = one["ax"].transData.transform([(x, y) for _, x, y in one["points"]])
        content.append(
            {
                "id": one["id"],
                "setting": TITLES[one["setting"]],
                "selection": SELECTIONS.get(one["selection"], one["selection"]),
                "metric": METRIC_TITLES.get(one["metric"], ""),
                "points": [
                    [round(left, 1), round(height - up, 1), at, round(x, 4), round(y, 4)]
                    for (at, x, y), (left, up) in zip(one["points"], places, strict=True)
                ],
            }
        )
    panels = {TITLES[one["setting"]]: _box(one["ax"], height) for one in curves}
    text = json.dumps({"curves": content, "panels": panels}, separators=(",", ":")).replace("</", "<\\/")
    return f'<script type="application/json" class="touch">{text}</script>'


def _box(ax: Axes, height: float) -> list[float]:
    """What a panel takes of the drawing, title and labels included: left, top, width, height, as an SVG's viewBox."""
    box = ax.get_tightbbox().padded(POINTS_AN_INCH / 12)
    return [round(value, 1) for value in (box.x0, height - box.y1, box.width, box.height)]
