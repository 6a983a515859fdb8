"""One colour a method, over the whole book, light and dark; and drawings that follow the page's theme.

A drawing is made in the light colours. In its SVG each becomes a CSS variable with that colour to fall back on, whose
dark value the pages' stylesheet has: `css` writes it. tests/test_colours.py simulates readers who see few colours.
"""

import re
from io import StringIO

import matplotlib
from matplotlib.figure import Figure

MARKERS = re.compile(r'(<g[^>]*)>(\s*(?:<use [^>]*style="([^"]*)"/>\s*)+)</g>')

# name: (on a light page, on a dark one)
PALETTE = {
    "ink": ("#1c2025", "#e8eaed"),  # text and axes, and methods that are the yardstick: everything trained, unsliced
    "muted": ("#8f8d9c", "#77757f"),
    "line": ("#dcdee3", "#3a3d44"),
    "semantic": ("#1a4fd0", "#427afe"),  # NeuSemSlice
    "global": ("#d17e07", "#ffb347"),
    "category-wise": ("#00955d", "#6eeda7"),
    "nnslicer": ("#8f2d8e", "#ca6ecb"),
    "deeparc": ("#a61c1c", "#e8483c"),
    "reproduced": ("#2a7f62", "#3fa583"),
    "direction": ("#b5dccd", "#2b5848"),
    "contradicted": ("#b3452c", "#e0775c"),
    "untold": ("#e4e5e9", "#3a3e46"),
    "on-verdict": ("#fefefe", "#101317"),  # a symbol on a full colour
}
METHODS = ("ink", "muted", "semantic", "global", "category-wise", "nnslicer", "deeparc")
LIGHT = {name: light for name, (light, _) in PALETTE.items()}
INK, MUTED, LINE, SEMANTIC = (LIGHT[name] for name in ("ink", "muted", "line", "semantic"))

# Reproducible SVG: no random ids; text stays text, so that it can be searched and read aloud.
matplotlib.rcParams |= {
    "svg.hashsalt": "nssutils", "svg.fonttype": "none", "font.family": "sans-serif", "savefig.transparent": True,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": MUTED, "xtick.color": INK, "ytick.color": INK,
    "axes.titlecolor": INK, "grid.color": LINE, "grid.linewidth": 0.6, "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False,
}  # fmt: skip


def css() -> str:
    """The dark values of the palette."""
    dark = "".join(f"  --figure-{name}: {dark};\n" for name, (_, dark) in PALETTE.items())
    return f'html[data-theme="dark"] {{\n{dark}}}\n'


def svg(drawn: Figure, prefix: str) -> str:
    """A drawing as SVG in the page's colours; ids begin with `prefix`, so that several can stand on one page."""
    out = StringIO()
    drawn.savefig(out, format="svg", metadata={"Date": None}, bbox_inches="tight" if _fits(drawn) else None)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"(\.\d\d)\d+", r"\1", text)  # a hundredth of a point is finer than any screen
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[A-Za-z]+[\dA-Za-z]*_\d+">', "<g>", text)
    text = re.sub(r'(\bid="|"#|url\(#)(?=\w)', rf"\1{prefix}-", text)
    text = MARKERS.sub(_styled_once, text)
    text = re.sub(r"('DejaVu Sans'), .*?(sans-serif)", r"\1, \2", text)  # of ten families, with every text, all but two
    text = re.sub(r">\s+<", "><", text)
    for name, light in LIGHT.items():
        text = text.replace(f": {light}", f": var(--figure-{name}, {light})")
    return text


def _styled_once(found: re.Match) -> str:
    """A group of markers with their style at the group, where they have it in common: half the size."""
    head, inside, style = found.groups()
    own = f' style="{style}"'
    return f"{head}{own}>{inside.replace(own, '')}</g>" if inside.count(own) == inside.count("<use ") else found[0]


def _fits(drawn: Figure) -> bool:
    """Whether a drawing's margins may be cut: not where positions in it are known from outside (figures.touch)."""
    return not getattr(drawn, "fixed", False)
