"""Slices: which neurons are critical, by global, category-wise and semantic selection (Sections 2.3 and 3.3)."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nssutils import bars, contribution, neurons, samples, sealed, similarity
from nssutils.errors import NssError

Masks = Mapping[str, Tensor]


class SliceError(NssError):
    """A slice that cannot be made, combined or read."""


@dataclass(frozen=True, eq=False)
class Slice:
    """The critical neurons of a network: `masks` {layer: bool (width,)}, True = in the slice.

    `by_class` {class: {layer: bool (width,)}} says which of them each class needs (the paper's Omega^{l,c}); it is
    empty for slices made without regard to classes. Set operations act on `masks`; the class masks of the result are
    those of either operand, cut to the result, so that their union never exceeds `masks`.
    """

    masks: Masks
    by_class: Mapping[int, Masks] = field(default_factory=dict)

    @classmethod
    def of_classes(cls, by_class: Mapping[int, Masks]) -> "Slice":
        """The union over classes of per-class masks (Section 3.3, aggregation). Raises SliceError for no class."""
        if not by_class:
            raise SliceError("no class given, expected the masks of at least one.")
        layers = next(iter(by_class.values()))
        return cls(
            {name: torch.stack([masks[name] for masks in by_class.values()]).any(0) for name in layers}, by_class
        )

    def __or__(self, other: "Slice") -> "Slice":
        return self._combined(other, torch.logical_or, [self, other])

    def __and__(self, other: "Slice") -> "Slice":
        return self._combined(other, torch.logical_and, [self, other])

    def __sub__(self, other: "Slice") -> "Slice":
        return self._combined(other, lambda mine, theirs: mine & ~theirs, [self])

    def __eq__(self, other) -> bool:
        """Whether both name the same neurons and the same for each class."""
        if not isinstance(other, Slice) or self.by_class.keys() != other.by_class.keys():
            return NotImplemented if not isinstance(other, Slice) else False
        return _same(self.masks, other.masks) and all(_same(m, other.by_class[c]) for c, m in self.by_class.items())

    __hash__ = None

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {int(mask.sum())}/{len(mask)}" for name, mask in self.masks.items())
        return f"Slice({sizes}; {len(self.by_class)} classes)"

    def _combined(self, other: "Slice", operation: Callable, sources: list["Slice"]) -> "Slice":
        if not isinstance(other, Slice):
            return NotImplemented
        mine, theirs = ({name: len(mask) for name, mask in s.masks.items()} for s in (self, other))
        if mine != theirs:
            raise SliceError(f"slices of different networks cannot be combined: layers {mine} and {theirs}.")
        masks = {name: operation(mask, other.masks[name]) for name, mask in self.masks.items()}
        classes = sorted({c for source in sources for c in source.by_class})
        by_class = {
            c: {
                name: mask & torch.stack([s.by_class[c][name] for s in sources if c in s.by_class]).any(0)
                for name, mask in masks.items()
            }
            for c in classes
        }
        return Slice(masks, by_class)

    def compression_rate(self, net: nn.Module, x: Tensor | None = None) -> float:
        """The share, in [0, 1], of the network's parameters that the slice leaves out, as neurons.count_kept counts.

        `x` is an example, for a network whose inputs cannot be guessed."""
        return 1 - neurons.count_kept(net, dict(self.masks), x) / sum(p.numel() for p in net.parameters())

    def save(self, path: str | Path) -> None:
        """Write the slice to a safetensors file with a digest over it, atomically."""
        sealed.save(path, *self.contents())

    def contents(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """What its file says: tensors by name, and in which order layers and classes come."""
        parts = {"slice": self.masks} | {f"class {c}": masks for c, masks in self.by_class.items()}
        tensors = {  # each its own: a file holds no tensor that is a view of another
            f"{part}/{name}": mask.cpu().clone().contiguous()
            for part, masks in parts.items()
            for name, mask in masks.items()
        }
        classes = [c if isinstance(c, str) else int(c) for c in self.by_class]  # numpy's whole numbers, too
        return tensors, {"slice": json.dumps({"layers": list(self.masks), "classes": classes})}

    @classmethod
    def load(cls, path: str | Path) -> "Slice":
        """Read a slice that `save` wrote.

        Raises SliceError for a file that is missing, damaged or something else. One that was written before slices had
        a digest is refused too: nothing could tell a flipped bit of it, and a slice is soon made again.
        """
        try:
            tensors, told = sealed.read(path)
            order = json.loads(told["slice"])
            masks = {name: tensors[f"slice/{name}"] for name in order["layers"]}
            by_class = {c: {name: tensors[f"class {c}/{name}"] for name in order["layers"]} for c in order["classes"]}
        except (sealed.SealError, KeyError) as error:
            raise SliceError(
                f"{path} is no slice file ({error}); expected one that Slice.save wrote, with its digest. "
                "Make the slice again and save it."
            ) from error
        return cls(masks, by_class)


def semantic_slice(
    net: nn.Module,
    x,
    y=None,
    metric: str | Sequence[str] = "deeplift",
    theta: float | Iterable[float] = 0.95,
    *,
    n_classes: int | None = None,
    samples: int = 256,
    spatial: str = "mean",
    centred: bool = True,
    step: int = 1,
    scores: Mapping | None = None,
    skip_absent: bool = False,
) -> Slice | dict:
    """Semantic slicing (Section 3.3, Algorithm 1): per layer and class, the shortest run of the highest-ranking
    neurons, in steps of `step`, whose CKA with the whole layer reaches theta; then the union over the classes.

    x: images (N, C, H, W), y: labels (N,), from 0 to n_classes - 1 (the highest label unless given); or x a DataLoader
    that gives both, which is gone through again for each: the labels, the contributions, the similarity. `scores`
    {layer: (n_classes, width)}, as from contribution.score, saves computing them from all of x; the similarity is
    measured on the first `samples` images of each class (not printed in the paper), on values as in
    neurons.record(spatial=…). Several thetas are served by one pass: a dict {theta: Slice}; so are several metrics, a
    dict {metric: what one metric gives}, whose `scores` are {metric: {layer: …}}. With `skip_absent` a class without
    samples has no part in the slice. Raises SliceError for a theta outside [0, 1], a step below 1 and
    scores that lack a metric, layer or class, NssError for samples that cannot be used.
    """
    if isinstance(metric, str):
        given = None if scores is None else {metric: scores}
        how = dict(samples=samples, spatial=spatial, centred=centred, step=step, skip_absent=skip_absent)
        return semantic_slice(net, x, y, [metric], theta, n_classes=n_classes, scores=given, **how)[metric]
    if isinstance(theta, Tensor):
        theta = (theta.float() if theta.dtype == torch.bfloat16 else theta).detach().cpu().numpy()
    if hasattr(theta, "tolist"):  # numpy's numbers, by the digits that they show
        theta = np.asarray(theta).astype(str).astype(float).tolist()
    if isinstance(theta, str) or not isinstance(theta, Real | Iterable):
        raise SliceError(f"theta={theta!r} given, expected a similarity in [0, 1], or several.")
    metric = list(metric)
    if not metric:
        raise SliceError(f"metric={metric!r} given, expected at least one of {', '.join(contribution.METRICS)}.")
    n_classes = _count_classes(x, y, n_classes)
    if scores is None:
        scores = contribution.score(net, x, y, metric, n_classes, skip_absent=skip_absent)
    if missing := [each for each in metric if each not in scores]:
        raise SliceError(f"scores of {', '.join(scores)} given, expected those of {', '.join(missing)}, too.")
    orders = {each: _orders(scores[each]) for each in metric}
    curves = similarity_curves(net, x, y, orders, n_classes, samples, spatial, centred, skip_absent)
    if isinstance(theta, Real):
        return {each: at_theta(curves[each], orders[each], theta, step) for each in metric}
    thetas = list(theta)
    return {each: {t: at_theta(curves[each], orders[each], t, step) for t in thetas} for each in metric}


def similarity_curves(
    net: nn.Module,
    x,
    y,
    orders: Mapping[str, Masks],
    n_classes: int | None = None,
    size: int = 256,
    spatial: str = "mean",
    centred: bool = True,
    skip_absent: bool = False,
) -> dict[str, dict[str, Tensor]]:
    """The prefix CKA curves behind semantic slices, for several rankings at one recording of the activations of the
    first `size` samples of each class.

    orders: {ranking: {layer: int64 (n_classes, width)}}, each row a permutation; returns the same shape with curves,
    that of a class which is absent being NaN.
    """
    n_classes = _count_classes(x, y, n_classes)
    first = samples.first(x, y, n_classes, size)
    curves: dict = {
        ranking: {name: torch.full(order.shape, torch.nan, dtype=torch.float64) for name, order in by_layer.items()}
        for ranking, by_layer in orders.items()
    }
    for c in bars.over(range(n_classes), "similarity of each class"):
        if c not in first and not skip_absent:
            raise SliceError(
                f"class {c} has no sample; semantic slicing needs some of each of the {n_classes} classes."
            )
        values = neurons.record(net, first[c], spatial) if c in first else {}
        _check_orders(orders, values, n_classes)
        for name, acts in values.items():
            rankings = torch.stack([order[name][c] for order in orders.values()])
            for ranking, curve in zip(orders, similarity.prefix_cka(acts, rankings, centred), strict=True):
                curves[ranking][name][c] = curve
    return curves


def at_theta(curves: Masks, orders: Masks, theta: float, step: int = 1) -> Slice:
    """The semantic slice at one theta from its CKA curves and rankings, both {layer: (n_classes, width)}."""
    if not isinstance(theta, Real) or not 0 <= theta <= 1:
        raise SliceError(f"theta={theta!r} given, expected a similarity in [0, 1].")
    if not isinstance(step, Integral) or step < 1:
        raise SliceError(f"step={step!r} given, expected at least 1.")
    by_class: dict[int, dict[str, Tensor]] = {}
    for name, curve in curves.items():
        n_classes, width = curve.shape
        # Algorithm 1 looks after each step of `step` neurons, and at last at the whole layer.
        looked_at = torch.tensor(sorted({*range(step, width, step), width})) - 1
        reached = curve[:, looked_at] >= theta
        reached[:, -1] = True
        sizes = looked_at[reached.int().argmax(1)] + 1
        for c in (c for c in range(n_classes) if not curve[c].isnan().any()):
            mask = torch.zeros(width, dtype=torch.bool)
            mask[orders[name][c, : sizes[c]]] = True
            by_class.setdefault(c, {})[name] = mask
    return Slice.of_classes(by_class)


def global_slice(
    net: nn.Module, x, y=None, metric: str = "deeplift", share: float = 0.5, *,
    n_classes: int | None = None, scores: Masks | None = None,
) -> Slice:  # fmt: skip
    """Global selection (Section 2.3): the top `share`, in (0, 1], of each layer by contribution over the whole dataset.

    `scores` {layer: (1, width)}, as from contribution.overall, saves computing them.
    """
    if scores is None:
        n_classes = _count_classes(x, y, n_classes)
        needed = ("avg", "var") if metric in ("var", "ens") else ()
        by_class = contribution.score(net, x, y, {metric, *needed}, n_classes, skip_absent=True)
        counts = sum(torch.bincount(labels.cpu(), minlength=n_classes) for _, labels in samples.stream(x, y))
        scores = contribution.overall(by_class, counts)[metric]
    return top_share(_orders(scores), share)


def categorywise_slice(
    net: nn.Module, x, y=None, metric: str = "deeplift", share: float = 0.5, *,
    n_classes: int | None = None, scores: Masks | None = None,
) -> Slice:  # fmt: skip
    """Category-wise selection (Section 2.3): the top `share` of each layer for each class, then the union.

    `scores` {layer: (n_classes, width)}, as from contribution.score, saves computing them.
    """
    if scores is None:
        scores = contribution.score(net, x, y, metric, _count_classes(x, y, n_classes))[metric]
    return top_share(_orders(scores), share)


def top_share(orders: Masks, share: float) -> Slice:
    """The top `share` of each layer in rankings {layer: (1, width)}, or of each class's with a row for each class."""
    rows = len(next(iter(orders.values())))
    by_class = {c: {name: band_mask(order[c], 0, share) for name, order in orders.items()} for c in range(rows)}
    return Slice(by_class[0], {}) if rows == 1 else Slice.of_classes(by_class)


def band_mask(order: Tensor, low: float, high: float) -> Tensor:
    """bool (width,): True for the neurons ranked from share `low` to share `high` in `order` (width,).

    Ranks are rounded to whole neurons; a band that starts at 0 holds at least one.
    """
    if not 0 <= low < high <= 1:
        raise SliceError(f"the band from {low!r} to {high!r} given, expected shares with 0 <= low < high <= 1.")
    start, stop = round(low * len(order)), round(high * len(order))
    mask = torch.zeros(len(order), dtype=torch.bool)
    mask[order[start : max(stop, 1 if low == 0 else stop)]] = True
    return mask


def _orders(scores: Masks) -> dict[str, Tensor]:
    for name, value in scores.items():
        if not isinstance(value, Tensor):
            raise SliceError(
                f"scores[{name!r}] is a {type(value).__name__}, expected a tensor (classes, width) for each layer: of "
                "what contribution.score gives, one metric's."
            )
        if not value.isfinite().all():
            raise SliceError(f"scores[{name!r}] has values that are no finite numbers, and ranks nothing by them.")
    return {name: contribution.ranking(value.cpu()) for name, value in scores.items()}


def _check_orders(orders: Mapping[str, Masks], values: Masks, n_classes: int) -> None:
    """Raise SliceError unless the rankings are of all layers that have values, and of each class."""
    for ranking, by_layer in orders.items() if values else ():
        if by_layer.keys() != values.keys():
            raise SliceError(
                f"scores of {ranking!r} are of layers {', '.join(by_layer)}, expected {', '.join(values)}."
            )
        for name, order in by_layer.items():
            if order.dim() != 2 or len(order) < n_classes or order.shape[1] != values[name].shape[1]:
                raise SliceError(
                    f"scores of {ranking!r}, layer {name!r}, are {tuple(order.shape)}, expected "
                    f"{(n_classes, values[name].shape[1])}, a row for each class."
                )


def _count_classes(x, y, n_classes: int | None) -> int:
    return samples.count(x, y) if n_classes is None else n_classes


def _same(mine: Masks, theirs: Masks) -> bool:
    return mine.keys() == theirs.keys() and all(torch.equal(mask, theirs[name]) for name, mask in mine.items())
