"""Which neurons a network has, what they do on given inputs, and how to switch them off.

A neuron is a unit of a Linear layer or an output channel of a Conv2d layer; its value is read after the batch
normalisation and activation that follow. The network's dataflow is read off by `torch.fx`, so in-place, shared and
functional activations are all seen where they are called; the network itself is never changed.
"""

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from nssutils.errors import NssError


class UnsupportedNetwork(NssError):
    """A network with a part that cannot be sliced; the message names the part."""


@dataclass(frozen=True)
class NeuronLayer:
    """A hidden layer whose neurons can be scored, masked and extracted."""

    name: str  # of the weighted module, as in named_modules()
    width: int  # neurons: units of a Linear, output channels of a Conv2d
    kind: str  # "dense" or "conv"
    weighted: str  # fx node of the weighted module's call
    site: str  # fx node where the neurons' values are read and masked


# What each operation does to a tensor of neurons. Everything not named here is "other", and refused where it matters.
_MODULES = {
    "weighted": (nn.Linear, nn.Conv2d),
    "norm": (nn.BatchNorm1d, nn.BatchNorm2d),
    "activation": (
        nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh,
        nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign,
    ),
    "maxpool": (nn.MaxPool2d, nn.AdaptiveMaxPool2d),
    "pool": (nn.AvgPool2d, nn.AdaptiveAvgPool2d),
    "same": (nn.Identity, nn.Dropout, nn.Dropout2d),
    "flatten": (nn.Flatten,),
}  # fmt: skip
_FUNCTIONS = {
    "activation": (
        F.relu, torch.relu, torch.relu_, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish,
        F.hardswish, F.hardtanh, F.hardsigmoid, F.sigmoid, torch.sigmoid, F.tanh, torch.tanh, F.softplus, F.softsign,
    ),
    "maxpool": (F.max_pool2d, torch.max_pool2d, F.adaptive_max_pool2d),
    "pool": (F.avg_pool2d, F.adaptive_avg_pool2d),
    "same": (F.dropout, F.dropout2d),
    "flatten": (torch.flatten, torch.reshape),
    "mean": (torch.mean,),
    "add": (torch.add, operator.add, operator.iadd),
    "cat": (torch.cat, torch.concat),
    "shape": (operator.getitem, getattr, operator.mul, operator.floordiv),
}  # fmt: skip
_METHODS = {
    "activation": ("relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_"),
    "same": ("contiguous", "clone"),
    "flatten": ("flatten", "view", "reshape"),
    "mean": ("mean",),
    "add": ("add", "add_"),
    "shape": ("size", "dim"),
}


def trace(net: nn.Module) -> fx.GraphModule:
    """The network's dataflow graph; its modules are the network's own, not copies.

    What is traced already comes back as it is, so that a caller with many masks to try traces once.
    Raises UnsupportedNetwork for control flow that depends on the data and for weights used outside a module.
    """
    if isinstance(net, fx.GraphModule):
        return net
    try:
        traced = fx.symbolic_trace(net)
    except Exception as error:  # whatever forward() trips over when handed a symbolic tensor
        raise UnsupportedNetwork(
            f"the dataflow of {type(net).__name__} cannot be traced ({type(error).__name__}: {error}). Expected a "
            "forward() whose path does not depend on its input."
        ) from error
    for node in traced.graph.nodes:
        if node.op == "get_attr" and isinstance(_attribute(traced, node.target), nn.Parameter):
            raise UnsupportedNetwork(
                f"parameter {node.target!r} is used by a function, expected weights in Linear and Conv2d modules only."
            )
        if node.op == "call_module":
            module = traced.get_submodule(node.target)
            weights = [name for name, p in module.named_parameters(recurse=False) if p.dim() > 1]
            if weights and not isinstance(module, _MODULES["weighted"]):
                raise UnsupportedNetwork(
                    f"module {node.target!r} is a {type(module).__name__} with weights, expected Linear or Conv2d."
                )
    return traced


def kind(traced: fx.GraphModule, node: fx.Node) -> str:
    """What a node does: "input", "output", "weighted", "norm", "activation", "maxpool", "pool" (linear), "same"
    (values pass unchanged in eval mode), "flatten", "mean", "add", "cat", "shape" (sizes, not values), or "other"."""
    if node.op in ("placeholder", "output"):
        return {"placeholder": "input", "output": "output"}[node.op]
    if node.op == "call_module":
        module = traced.get_submodule(node.target)
        if getattr(module, "return_indices", False):
            return "other"
        return next((name for name, types in _MODULES.items() if type(module) in types), "other")
    table = {"call_function": _FUNCTIONS, "call_method": _METHODS}.get(node.op, {})
    found = next((name for name, targets in table.items() if node.target in targets), "other")
    if found == "shape" and node.target is operator.getitem and kind(traced, node.args[0]) != "shape":
        return "other"  # picks values out of a tensor
    if found == "shape" and node.target in (operator.mul, operator.floordiv):
        return "shape" if all(kind(traced, n) == "shape" for n in node.all_input_nodes) else "other"
    return found


def layers(net: nn.Module) -> dict[str, NeuronLayer]:
    """The hidden layers of any tree of Linear or Conv2d, batch normalisation and activation modules or functions.

    {name: NeuronLayer} in forward order. Left out: output layers (no weighted layer follows) and the projections of
    residual shortcuts (a branch without activation into an addition whose other branch is deeper), so that what a
    residual block adds can be sliced while the shortcut survives.
    Raises UnsupportedNetwork naming what cannot be handled, as a weighted module that is called twice.
    """
    return layers_of(trace(net))


def layers_of(traced: fx.GraphModule) -> dict[str, NeuronLayer]:
    """`layers` of a network that is traced already."""
    depth, leads_on, found = _depth(traced), _leads_on(traced), {}
    called = [node.target for node in leads_on]
    for node in leads_on:
        if called.count(node.target) > 1:
            raise UnsupportedNetwork(
                f"layer {node.target!r} is called more than once: its neurons have no single value. Expected one call."
            )
        site, active = _site(traced, node)
        if not leads_on[node] or (not active and _is_shortcut(traced, site, depth)):
            continue
        module = traced.get_submodule(node.target)
        dense = isinstance(module, nn.Linear)
        found[node.target] = NeuronLayer(
            node.target, module.out_features if dense else module.out_channels, "dense" if dense else "conv",
            node.name, site.name,
        )  # fmt: skip
    if not found:
        raise UnsupportedNetwork(
            "the network has no hidden layer: expected a Linear or Conv2d that another one follows."
        )
    return found


def run(traced: fx.GraphModule, at: dict[str, Callable[[Tensor], Tensor | None]], x: Tensor) -> Tensor:
    """The network's output for x; `at[node]` is shown that node's value and may return another to go on with."""
    return Visitor(traced, at).run(x)


class Visitor(fx.Interpreter):
    """Runs a traced network node by node; `at` is as in `run`."""

    def __init__(self, traced: fx.GraphModule, at: dict[str, Callable[[Tensor], Tensor | None]]):
        super().__init__(traced)
        self.at = at
        self.extra_traceback = False  # an error's own words say enough; torch would add a page on the graph

    def run_node(self, node: fx.Node):
        return self.visit(node, super().run_node(node))

    def visit(self, node: fx.Node, value):
        """The node's value, or what its visitor puts in its place."""
        visitor = self.at.get(node.name)
        replaced = visitor(value) if visitor else None
        return value if replaced is None else replaced


def reduce(value: Tensor, spatial: str) -> Tensor:
    """A layer's values (N, width) or (N, width, H, W) as (N, width, S): S = 1 for "mean", H*W for "flatten"."""
    if spatial not in ("mean", "flatten"):
        raise NssError(f"spatial={spatial!r} given, expected 'mean' or 'flatten'.")
    value = value.flatten(2) if value.dim() > 2 else value.unsqueeze(2)
    return value.mean(2, keepdim=True) if spatial == "mean" else value


@torch.no_grad()
def record(net: nn.Module, x: Tensor, spatial: str = "mean", batch_size: int = 500) -> dict[str, Tensor]:
    """Every hidden layer's values on x: {name: (N, width, S)}, on the network's device, in eval mode.

    S = 1 for dense layers and for spatial="mean", H*W for spatial="flatten".
    """
    where = next(net.parameters()).device
    parts: dict[str, list[Tensor]] = {}
    with evaluating(net):
        traced = trace(net)
        found = layers_of(traced)
        for batch in x.split(batch_size):
            # Cloned: what follows may overwrite the value in place (a residual addition does).
            visits = {
                layer.site: lambda value, name=layer.name: parts.setdefault(name, []).append(
                    reduce(value, spatial).clone()
                )
                for layer in found.values()
            }
            run(traced, visits, batch.to(where))
    return {name: torch.cat(values) for name, values in parts.items()}


@contextmanager
def masked(net: nn.Module, masks) -> Iterator[nn.Module]:
    """Within the block, `net` computes with every neuron outside the masks at zero, after its activation.

    `masks` is a Slice or {layer: bool (width,)}, True = kept; layers that it does not name are left whole.
    """
    masks = getattr(masks, "masks", masks)
    plans = {net.training: _mask_plan(net, masks)}

    def forward(x: Tensor) -> Tensor:
        if net.training not in plans:  # the path through forward() may depend on the mode, as with F.dropout
            plans[net.training] = _mask_plan(net, masks)
        return run(*plans[net.training], x)

    before = vars(net).get("forward")
    net.forward = forward
    try:
        yield net
    finally:
        if before is None:
            del net.forward
        else:
            net.forward = before


def _mask_plan(net: nn.Module, masks: dict[str, Tensor]) -> tuple[fx.GraphModule, dict]:
    """The traced network and what to do at each masked site."""
    traced = trace(net)
    found = layers_of(traced)
    check_masks(found, masks)
    where = next(net.parameters()).device

    def zero_outside(mask: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda value: value * mask.view(-1, *[1] * (value.dim() - 2))

    return traced, {found[name].site: zero_outside(mask.to(where)) for name, mask in masks.items()}


def check_masks(found: dict[str, NeuronLayer], masks: dict[str, Tensor]) -> None:
    """Raise NssError unless the masks name layers of the network and are boolean and as wide as these."""
    for name, mask in masks.items():
        if name not in found:
            raise NssError(f"the mask names layer {name!r}, but the network's hidden layers are {', '.join(found)}.")
        if mask.dtype != torch.bool or tuple(mask.shape) != (found[name].width,):
            raise NssError(
                f"the mask of layer {name!r} is {mask.dtype} {tuple(mask.shape)}, "
                f"expected torch.bool ({found[name].width},)."
            )


@contextmanager
def evaluating(net: nn.Module) -> Iterator[nn.Module]:
    """Within the block the network is in eval mode; afterwards each module is in the mode it was in."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield net
    finally:
        for module, mode in modes.items():
            module.training = mode


def count_kept(net: nn.Module, masks: dict[str, Tensor]) -> int:
    """Parameters that connect kept neurons to kept neurons, with their biases and batch normalisation.

    Layers without a mask keep all outputs; a layer's inputs are those its inputs' masks keep. At a residual addition
    an input is alive where either branch is, so what reads the sum of a block and its shortcut keeps all its inputs.
    For the MLP with a and b kept neurons: 785a + b(a + 1) + 10(b + 1).
    Raises UnsupportedNetwork for an operation through which neurons cannot be followed.
    """
    traced = trace(net)
    kept, total, seen = alive(traced, masks), 0, set()
    for node in traced.graph.nodes:
        if kind(traced, node) in ("weighted", "norm") and node.target not in seen:
            seen.add(node.target)
            module = traced.get_submodule(node.target)
            if isinstance(module, _MODULES["norm"]):
                total += 2 * int(kept[node].sum()) if module.affine else 0
            else:
                total += _kept_weights(module, inputs_alive(traced, node, kept), kept[node])
    return total


def alive(traced: fx.GraphModule, masks: dict[str, Tensor]) -> dict[fx.Node, Tensor | None]:
    """Which channels of each node can differ from zero under the masks: bool (channels,), or None where all can and
    their number is not known, as for the input. Raises UnsupportedNetwork as `count_kept`."""
    check_masks(layers_of(traced), masks)
    found: dict[fx.Node, Tensor | None] = {}
    for node in traced.graph.nodes:
        what = kind(traced, node)
        inputs = [found[n] for n in node.all_input_nodes]
        if what in ("input", "shape", "output"):
            found[node] = None
        elif what == "weighted":
            module = traced.get_submodule(node.target)
            width = module.out_features if isinstance(module, nn.Linear) else module.out_channels
            found[node] = masks[node.target].cpu() if node.target in masks else torch.ones(width, dtype=torch.bool)
        elif what == "norm":
            found[node] = inputs_alive(traced, node, found)
        elif what in ("activation", "maxpool", "pool", "same", "flatten", "mean"):
            found[node] = inputs[0]
        elif what == "add":
            known = [mask for mask in inputs if mask is not None]
            some = torch.stack(known).any(0) if known else None
            found[node] = some if len(known) == len(inputs) or not known else torch.ones_like(some)
        elif what == "cat" and all(mask is not None for mask in inputs):
            found[node] = torch.cat(inputs)
        else:
            raise UnsupportedNetwork(f"neurons cannot be followed through {node.name!r} ({node.target}).")
    return found


def inputs_alive(traced: fx.GraphModule, node: fx.Node, found: dict[fx.Node, Tensor | None]) -> Tensor:
    """Which inputs of a weighted or normalising node are alive, bool (inputs,): a channel's mask is repeated where
    flattening has made several inputs of it."""
    module, mask = traced.get_submodule(node.target), found[node.all_input_nodes[0]]
    widths = (getattr(module, name, None) for name in ("in_features", "in_channels", "num_features"))
    width = next(width for width in widths if width is not None)
    if mask is None:
        return torch.ones(width, dtype=torch.bool)
    if width % len(mask):
        raise UnsupportedNetwork(f"{node.name!r} reads {width} features, which {len(mask)} channels do not divide.")
    return mask.repeat_interleave(width // len(mask))


def _kept_weights(module: nn.Module, inputs: Tensor, kept: Tensor) -> int:
    n_out, bias = int(kept.sum()), module.bias is not None
    if isinstance(module, nn.Linear):
        return n_out * (int(inputs.sum()) + bias)
    read = inputs.view(module.groups, -1).sum(1)
    written = kept.view(module.groups, -1).sum(1)
    return int((read * written).sum()) * module.weight[0, 0].numel() + n_out * bias


def _attribute(root: nn.Module, path: str):
    for part in path.split("."):
        root = getattr(root, part)
    return root


def _site(traced: fx.GraphModule, node: fx.Node) -> tuple[fx.Node, bool]:
    """Where a weighted node's neurons are read: past the BN and activation that alone use it; and whether one acts."""
    site, active, here = node, False, node
    while len(here.users) == 1:
        here = next(iter(here.users))
        what = kind(traced, here)
        if what not in ("norm", "activation", "same"):
            break
        if what != "same":
            site, active = here, active or what == "activation"
    return site, active


def _depth(traced: fx.GraphModule) -> dict[fx.Node, int]:
    """How many weighted layers the longest path to each node has."""
    depth: dict[fx.Node, int] = {}
    for node in traced.graph.nodes:
        before = max((depth[n] for n in node.all_input_nodes), default=0)
        depth[node] = before + (kind(traced, node) == "weighted")
    return depth


def _leads_on(traced: fx.GraphModule) -> dict[fx.Node, bool]:
    """For each weighted node, in forward order, whether another weighted layer follows it."""
    follows: dict[fx.Node, bool] = {}
    for node in reversed(traced.graph.nodes):
        follows[node] = any(follows[user] or kind(traced, user) == "weighted" for user in node.users)
    return {node: follows[node] for node in traced.graph.nodes if kind(traced, node) == "weighted"}


def _is_shortcut(traced: fx.GraphModule, site: fx.Node, depth: dict[fx.Node, int]) -> bool:
    """Whether an addition takes the site's value beside that of a deeper branch."""
    additions = [user for user in site.users if kind(traced, user) == "add"]
    return any(depth[other] > depth[site] for add in additions for other in add.all_input_nodes if other is not site)
