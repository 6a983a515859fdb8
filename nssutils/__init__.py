"""Utilities behind the NeuSemSlice companion: slice a network into its critical neurons, use and judge the slice."""

from nssutils.errors import NssError

__all__ = ["NssError"]
