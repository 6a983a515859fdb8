"""Where a number came from, beside the digests: versions and device."""

import platform
import re
from functools import cache
from importlib.metadata import version

import torch

from nssutils import files

_ARITHMETIC = ("torch", "torchvision", "numpy", "scikit-learn")
# What single chapters compute with besides. Results of before this was recorded do not name it.
_BESIDES = {"nnslicer_detection": ("foolbox",), "sensitivity": ("captum",)}


def device_name(device: torch.device) -> str:
    """What the device is called: the GPU's name, or the processor's kind and the number of threads used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries whose arithmetic is in a result."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("nssutils", *_ARITHMETIC)}


def lock() -> dict[str, str]:
    """The versions of those libraries that requirements.lock names, which a GPU's machine may not have."""
    return {name: _pinned()[name] for name in _ARITHMETIC}


def lock_of(chapter: str) -> dict[str, str]:
    """The locked versions of the libraries that a chapter computes with besides."""
    return {name: _pinned()[name] for name in _BESIDES.get(chapter, ())}


@cache
def _pinned() -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (files.ROOT / "requirements.lock").read_text(), re.MULTILINE))
