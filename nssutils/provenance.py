"""Where a number came from: digests of code and data, versions, device."""

import ast
import hashlib
import json
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGE = Path(__file__).resolve().parent
# Modules that shape no number by themselves: what they hold (a setting's fields) is recorded in full beside the digest.
_NEUTRAL = {"nssutils.errors", "nssutils.settings", "nssutils.provenance"}
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_ARITHMETIC = ("torch", "torchvision", "numpy", "scikit-learn")


def digest(value) -> str:
    """SHA-256 of a JSON-able value, the same on every machine."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _source(module: str) -> Path | None:
    path = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
    return path if path.exists() else None


def _imports(tree: ast.AST) -> set[str]:
    """Names of the nssutils modules that a parsed module imports anywhere in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nssutils":
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("nssutils.")}
    return {name for name in found - _NEUTRAL if _source(name)}


def _normal(node):
    """The parsed code as JSON-able values that comments, layout and docstrings do not change.

    Every version of Python must give the same: ast.unparse and ast.dump do not, since newer ones quote strings
    otherwise and know fields (empty here) that older ones lack.
    """
    if isinstance(node, list):
        return [_normal(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    kept = {name: value for name, value in ast.iter_fields(node) if value is not None}
    if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        kept["body"] = kept["body"][1:]
    if isinstance(node, ast.JoinedStr):  # Python 3.12 ends an f-string's nested format with an empty string
        kept["values"] = [part for part in node.values if getattr(part, "value", None) != ""]
    return [type(node).__name__, {name: _normal(value) for name, value in kept.items() if value != []}]


@cache
def code_digest(*modules: str) -> str:
    """SHA-256 over the code of the given nssutils modules and all they import from the package.

    Comments and docstrings do not count, nor does the version of Python: what computes the same keeps its digest.
    """
    waiting, codes = [f"nssutils.{name}" for name in modules], {}
    while waiting:
        name = waiting.pop()
        if name not in codes:
            tree = ast.parse(_source(name).read_text())
            waiting.extend(_imports(tree))
            codes[name] = _normal(tree)
    return digest(codes)


def device_name(device: torch.device) -> str:
    """What the device is called: the GPU's name, or the processor's kind and the number of threads used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries whose arithmetic is in a result."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("nssutils", *_ARITHMETIC)}


@cache
def lock() -> dict[str, str]:
    """The versions of those libraries that requirements.lock names, which a GPU's machine may not have."""
    lines = (PACKAGE.parent / "requirements.lock").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    return {name: pinned[name] for name in _ARITHMETIC}
