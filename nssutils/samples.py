"""What a user gives to slice by: images with labels, as tensors, as numpy arrays, or streamed by a DataLoader or any
other thing that gives the same batches each time it is gone through, as a list of them."""

import operator
from collections.abc import Iterator

import torch
from torch import Tensor

from nssutils.errors import NssError


class SampleError(NssError):
    """Samples or labels that cannot be used."""


def stream(x, y=None) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of samples and labels (N,) int64, checked: of tensors or arrays x and y one, of a DataLoader x its own.

    Labels may be integers, whole numbers as floats, or one-hot rows. Without labels, as for regression, all samples are
    of class 0. Raises SampleError naming what was given.
    """
    if at_once(x):
        samples = checked(x)
        yield samples, torch.zeros(len(samples), dtype=torch.int64) if y is None else labels(y, len(samples))
        return
    if y is not None or not hasattr(x, "__iter__"):
        raise SampleError(
            f"x is a {type(x).__name__}{'' if y is None else ' with labels beside it'}, expected a tensor or array "
            "with labels y, or a DataLoader alone, which gives pairs of both."
        )
    if isinstance(x, Iterator):
        raise SampleError(
            f"x is a {type(x).__name__}, which can be gone through once, expected what can be gone through again: a "
            "DataLoader, or a list of its batches."
        )
    empty = True
    for batch in x:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise SampleError(f"the DataLoader gives a {type(batch).__name__}, expected pairs: samples, labels.")
        samples = checked(batch[0])
        yield samples, labels(batch[1], len(samples))
        empty = False
    if empty:
        raise SampleError(f"the {type(x).__name__} gives no batch, expected at least one.")


def at_once(x) -> bool:
    """Whether x is all samples in a tensor or array, not a stream of batches with their labels."""
    return isinstance(x, Tensor) or hasattr(x, "__array__")


def labels(y, n: int) -> Tensor:
    """Labels of n samples as (n,) int64."""
    try:
        y = torch.as_tensor(y)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SampleError(f"labels are no numbers ({error}), expected whole numbers from 0 or one-hot rows.") from error
    if y.dim() == 2 and len(y) == n and y.shape[1] > 1:
        if not (((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all()):
            raise SampleError(f"labels {tuple(y.shape)} given whose rows are not one-hot, expected one 1 in each.")
        return y.argmax(1)
    y = y.squeeze(1) if y.dim() == 2 and y.shape[1] == 1 else y
    if y.shape != (n,):
        raise SampleError(f"{n} samples and labels {tuple(y.shape)} given, expected as many of each.")
    whole = y.long()
    if y.is_floating_point() and not torch.equal(whole.to(y), y):
        raise SampleError(f"label {y[whole.to(y) != y][0].item()} given, expected whole numbers or one-hot rows.")
    return whole


def count(x, y=None) -> int:
    """How many classes there are: the highest label and those below it. Of a DataLoader, after one pass over it."""
    return max(int(labels_.max()) + 1 for _, labels_ in stream(x, y))


def length(x) -> int | None:
    """How many samples there are; None where a DataLoader cannot tell before it has been gone through."""
    if hasattr(x, "shape"):
        return len(x)
    return len(x.dataset) if hasattr(getattr(x, "dataset", None), "__len__") else None


def by_class(x, y, n_classes: int, batch_size: int) -> Iterator[tuple[int, Tensor]]:
    """Each class's samples in batches of `batch_size`, (class, samples), in the order they come: a batch as soon as it
    is full, what is left of each class at the end."""
    batch_size = whole("batch_size", batch_size)
    waiting: dict[int, list[Tensor]] = {c: [] for c in range(n_classes)}
    for samples, y_ in stream(x, y):
        check_range(y_, n_classes)
        for c in y_.unique().tolist():
            part = _together([*waiting[c], samples[y_ == c]])
            full = len(part) // batch_size * batch_size
            for batch in part[:full].split(batch_size) if full else ():
                yield c, batch
            waiting[c] = [part[full:]] if full < len(part) else []
    for c, parts in waiting.items():
        for batch in parts:
            yield c, batch


def first(x, y, n_classes: int, size: int) -> dict[int, Tensor]:
    """The first `size` samples of each class that has some: {class: samples}."""
    size = whole("samples", size)
    found: dict[int, Tensor] = {}
    for samples, y_ in stream(x, y):
        check_range(y_, n_classes)
        for c in y_.unique().tolist():
            have = found.get(c, samples[:0])
            found[c] = _together([have, samples[(y_ == c).nonzero()[: size - len(have), 0]]])
        if len(found) == n_classes and all(len(each) == size for each in found.values()):
            break
    return {c: found[c] for c in sorted(found)}


def _together(parts: list[Tensor]) -> Tensor:
    """Samples of one class in one tensor. Raises SampleError where batches differ in more than their length."""
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) > 1:
        raise SampleError(
            f"samples of shapes {' and '.join(map(str, sorted(shapes)))} given, expected one: pad or resize them alike."
        )
    return torch.cat(parts)


def example(x) -> Tensor:
    """Two samples, or one where there are no more."""
    return next(stream(x))[0][:2]


def checked(x) -> Tensor:
    """Samples (N, ...) as a tensor. Raises SampleError for what is none, for bytes, and for what is not finite."""
    try:
        x = torch.as_tensor(x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SampleError(f"samples are no numbers ({error}), expected a tensor or array (N, ...).") from error
    if x.dim() == 0 or not len(x):
        raise SampleError(f"samples {tuple(x.shape)} given, expected at least one, (N, ...).")
    if x.dtype == torch.uint8:
        raise SampleError("samples of uint8 given, expected floats, as pixels in [0, 1]: x / 255.")
    if x.is_floating_point() and not x.isfinite().all():
        bad = (~x.isfinite()).flatten(1).any(1) if x.dim() > 1 else ~x.isfinite()
        raise SampleError(f"sample {int(bad.nonzero()[0])} has a value that is not finite, expected numbers.")
    return x


def whole(name: str, value) -> int:
    """A whole number from 1 on, of any type. Raises SampleError naming the argument that is none."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise SampleError(f"{name}={value!r} given, expected a whole number, at least 1.")
    return number


def check_range(y: Tensor, n_classes: int) -> None:
    """Raise SampleError for a label that is none of the classes, 0 to n_classes - 1."""
    outside = y[(y < 0) | (y >= n_classes)]
    if len(outside):
        raise SampleError(f"label {int(outside[0])} given, expected 0 to {n_classes - 1} (n_classes={n_classes}).")
