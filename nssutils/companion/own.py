"""A network of a reader's own, named on the command line or in the chapter on it: read it and its data, slice it, write
what is left, repair it, extend it."""

import importlib
import importlib.util
import inspect
import os
import sys
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from nssutils import contribution, graphs, operations, reports, restructuring, samples, slicing
from nssutils.errors import NssError, near_miss
from nssutils.studies import your_model

IMAGES = 5_000  # of a tour, so that it takes minutes
Labelled = tuple[torch.Tensor, torch.Tensor]


class OwnError(NssError):
    """A network or data that cannot be had by the name given."""


def sliced(source: str, data: str, metric: str, theta: float, out: Path | None) -> reports.Report:
    """Slice the network that `source` names by the samples that `data` names; the extracted one goes to `out`.

    `source`: MODULE:FUNCTION or FILE.py:FUNCTION, which returns the trained network. `data`: a folder of images with a
    folder for each class, or such a name, of a function that returns samples and labels or a DataLoader.
    """
    net = _network(source, metric)
    x, y = _data(data, net)
    critical = slicing.semantic_slice(net, x, y, metric, theta)
    if out is not None:
        restructuring.save(restructuring.extract(net, critical, x=samples.example(x)), out)
    return reports.report(net, critical, x, y)


def tour(
    source: str, data: str, more: str = "", metric: str = "taylor", theta: float = 0.95, repair: bool = True,
    out: str = "",
) -> None:  # fmt: skip
    """What can be done with a network of a reader's own, printed: sliced and made smaller, repaired where
    `repair`, extended where `more` names data of new classes, whose labels go on where the network's end.

    source, data, more: as in `sliced`. Every fifth sample is for judging, the others are for slicing and training; at
    most IMAGES take part, of each class as many.
    """
    net = _network(source, metric)
    net.eval()
    where = operations.device(net)
    train, test = _parted(*_data(data, net), where)
    critical = slicing.semantic_slice(net, *train, metric, theta)
    print(reports.report(net, critical, *test))
    if out:
        restructuring.save(restructuring.extract(net, critical, x=train[0][:2]), _here(out))
        print(f"written: {out}; nssutils.restructuring.load(path, net) reads it")
    if repair:
        print("\nRepaired: accuracy (%) on test samples, and on those attacked by FGSM")
        print(_shown(your_model.repaired(net, critical, train, test)))
    if more:
        print("\nExtended: accuracy (%) on the old classes and on the new ones")
        print(_shown(your_model.extended(net, critical, test, *_parted(*_data(more, net), where))))


WAYS = {"before": "as it was", "all": "all parameters trained", "critical": "critical ones trained"}
WAYS |= {"outside": "those outside the slice trained"}


def _shown(rows: list[dict]) -> str:
    """Rows of shares as a table of percentages."""
    shares = pd.DataFrame(rows).drop(columns="eps", errors="ignore").set_index("way").rename(index=WAYS)
    return (100 * shares).round(1).rename_axis(None).to_string()


def _parted(x, y, where: torch.device) -> tuple[Labelled, Labelled]:
    """Samples to train on and to judge by, shuffled, every fifth of them to judge by: at most IMAGES, of each class as
    many, the first."""
    found = samples.first(x, y, n_classes := samples.count(x, y), max(5, IMAGES // n_classes))
    order = torch.randperm(sum(map(len, found.values())), generator=torch.Generator().manual_seed(0))
    x = torch.cat(list(found.values()))[order].to(where)
    y = torch.cat([torch.full((len(each),), c) for c, each in found.items()])[order].to(where)
    judged = torch.arange(len(y), device=where) % 5 == 4
    return (x[~judged], y[~judged]), (x[judged], y[judged])


def _network(source: str, metric: str) -> nn.Module:
    if metric not in contribution.METRICS:
        known = contribution.METRICS
        raise OwnError(f"--metric {metric} given; known: {', '.join(known)}.{near_miss(metric, known)}")
    net = _called(source, "the network")
    if not isinstance(net, nn.Module):
        raise OwnError(f"{source} returns a {type(net).__name__}, expected a torch.nn.Module.")
    return net


def _data(name: str, net: nn.Module):
    """Samples and labels, or a DataLoader and None."""
    if not name:
        raise OwnError("no data given, expected FILE.py:FUNCTION, MODULE:FUNCTION, or a folder of images by class.")
    if ":" not in name and _here(name).exists():
        if not _here(name).is_dir():
            raise OwnError(f"--data {name} is a file, expected a folder for each class, or FILE.py:FUNCTION.")
        like = tuple(graphs.example(net).shape)
        if len(like) != 4:
            raise OwnError(
                f"--data {name} is a folder of images, but the network takes samples {like[1:]}, expected (C, H, W): "
                "give FILE.py:FUNCTION, which returns samples and labels."
            )
        _, channels, height, width = like
        shaped = [transforms.Resize((height, width)), transforms.ToTensor()]
        if channels == 1:
            shaped = [transforms.Grayscale(), *shaped]
        try:
            images = datasets.ImageFolder(_here(name), transforms.Compose(shaped), loader=_image)
            return DataLoader(images, batch_size=64), None
        except FileNotFoundError as error:
            raise OwnError(f"--data {name}: {error}. Expected a folder for each class, with its images.") from error
    found = _called(name, "the data")
    if isinstance(found, tuple | list) and len(found) == 2:
        return found
    if hasattr(found, "__iter__") and not isinstance(found, torch.Tensor):
        return found, None
    raise OwnError(f"{name} returns a {type(found).__name__}, expected samples and labels, or a DataLoader.")


def _image(path: str):
    try:
        return datasets.folder.default_loader(path)
    except OSError as error:
        raise OwnError(f"{path} is no image that can be read ({error}).") from error


def _called(name: str, what: str):
    """What the function gives that is named MODULE:FUNCTION or FILE.py:FUNCTION."""
    where, _, function = name.rpartition(":")
    if not where:
        raise OwnError(f"{what} is {name!r}, expected MODULE:FUNCTION or FILE.py:FUNCTION, as mine.py:network.")
    if (folder := str(_here(""))) not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = _file(_here(where)) if where.endswith(".py") else importlib.import_module(where)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise OwnError(f"{what} is {name!r}, but {where} cannot be read: {why}.") from error
    if not callable(getattr(module, function, None)):
        known = [each for each in vars(module) if callable(getattr(module, each)) and not each.startswith("_")]
        raise OwnError(f"{where} has no function {function!r}; it has {', '.join(known)}.{near_miss(function, known)}")
    asked = getattr(module, function)
    try:
        inspect.signature(asked).bind()
    except TypeError as error:
        if isinstance(asked, nn.Module):
            raise OwnError(f"{what} is {name!r}, a network; expected a function that returns it.") from error
        raise OwnError(f"{what} is {name!r}, which is called without arguments: {error}.") from error
    except ValueError:  # of code in C, which does not say what it takes
        pass
    return asked()


def _here(path: str) -> Path:
    """A path as the command means it: a chapter runs in a folder of its own."""
    return Path(os.environ.get("NSS_FROM", ".")) / path


def _file(path: Path):
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # as an import does: dataclasses look there
    spec.loader.exec_module(module)
    return module
