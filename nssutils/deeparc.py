"""DeepArc (Ren et al., ICSE 2023), RQ1's baseline: semantically similar consecutive layers form a module, and all but
the first layer of a module are redundant."""

import copy
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, fx, nn

from nssutils import neurons, similarity
from nssutils.errors import NssError

BATCH = 256  # images on which similarity is measured, as in DeepArc


class DeepArcError(NssError):
    """A unit that is not known or cannot be removed."""


@dataclass(frozen=True)
class Unit:
    """What DeepArc keeps or removes as one: a residual block, or a weighted layer with its BN and activation."""

    name: str  # the block's or the weighted module's, as in named_modules()
    site: str  # fx node whose value is the unit's output
    parts: tuple[str, ...]  # modules that go when the unit goes


def units(net: nn.Module) -> list[Unit]:
    """The network's units in forward order; of a residual network, its blocks, else its hidden layers.

    The stem and the head of a residual network are no units: DeepArc looks for redundancy among alike blocks.
    """
    return _units(neurons.trace(net))


def _units(traced: fx.GraphModule) -> list[Unit]:
    blocks = [_block(traced, node) for node in traced.graph.nodes if neurons.kind(traced, node) == "add"]
    if blocks:
        return blocks
    found = []
    for layer in neurons.layers_of(traced).values():
        chain = [node for node in traced.graph.nodes if node.name == layer.weighted]
        while chain[-1].name != layer.site:
            chain += list(chain[-1].users)[:1]
        # The activation stays: it is no parameter, and what takes the layer's place is linear.
        parts = [node.target for node in chain if neurons.kind(traced, node) in ("weighted", "norm")]
        found.append(Unit(layer.name, layer.site, tuple(parts)))
    return found


def _block(traced: fx.GraphModule, addition: fx.Node) -> Unit:
    """The residual block around an addition: the innermost module that calls it."""
    name = next(reversed(addition.meta.get("nn_module_stack", {})), None)
    if name is None:
        raise DeepArcError(f"the addition {addition.name!r} stands in no module of its own, expected a residual block.")
    inside = [n for n in traced.graph.nodes if n.op == "call_module" and n.target.startswith(f"{name}.")]
    last = inside[-1] if inside and addition in inside[-1].all_input_nodes else addition
    return Unit(name, last.name, (name,))


@torch.no_grad()
def similarities(net: nn.Module, x: Tensor) -> list[float]:
    """Centred CKA between each unit's output and the next one's, on images x (DeepArc takes one batch of 256)."""
    landscapes: dict[str, Tensor] = {}
    where = next(net.parameters()).device
    with neurons.evaluating(net):
        traced = neurons.trace(net)
        found = _units(traced)
        visits = {
            unit.site: lambda value, site=unit.site: landscapes.__setitem__(site, similarity.gram(value.detach()))
            for unit in found
        }
        neurons.run(traced, visits, x.to(where))
    pairs = pairwise(landscapes[unit.site] for unit in found)
    return [similarity.cka(first, second) for first, second in pairs]


def redundant(found: list[Unit], alike: list[float], threshold: float = 0.99) -> list[Unit]:
    """All but the first unit of each module: those whose similarity with their predecessor exceeds the threshold."""
    return [unit for unit, value in zip(found[1:], alike, strict=True) if value > threshold]


def remove(net: nn.Module, gone: list[Unit], x: Tensor) -> nn.Module:
    """A copy of the network without the given units; their activations, which hold no parameters, stay.

    Where a unit's input and output differ in shape, a sewing layer (Linear or 1x1 convolution) takes its place, fitted
    by least squares to what the removed unit did on images x: DeepArc trains it, the paper's RQ1 retrains nothing.
    """
    known = {unit.name for unit in units(net)}
    slim = copy.deepcopy(net).eval()
    for unit in gone:
        if unit.name not in known:
            raise DeepArcError(f"unit {unit.name!r} given, expected one of {', '.join(sorted(known))}.")
        before, after = _around(slim, unit, x)
        slim.set_submodule(unit.parts[0], nn.Identity() if before.shape == after.shape else _sewing(before, after))
        for part in unit.parts[1:]:
            slim.set_submodule(part, nn.Identity())
    return slim


@torch.no_grad()
def _around(net: nn.Module, unit: Unit, x: Tensor) -> tuple[Tensor, Tensor]:
    """What goes into the unit's first part and what comes out of its last one, for images x."""
    seen: dict[str, Tensor] = {}
    first, last = net.get_submodule(unit.parts[0]), net.get_submodule(unit.parts[-1])
    hooks = [
        first.register_forward_pre_hook(lambda _, inputs: seen.__setitem__("before", inputs[0].clone())),
        last.register_forward_hook(lambda *args: seen.__setitem__("after", args[2].clone())),
    ]
    try:
        net(x.to(next(net.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return seen["before"], seen["after"]


def _sewing(before: Tensor, after: Tensor) -> nn.Module:
    """The Linear or 1x1 convolution (strided where the unit was) that maps `before` to `after` best."""
    dense = before.dim() == 2
    stride = 1 if dense else before.shape[-1] // after.shape[-1]
    inputs = before if dense else before[:, :, ::stride, ::stride]
    if not dense and inputs.shape[2:] != after.shape[2:]:
        raise DeepArcError(f"no 1x1 convolution maps {tuple(before.shape)} to {tuple(after.shape)}.")
    rows = [t if dense else t.permute(0, 2, 3, 1).flatten(0, 2) for t in (inputs, after)]
    design = torch.cat([rows[0], torch.ones_like(rows[0][:, :1])], 1).double()
    # Normal equations: as large as the layer, however many positions there are; the pseudo-inverse serves dead neurons.
    solution = (torch.linalg.pinv(design.T @ design, hermitian=True) @ (design.T @ rows[1].double())).to(before)
    if dense:
        layer = nn.Linear(before.shape[1], after.shape[1])
    else:
        layer = nn.Conv2d(before.shape[1], after.shape[1], 1, stride=stride)
    with torch.no_grad():
        layer.weight.copy_(solution[:-1].T.reshape(layer.weight.shape))
        layer.bias.copy_(solution[-1])
    return layer.to(before.device)
