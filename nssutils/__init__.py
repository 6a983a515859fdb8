"""Utilities behind the NeuSemSlice companion: slice a network into its critical neurons, use and judge the slice."""

import warnings

from nssutils.errors import NssError

# captum, which a study imports, asks tqdm for a bar of widgets; without them tqdm warns in every notebook.
warnings.filterwarnings("ignore", message="IProgress not found")

__all__ = ["NssError", "report", "supports"]


def __getattr__(name: str):
    """`report` and `supports` are read when they are asked for: torch takes seconds, and `nss --help` needs none."""
    if name in ("report", "supports"):
        from nssutils import reports

        return getattr(reports, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
