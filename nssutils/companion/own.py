"""A network of a reader's own, named on the command line: read it and its data, slice it, write what is left."""

import importlib
import importlib.util
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from nssutils import contribution, graphs, reports, restructuring, samples, slicing
from nssutils.errors import NssError, near_miss


class OwnError(NssError):
    """A network or data that cannot be had by the name given."""


def sliced(source: str, data: str, metric: str, theta: float, out: Path | None) -> reports.Report:
    """Slice the network that `source` names by the samples that `data` names; the extracted one goes to `out`.

    `source`: MODULE:FUNCTION or FILE.py:FUNCTION, which returns the trained network. `data`: a folder of images with a
    folder for each class, or such a name, of a function that returns samples and labels or a DataLoader.
    """
    if metric not in contribution.METRICS:
        known = contribution.METRICS
        raise OwnError(f"--metric {metric} given; known: {', '.join(known)}.{near_miss(metric, known)}")
    net = _called(source, "the network")
    if not isinstance(net, nn.Module):
        raise OwnError(f"{source} returns a {type(net).__name__}, expected a torch.nn.Module.")
    x, y = _data(data, net)
    critical = slicing.semantic_slice(net, x, y, metric, theta)
    if out is not None:
        restructuring.save(restructuring.extract(net, critical, x=samples.example(x)), out)
    return reports.report(net, critical, x, y)


def _data(name: str, net: nn.Module):
    """Samples and labels, or a DataLoader and None."""
    if ":" not in name and Path(name).exists():
        _, channels, height, width = (1, *graphs.example(net).shape)[-4:]
        shaped = [transforms.Resize((height, width)), transforms.ToTensor()]
        if channels == 1:
            shaped = [transforms.Grayscale(), *shaped]
        try:
            return DataLoader(datasets.ImageFolder(name, transforms.Compose(shaped)), batch_size=64), None
        except FileNotFoundError as error:
            raise OwnError(f"--data {name}: {error}. Expected a folder for each class, with its images.") from error
    found = _called(name, "the data")
    if isinstance(found, tuple | list) and len(found) == 2:
        return found
    if hasattr(found, "__iter__") and not isinstance(found, torch.Tensor):
        return found, None
    raise OwnError(f"{name} returns a {type(found).__name__}, expected samples and labels, or a DataLoader.")


def _called(name: str, what: str):
    """What the function gives that is named MODULE:FUNCTION or FILE.py:FUNCTION."""
    where, _, function = name.rpartition(":")
    if not where:
        raise OwnError(f"{what} is {name!r}, expected MODULE:FUNCTION or FILE.py:FUNCTION, as mine.py:network.")
    try:
        module = _file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except (ImportError, FileNotFoundError) as error:
        raise OwnError(f"{what} is {name!r}, but {where} cannot be read: {error}.") from error
    if not callable(getattr(module, function, None)):
        known = [each for each in vars(module) if callable(getattr(module, each)) and not each.startswith("_")]
        raise OwnError(f"{where} has no function {function!r}; it has {', '.join(known)}.{near_miss(function, known)}")
    return getattr(module, function)()


def _file(path: Path):
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # as an import does: dataclasses look there
    spec.loader.exec_module(module)
    return module
