"""Each chapter's figures."""

import matplotlib

from nssutils.companion.figures.method import draw_method, method_figure
from nssutils.companion.figures.nnslicer import nnslicer_curves
from nssutils.companion.figures.rq1 import draw_fig5, fig5
from nssutils.companion.figures.rq2 import rq2_curves
from nssutils.companion.figures.sensitivity import sensitivity_tornado

# Reproducible SVG: no random ids; text stays text, so that it can be searched and read aloud.
matplotlib.rcParams |= {"svg.hashsalt": "nssutils", "svg.fonttype": "none", "font.family": "sans-serif"}

__all__ = [
    "draw_fig5", "draw_method", "fig5", "method_figure", "nnslicer_curves", "rq2_curves", "sensitivity_tornado",
]  # fmt: skip
