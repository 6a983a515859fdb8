"""Restructuring (Section 4.1): make of a slice a physically smaller network."""

import copy

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import fusion, skip_init

from nssutils import neurons
from nssutils.errors import NssError


class RestructuringError(NssError):
    """A slice that leaves no network, or a network that cannot be made smaller."""


def extract(net: nn.Module, masks, fold: bool = False) -> nn.Module:
    """A copy of the network without the neurons outside the slice: the masked network's logits, in eval mode.

    `masks` is a Slice or {layer: bool (width,)}. Weights, biases and batch normalisation of dropped neurons go, and so
    do the next layers' weights that read them. The result needs nothing of this package: the same modules, smaller;
    where a residual addition meets branches that keep different channels, a torch.fx.GraphModule that adds by index.
    `fold` multiplies batch normalisation into the layer before it and leaves an Identity: faster, but such a network
    is for use, not for training on.
    Raises RestructuringError where a layer keeps no neuron or a convolution is grouped, UnsupportedNetwork where
    neurons cannot be followed.
    """
    masks = dict(getattr(masks, "masks", masks))
    for name, mask in masks.items():
        if not mask.any():
            raise RestructuringError(
                f"layer {name!r} keeps no neuron, expected at least one: nothing would reach the rest."
            )
    small = copy.deepcopy(net).eval()
    traced = neurons.trace(small)
    alive = neurons.alive(traced, masks)
    for node in traced.graph.nodes:
        if neurons.kind(traced, node) in ("weighted", "norm"):
            module = traced.get_submodule(node.target)
            smaller = _smaller(module, neurons.inputs_alive(traced, node, alive), alive[node], node.target)
            for root in (small, traced):  # the traced network has containers of its own
                root.set_submodule(node.target, smaller)
    if fold:
        _fold(small, traced)
    return traced if _align(traced, alive) else small


def _fold(small: nn.Module, traced: fx.GraphModule) -> None:
    """Multiply each batch normalisation into the weighted layer that it alone reads, in the network and its trace."""
    for node in traced.graph.nodes:
        source = node.all_input_nodes[0] if neurons.kind(traced, node) == "norm" else None
        if source is None or neurons.kind(traced, source) != "weighted" or len(source.users) > 1:
            continue
        weighted, norm = traced.get_submodule(source.target), traced.get_submodule(node.target)
        if norm.running_mean is None:
            continue
        fuse = fusion.fuse_linear_bn_eval if isinstance(weighted, nn.Linear) else fusion.fuse_conv_bn_eval
        for path, module in ((source.target, fuse(weighted, norm)), (node.target, nn.Identity())):
            for root in (small, traced):
                root.set_submodule(path, module)


def _smaller(module: nn.Module, inputs: Tensor, outputs: Tensor, name: str) -> nn.Module:
    """The module with only the given inputs and outputs, both bool."""
    if inputs.all() and outputs.all():
        return module
    if getattr(module, "groups", 1) > 1:
        raise RestructuringError(f"layer {name!r} has {module.groups} groups, expected an ungrouped convolution.")
    n_in, n_out = int(inputs.sum()), int(outputs.sum())
    if isinstance(module, nn.Linear):
        new = skip_init(nn.Linear, n_in, n_out, module.bias is not None)
    elif isinstance(module, nn.Conv2d):
        same = {key: getattr(module, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
        new = skip_init(nn.Conv2d, n_in, n_out, bias=module.bias is not None, **same)
    else:
        new = type(module)(n_out, module.eps, module.momentum, module.affine, module.track_running_stats)
    first = next(iter(module.state_dict().values()))
    new = new.to(first.device, first.dtype)
    state = {}
    for key, tensor in module.state_dict().items():
        kept = tensor[outputs.to(tensor.device)] if tensor.dim() else tensor
        state[key] = kept[:, inputs.to(tensor.device)] if key == "weight" and tensor.dim() > 1 else kept
    new.load_state_dict(state)
    return new.train(module.training)


def _align(traced: fx.GraphModule, alive: dict[fx.Node, Tensor | None]) -> bool:
    """Make additions of branches that keep different channels add by index; whether there was one."""
    changed = False
    for node in list(traced.graph.nodes):
        whole = alive[node]
        if neurons.kind(traced, node) != "add" or whole is None:
            continue
        kept = {branch: whole if alive[branch] is None else alive[branch] for branch in node.all_input_nodes}
        if all(torch.equal(mask, whole) for mask in kept.values()):
            continue
        changed = True
        wide, narrow = sorted(kept, key=lambda branch: -int(kept[branch].sum()))
        with traced.graph.inserting_before(node):
            base = wide if torch.equal(kept[wide], whole) else _widened(traced, wide, kept[wide], whole)
            rows = _index(traced, f"{node.name}_rows", kept[narrow][whole].nonzero()[:, 0])
            added = traced.graph.call_function(torch.index_add, (base, 1, rows, narrow))
        node.replace_all_uses_with(added)
        traced.graph.erase_node(node)
    if changed:
        traced.graph.lint()
        traced.recompile()
    return changed


def _widened(traced: fx.GraphModule, branch: fx.Node, kept: Tensor, whole: Tensor) -> fx.Node:
    """A node that has the branch's channels at their places among `whole`, and zeros at the others."""
    call = traced.graph.call_function
    zero = call(torch.zeros_like, (call(torch.narrow, (branch, 1, 0, 1)),))
    padded = call(torch.cat, ((branch, zero), 1))
    places = torch.where(kept, kept.cumsum(0) - 1, kept.sum())[whole]
    return call(torch.index_select, (padded, 1, _index(traced, f"{branch.name}_places", places)))


def _index(traced: fx.GraphModule, name: str, values: Tensor) -> fx.Node:
    """A node that reads a buffer of indices, made to go where the network goes."""
    traced.register_buffer(name, values.to(next(traced.parameters()).device))
    return traced.graph.get_attr(name)
