"""Restructuring (Section 4.1): make of a slice a physically smaller network."""

import copy

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import fusion, skip_init

from nssutils import flow, graphs, neurons, operations
from nssutils.archive import load, save
from nssutils.errors import NssError

__all__ = ["RestructuringError", "extract", "load", "save"]


class RestructuringError(NssError):
    """A slice that leaves no network, or a network that cannot be made smaller."""


def extract(net: nn.Module, masks, fold: bool = False, x: Tensor | None = None, check: bool = True) -> nn.Module:
    """A copy of the network without the neurons outside the slice: the masked network's logits, in eval mode.

    `masks` is a Slice or {layer: bool (width,)}. Weights, biases and batch normalisation of dropped neurons go, and so
    do the next layers' weights that read them. Any operation may stand between: where it cannot be made smaller, it
    gets its inputs at full width (`flow`). The result needs nothing of this package (but `operations.written`, where
    forward() writes into a tensor): the same modules, smaller; where the network's own forward() does not do with
    these, a torch.fx.GraphModule.
    `fold` multiplies batch normalisation into the layer before it and leaves an Identity: faster, but such a network
    is for use, not for training on. `x` is an example, a batch of any size, for a network whose inputs cannot be
    guessed. With `check` both networks are run on random inputs of its shape (two samples), and compared.
    Raises RestructuringError where a layer keeps no neuron or the two differ.
    """
    masks = dict(getattr(masks, "masks", masks))
    for name, mask in masks.items():
        if not mask.any():
            raise RestructuringError(
                f"layer {name!r} keeps no neuron, expected at least one: nothing would reach the rest."
            )
    net = graphs.unwrapped(net)
    small = copy.deepcopy(net).eval()
    traced = graphs.trace(small, x)
    through = neurons.followed(traced, masks, x)
    sample, dtype = graphs.like(traced), next(net.parameters()).dtype
    for name, left in through.modules.items():
        smaller = _smaller(traced.get_submodule(name), left)
        for root in (small, traced):  # the traced network has containers of its own
            root.set_submodule(name, smaller)
    if not through.plain:
        small = traced = _as_module(traced, through)
        _follow_mode(net, small)
    if fold:
        _fold(small, traced)
    if check:
        _compare(net, masks, small, torch.empty(2, *sample, dtype=dtype) if x is None else x)
    return small


def _smaller(module: nn.Module, left: flow.Smaller) -> nn.Module:
    """The module with only the rows and columns that are left."""
    if left.rows.all() and left.columns.all() and left.shift is None:
        return module
    rows, columns = left.rows, left.columns
    weight = module.weight.detach() if module.weight is not None else None
    if isinstance(module, nn.Linear):
        new = _like(module, nn.Linear, int(columns.sum()), int(rows.sum()), _biased(module, left))
        with torch.no_grad():
            new.weight.copy_(weight[_on(rows, weight)][:, _on(columns[0], weight)])
    elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        live = columns.any(1)
        same = {key: getattr(module, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
        of = next(kind for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d) if isinstance(module, kind))
        new = _like(
            module, of, int(columns.sum()), int(rows.sum()), bias=_biased(module, left), groups=int(live.sum()), **same
        )
        by_group = zip(weight.chunk(len(columns)), rows.view(len(columns), -1), columns, strict=True)
        parts = [w[_on(r, w)][:, _on(c, w)] for w, r, c in by_group if c.any()]
        with torch.no_grad():
            new.weight.copy_(torch.cat(parts))
    else:
        return _fewer_channels(module, rows)
    if new.bias is not None:
        bias = torch.zeros(len(rows)) if module.bias is None else module.bias.detach().cpu()
        with torch.no_grad():
            new.bias.copy_((bias if left.shift is None else bias.double() + left.shift)[rows])
    return new.train(module.training)


def _on(mask: Tensor, tensor: Tensor) -> Tensor:
    return mask.to(tensor.device)


def _biased(module: nn.Module, left: flow.Smaller) -> bool:
    return module.bias is not None or left.shift is not None


def _like(module: nn.Module, kind: type, *args, **kwargs) -> nn.Module:
    """A module of the kind, not initialised, where the given one is and in its precision."""
    return skip_init(kind, *args, **kwargs).to(module.weight.device, module.weight.dtype)


def _fewer_channels(module: nn.Module, kept: Tensor) -> nn.Module:
    """A batch normalisation or PReLU with fewer channels."""
    new, n = copy.deepcopy(module), int(kept.sum())
    for name, tensor in (*new.named_parameters(), *new.named_buffers()):
        if tensor.dim() == 1:
            left = tensor.detach()[_on(kept, tensor)]
            owner = nn.Parameter(left, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else left
            setattr(new, name, owner)
    setattr(new, "num_features" if hasattr(new, "num_features") else "num_parameters", n)
    return new


def _as_module(traced: fx.GraphModule, through: flow.Flow) -> fx.GraphModule:
    """The network whose graph the flow has, with the tensors that it reads."""
    where = operations.device(traced)
    for name, tensor in through.tensors.items():
        if isinstance(tensor, nn.Parameter):
            traced.register_parameter(name, tensor)
        else:
            traced.register_buffer(name, tensor.to(where))
    small = fx.GraphModule(traced, through.graph, type(traced).__name__)
    small.graph.eliminate_dead_code()
    small.graph.lint()
    return fx.GraphModule(small, small.graph, type(traced).__name__)  # without what only dead code read


def _follow_mode(net: nn.Module, small: fx.GraphModule) -> None:
    """Make dropout that is called as a function a module of the extracted network: read off in eval mode, it would be
    off for good, also where the network is to be trained on."""
    calls = [node for node in small.graph.nodes if node.target in operations.DROPOUTS]
    if not calls:
        return
    twin = copy.deepcopy(net).train()
    drops = {node.name: node for node in graphs.trace(twin).graph.nodes if node.target in operations.DROPOUTS}
    for node in calls:
        in_training = drops.get(node.name)
        if in_training is None or not operations.training_of(in_training) or operations.training_of(node):
            continue
        name, p = f"{node.name}_module", node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
        small.add_submodule(name, operations.DROPOUTS[node.target](p))
        with small.graph.inserting_before(node):
            node.replace_all_uses_with(small.graph.call_module(name, (node.args[0],)))
        small.graph.erase_node(node)
    small.eval()
    small.recompile()


def _fold(small: nn.Module, traced: fx.GraphModule) -> None:
    """Multiply each batch normalisation into the weighted layer that it alone reads, in the network and its trace."""
    for node in traced.graph.nodes:
        is_norm = node.op == "call_module" and operations.kind(traced, node) == "norm"
        source = node.all_input_nodes[0] if is_norm else None
        if source is None or operations.kind(traced, source) != "weighted" or len(source.users) > 1:
            continue
        weighted, norm = traced.get_submodule(source.target), traced.get_submodule(node.target)
        if norm.running_mean is None or len(norm.running_mean) != len(weighted.weight):
            continue
        fuse = fusion.fuse_linear_bn_eval if isinstance(weighted, nn.Linear) else fusion.fuse_conv_bn_eval
        for path, module in ((source.target, fuse(weighted, norm)), (node.target, nn.Identity())):
            for root in (small, traced):
                root.set_submodule(path, module)


@torch.no_grad()
def _compare(net: nn.Module, masks: dict[str, Tensor], small: nn.Module, x: Tensor) -> None:
    """Raise RestructuringError unless both networks give the same on random inputs."""
    if x.is_floating_point():
        x = torch.rand(2, *x.shape[1:], generator=torch.Generator().manual_seed(0)).to(x.dtype)
    x = x[:2].to(operations.device(net))
    with neurons.evaluating(net):
        traced = graphs.seen(net, x)
        with neurons.masked(traced, masks):
            off = graphs.differ(traced(x), small(x))
    if off:
        raise RestructuringError(f"the extracted network gives other outputs than the masked network: {off}.")
