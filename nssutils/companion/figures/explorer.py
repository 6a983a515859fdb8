"""A slice to explore: which neurons of a layer each class needs at a theta, and how much two classes share.

A study kept, for each class and neuron, the theta at which the neuron enters (studies/explorer.py). Drawn here is one
layer at one theta, whole without a script; book/_static/explorer.js draws the same from the same letters as the
reader moves the slider.
"""

import json
from collections.abc import Sequence

from nssutils.companion import fragments
from nssutils.companion.colours import LIGHT
from nssutils.companion.fragments import METRIC_TITLES, TITLES
from nssutils.companion.results import Result
from nssutils.companion.tables.common import or_nothing
from nssutils.studies.explorer import NEVER

SHOWN = 0.95  # the theta of the picture that needs no script
LEFT, TOP, WIDTH, ROW = 62, 6, 610, 20  # of the field of neurons, in the drawing's units


@or_nothing
def explorer(found: list[Result], label: str) -> object:
    """The first network of each setting; the last layer of the first is drawn, the others are a choice away."""
    first = {one.setting: one for one in reversed(found) if one.tables.get("entries")}
    if not first:
        return fragments.nothing(label, "No slice to explore: no result at hand says which neurons it has.")
    networks = [first[name] for name in dict.fromkeys(one.setting for one in found) if name in first]
    content = [_network(one) for one in networks]
    level, layer, theta, within = _shown(content[0])
    title, critical = content[0]["title"], [sum(row) for row in within]
    caption = f"{layer['name'].capitalize()} of {title}: the neurons that each class needs at theta {theta:g}."
    alt = (
        f"A row for each class, a column for each neuron of {layer['name']}: at theta {theta:g} a class needs "
        f"{min(critical)} to {max(critical)} of {len(within[0])} neurons. Two classes share {_mean(within)}% of theirs."
    )
    metric = METRIC_TITLES[networks[0].readings.get("metric", "deeplift")]
    note = (
        f"By {metric}. Columns are sorted at this theta: on the left the neurons that most classes need, then those of "
        "single classes, on the right those that none needs. The darker, the lower the theta at which a class needs "
        "the neuron. The overlap of two classes is the Jaccard index: the neurons that both need, as a share of those "
        "that either needs."
    )
    data = json.dumps({"shown": level, "networks": content}, separators=(",", ":")).replace("</", "<\\/")
    touch = f'<script type="application/json" class="explorer">{data}</script>\n{_overlap(within)}'
    return fragments.figure(_drawn(layer["entries"], level), label, caption, alt, networks, note, touch)


def shared(one: Result) -> str:
    """In words, how a network's classes share the neurons of what is drawn first."""
    _, layer, theta, within = _shown(_network(one))
    needed = [sum(classes) for classes in zip(*within, strict=True)]
    alone, every, none = (100 * needed.count(n) / len(needed) for n in (1, len(within), 0))
    return (
        f"At theta {theta:g}, of the neurons of {layer['name']} {alone:.0f}% are needed by one class alone, "
        f"{every:.0f}% by every class, {none:.0f}% by none. Two classes share {_mean(within)}% of theirs."
    )


def _shown(network: dict) -> tuple[int, dict, float, list[list[bool]]]:
    """What is drawn first of a network: the number of the theta, the layer, the theta, and what each class needs."""
    slices, layer = network["slices"], network["layers"][-1]
    level = next((at for at, one in enumerate(slices) if one["theta"] == SHOWN), len(slices) // 2)
    return level, layer, slices[level]["theta"], _within(layer["entries"], level)


def jaccard(first: Sequence[bool], second: Sequence[bool]) -> int:
    """What two sets of neurons share, in percent of what either has, rounded half up as the script does."""
    both, either = (sum(map(how, zip(first, second, strict=True))) for how in (all, any))
    return int(100 * both / either + 0.5) if either else 100


def _network(one: Result) -> dict:
    """What the script needs of a network: its slices, and for each layer a text of letters a class."""
    layers: dict[str, list[str]] = {}
    for row in one.tables["entries"]:
        layers.setdefault(row["layer"], []).append(row["entry"])
    slices = [
        {"theta": row["theta"], "left_out": f"{100 * row['compression_rate']:.2f}%"}
        | {"accuracy": f"{100 * row['accuracy']:.2f}%"}
        for row in one.tables["slices"]
    ]
    return {
        "title": TITLES[one.setting], "slices": slices,
        "layers": [{"name": f"layer {at}", "entries": texts} for at, texts in enumerate(layers.values(), start=1)],
    }  # fmt: skip


def _within(entries: list[str], level: int) -> list[list[bool]]:
    """For each class and neuron, whether it is in the slice at the theta of number `level`."""
    return [[letter != NEVER and int(letter) <= level for letter in row] for row in entries]


def _order(entries: list[str], level: int) -> list[int]:
    """The neurons as they are drawn: those that most classes need first, and those of one class together."""

    def key(n: int) -> str:
        needed = "".join("0" if within[n] else "1" for within in _within(entries, level))
        late = sum(10 if row[n] == NEVER else int(row[n]) for row in entries)
        return f"{needed.count('1'):03}{needed}{late:05}"

    return sorted(range(len(entries[0])), key=key)


def _drawn(entries: list[str], level: int) -> str:
    """The picture as SVG: a path for each theta, those above the chosen one not displayed."""
    order, width = _order(entries, level), len(entries[0])
    paths = []
    for at in range(10):
        cells = "".join(
            f"M{x} {y}h1v.9h-1z" for y, row in enumerate(entries) for x, n in enumerate(order) if row[n] == str(at)
        )
        hidden = ' style="display:none"' if at > level else ""
        paths.append(f'<path opacity="{1 - 0.07 * at:.2f}" d="{cells}"{hidden}/>')
    texts = []
    for y, row in enumerate(_within(entries, level)):
        middle = TOP + ROW * (y + 0.5) + 3
        texts.append(f'<text x="{LEFT - 8}" y="{middle:g}" text-anchor="end">class {y}</text>')
        texts.append(f'<text class="needed" x="{LEFT + WIDTH + 8}" y="{middle:g}">{sum(row)} of {width}</text>')
    height = TOP + ROW * len(entries)
    return (
        f'<svg viewBox="0 0 {LEFT + WIDTH + 78} {height + 22}" xmlns="http://www.w3.org/2000/svg" font-size="11.5">\n'
        f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH}" height="{height - TOP}" fill="none" '
        f'stroke="var(--figure-line, {LIGHT["line"]})"/>\n'
        f'<g class="field" transform="translate({LEFT} {TOP}) scale({WIDTH / width:.6f} {ROW})" '
        f'fill="var(--figure-semantic, {LIGHT["semantic"]})" shape-rendering="crispEdges">{"".join(paths)}</g>\n'
        f"{''.join(texts)}\n"
        f'<text x="{LEFT}" y="{height + 15}">needed by most classes</text>'
        f'<text x="{LEFT + WIDTH}" y="{height + 15}" text-anchor="end">needed by none</text>\n</svg>'
    )


def _overlap(within: list[list[bool]]) -> str:
    """The overlap of every two classes as a table."""
    head = "".join(f'<th scope="col">{c}</th>' for c in range(len(within)))
    rows = "\n".join(
        f'<tr><th scope="row">class {c}</th>'
        + "".join(f'<td style="--share: {share}%">{share}</td>' for share in (jaccard(row, other) for other in within))
        + "</tr>"
        for c, row in enumerate(within)
    )
    return (
        '<div class="grid dense overlap" tabindex="0"><table class="table">'
        "<caption>Overlap of two classes, in percent</caption>\n"
        f'<thead><tr><th scope="col">with class</th>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
    )


def _mean(within: list[list[bool]]) -> int:
    pairs = [jaccard(row, other) for at, row in enumerate(within) for other in within[:at]]
    return round(sum(pairs) / len(pairs))
