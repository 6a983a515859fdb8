"""Utilities behind the NeuSemSlice companion: slice a network into its critical neurons, use and judge the slice."""

import warnings

from nssutils.errors import NssError

# captum, which a study imports, asks tqdm for a bar of widgets; without them tqdm warns in every notebook.
warnings.filterwarnings("ignore", message="IProgress not found")

__all__ = ["NssError"]
