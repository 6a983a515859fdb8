"""Each chapter's figures."""

from nssutils.companion.figures.deeparc import deeparc_similarities
from nssutils.companion.figures.explorer import explorer
from nssutils.companion.figures.method import method_figure
from nssutils.companion.figures.nnslicer import nnslicer_fig3
from nssutils.companion.figures.pilot import pilot_classes, pilot_slopes
from nssutils.companion.figures.rq1 import draw_fig5, fig5, rq1_depth, rq1_star
from nssutils.companion.figures.rq2 import rq2_curves
from nssutils.companion.figures.rq3 import rq3_shares
from nssutils.companion.figures.rq4 import rq4_tasks
from nssutils.companion.figures.sensitivity import sensitivity_tornado
from nssutils.companion.figures.your_model import your_curves

__all__ = [
    "deeparc_similarities", "draw_fig5", "explorer", "fig5", "method_figure", "nnslicer_fig3",
    "pilot_classes", "pilot_slopes", "rq1_depth", "rq1_star", "rq2_curves", "rq3_shares", "rq4_tasks",
    "sensitivity_tornado", "your_curves",
]  # fmt: skip
