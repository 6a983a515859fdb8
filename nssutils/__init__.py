"""Utilities behind the NeuSemSlice companion: slice a network into its critical neurons, use and judge the slice."""

import logging
import warnings

from nssutils.errors import NssError

# captum, which a study imports, asks tqdm for a bar of widgets; without them tqdm warns in every notebook.
warnings.filterwarnings("ignore", message="IProgress not found")

# Shapes that a network may not take are tried (`graphs.example`): torch raises an error, and logs a page on it as well.
logging.getLogger("torch._subclasses.fake_tensor").addFilter(
    lambda record: "failed while attempting to run meta" not in record.getMessage()
)

__all__ = ["NssError", "report", "supports"]


def __getattr__(name: str):
    """`report` and `supports` are read when they are asked for: torch takes seconds, and `nss --help` needs none."""
    if name in ("report", "supports"):
        from nssutils import reports

        return getattr(reports, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
