"""Each chapter's figures."""

from nssutils.companion.figures.deeparc import deeparc_similarities
from nssutils.companion.figures.method import draw_method, method_figure
from nssutils.companion.figures.nnslicer import nnslicer_fig3
from nssutils.companion.figures.rq1 import draw_fig5, fig5
from nssutils.companion.figures.rq2 import rq2_curves
from nssutils.companion.figures.sensitivity import sensitivity_tornado
from nssutils.companion.figures.your_model import your_curves

__all__ = [
    "deeparc_similarities", "draw_fig5", "draw_method", "fig5", "method_figure", "nnslicer_fig3", "rq2_curves",
    "sensitivity_tornado", "your_curves",
]  # fmt: skip
