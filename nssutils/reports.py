"""What a user is told of a network of his own: what can be done with it, and what a slice leaves of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from nssutils import bars, contribution, costs, graphs, neurons, nnslicer, operations, restructuring, samples, training
from nssutils.errors import NssError


def supports(net: nn.Module, x) -> dict[str, bool | str]:
    """What of this package a network can do, for samples like x (N, ...): {what: True, or why not}.

    "layers": it can be read off and has neurons to slice; "extract": the slice is the masked network's equal (half of
    the neurons of each layer are tried); each metric of contributions; "nnslicer". Takes a few passes over two samples.
    """
    x = samples.example(x).to(operations.device(net))
    y = torch.zeros(len(x), dtype=torch.int64)
    found: dict[str, bool | str] = {}

    def tried(what: str, attempt: Callable[[], object]) -> None:
        try:
            attempt()
            found[what] = True
        except NssError as error:
            found[what] = str(error)

    def read_off() -> None:
        with neurons.evaluating(net):
            neurons.layers_of(graphs.seen(net, x))

    tried("layers", read_off)
    if found["layers"] is True:
        halves = {name: torch.arange(layer.width) % 2 == 0 for name, layer in neurons.layers(net, x).items()}
        tried("extract", lambda: restructuring.extract(net, halves, x=x))
        for metric in contribution.METRICS:
            tried(metric, lambda metric=metric: contribution.score(net, x, y, metric))
        tried("nnslicer", lambda: nnslicer.contributions(net, x, y, nnslicer.profile(net, x)))
    return found


@dataclass(frozen=True)
class Report:
    """What a slice leaves: by layer, and of the whole. str() of it is a table."""

    layers: Mapping[str, tuple[int, int, int, int]]  # name: (neurons, kept, parameters, kept)
    parameters: tuple[int, int]  # whole, extracted
    flops: tuple[int, int] | None  # of one sample
    accuracy: tuple[float, float] | None  # in [0, 1]
    apart: bool  # whether the extracted network needs a graph of its own

    def __str__(self) -> str:
        rows = [("layer", "neurons", "kept", "parameters", "kept")]
        for name, (width, kept, parameters, left) in self.layers.items():
            rows.append((name, f"{width:,}", _share(kept, width), f"{parameters:,}", _share(left, parameters)))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
                 for row in rows]  # fmt: skip
        lines += ["", f"parameters  {self.parameters[0]:,} -> {self.parameters[1]:,} ({_less(*self.parameters)})"]
        if self.flops:
            lines.append(f"operations  {self.flops[0]:,} -> {self.flops[1]:,} a sample ({_less(*self.flops)})")
        if self.accuracy:
            lines.append(f"accuracy    {self.accuracy[0]:.2%} -> {self.accuracy[1]:.2%}")
        return "\n".join(lines)


def report(net: nn.Module, sliced, x, y=None, batch_size: int = 256) -> Report:
    """What the slice (or masks {layer: bool (width,)}) leaves of the network's layers, parameters and operations, and,
    where samples x (N, ...) have labels y (N,), or x is a DataLoader that gives both, of its accuracy on them."""
    masks, like, inner = neurons.of_each_layer(sliced), samples.example(x), graphs.unwrapped(net)
    small = restructuring.extract(net, masks, x=like)
    kept = neurons.kept_elements(inner, masks, like)
    names = {p: name for name, p in inner.named_parameters()}  # a tied one's first
    layers = {}
    for name, mask in masks.items():
        own = [kept[names[p]] for p in inner.get_submodule(name).parameters() if names[p] in kept]
        layers[name] = (len(mask), int(mask.sum()), sum(m.numel() for m in own), sum(int(m.sum()) for m in own))
    sizes = tuple(sum(p.numel() for p in one.parameters()) for one in (net, small))
    one = like[:1].to(operations.device(net))
    flops = tuple(costs.flops(each, one) for each in (net, small))
    labelled = y is not None or not samples.at_once(x)
    accuracy = tuple(_accuracy(each, x, y, batch_size) for each in (net, small)) if labelled else None
    return Report(layers, sizes, flops, accuracy, type(small) is not type(inner))


@torch.no_grad()
def _accuracy(net: nn.Module, x, y, batch_size: int) -> float:
    where, right, seen = operations.device(net), 0, 0
    with neurons.evaluating(net):
        for given, labels in samples.stream(x, y):
            for images, wanted in bars.over(
                zip(given.split(batch_size), labels.split(batch_size), strict=True),
                "accuracy",
                len(given),
                lambda one: len(one[0]),
            ):
                logits = training.checked(net(images.to(where).clone()))
                samples.check_range(wanted, logits.shape[1])
                right += int((logits.argmax(1).cpu() == wanted.cpu()).sum())
                seen += len(wanted)
    return right / seen


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.0%})" if whole else "0"


def _less(before: int, after: int) -> str:
    return f"{1 - after / before:.1%} less" if before else "none"
