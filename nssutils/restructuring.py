"""Restructuring (Section 4.1): make of a slice a physically smaller network."""

import copy
import itertools

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import fusion, parametrize, skip_init

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
    these, a torch.fx.GraphModule, whose forward() takes the input alone and which has no attributes or methods of the
    network's own. Where it would be trained otherwise than the network, it is refused; but what batch normalisation
    makes of dropped neurons, where it reads them (as a DenseNet's does), stays in training what it is in eval mode.
    `fold` multiplies batch normalisation into the layer before it and leaves an Identity: faster, but such a network
    is for use, not for training on; made anew from a graph, it does in training mode what it does in eval mode.
    `x` is an example, a batch of any size, for a network whose inputs cannot be guessed, or whose forward() asks for
    sizes: made anew from a graph, it goes the way that it goes for samples like these. With `check` both networks are
    run on random inputs of its shape (two samples), and compared.
    Raises RestructuringError where a layer keeps no neuron or the two differ.
    """
    masks = neurons.of_each_layer(masks)
    for name, mask in masks.items():
        if isinstance(mask, Tensor) and not mask.any():
            raise RestructuringError(
                f"layer {name!r} keeps no neuron, expected at least one: nothing would reach the rest."
            )
    net, x = graphs.unwrapped(net), None if x is None else torch.as_tensor(x)
    _compute_weights(net)
    with neurons.evaluating(net):
        traced = graphs.trace(net, x)
        through = neurons.followed(traced, masks, x)
        fewer = {name: left for name, left in through.modules.items() if not left.whole}
        small = _copied(net, {name: _smaller(net.get_submodule(name), left) for name, left in fewer.items()}).eval()
    if not fold:
        _check_tied(net, set(fewer))
    like = x
    if like is None:
        like = torch.empty(2, *graphs.like(traced), dtype=next(net.parameters()).dtype, device="meta")
    if through.plain and _reads_sizes(traced, small, x):
        through.plain = False
    if not through.plain:
        if x is None and not graphs.general(traced):
            raise RestructuringError(
                f"which way {type(net).__name__}'s forward() goes was read off for samples {graphs.like(traced)}, a "
                "guess, and the extracted network would always go that way. Give an example of what it is for: x=..."
            )
        small = _as_module(small, traced, through)
    if fold:
        shapes = {node.name: node.meta["shape"] for node in traced.graph.nodes}
        _fold(small, traced if through.plain else small, shapes)
    elif through.plain:
        _check_training(net, small, traced, masks, through, like)
    else:
        _follow_mode(net, small, traced, like)
    if check:
        _compare(net, masks, small, like)
    return small


def _copied(net: nn.Module, others: dict[str, nn.Module]) -> nn.Module:
    """A copy of the network with other modules in the place of some, whose own tensors are not copied."""
    held = {id(tensor) for name, module in net.named_modules() if name not in others for tensor in _own(module)}
    gone = [tensor for name in others for tensor in _own(net.get_submodule(name))]
    copied = graphs.copied(net, {id(tensor): tensor for tensor in gone if id(tensor) not in held})
    graphs.put(copied, others)
    return copied


def _check_tied(net: nn.Module, fewer: set[str]) -> None:
    """Raise UnsupportedNetwork where modules that share a parameter would each get their own part of it."""
    users: dict[nn.Parameter, dict[nn.Module, str]] = {}
    for name, module in net.named_modules():
        for parameter in module.parameters(recurse=False):
            users.setdefault(parameter, {})[module] = name
    smaller = {net.get_submodule(name) for name in fewer}
    for modules in (modules for modules in users.values() if len(modules) > 1):
        names = list(modules.values())
        if not smaller.isdisjoint(modules):
            raise operations.UnsupportedNetwork(
                f"{' and '.join(map(repr, names))} share a parameter, and each would have its own part of it: the "
                "extracted network would be trained otherwise. With fold=True it is extracted for use alone."
            )


def _own(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]


def _smaller(module: nn.Module, left: flow.Smaller) -> nn.Module:
    """The module with only the rows and columns that are left."""
    rows, columns = left.rows, left.columns
    weight = module.weight.detach() if module.weight is not None else None
    if isinstance(module, nn.Linear):
        new = _like(module, nn.Linear, int(columns.sum()), int(rows.sum()), _biased(module, left))
        with torch.no_grad():
            new.weight.copy_(_picked(weight, rows, columns[0]))
    elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        live = columns.any(1)
        same = {key: getattr(module, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
        of = next(kind for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d) if isinstance(module, kind))
        new = _like(
            module, of, int(columns.sum()), int(rows.sum()), bias=_biased(module, left), groups=int(live.sum()), **same
        )
        by_group = zip(weight.chunk(len(columns)), rows.view(len(columns), -1), columns, strict=True)
        parts = [_picked(w, r, c) for w, r, c in by_group if c.any()]
        with torch.no_grad():
            new.weight.copy_(torch.cat(parts))
    else:
        return _fewer_channels(module, rows)
    if new.bias is not None:
        bias = torch.zeros(len(rows)) if module.bias is None else module.bias.detach().cpu()
        with torch.no_grad():
            new.bias.copy_((bias if left.shift is None else bias.double() + left.shift)[rows])
        new.bias.requires_grad_((module.weight if module.bias is None else module.bias).requires_grad)
    new.weight.requires_grad_(module.weight.requires_grad)
    for name, value in vars(module).items():  # what a user has put there
        if name not in new._parameters:  # a weight that torch.nn.utils.weight_norm has computed is the new one's own
            vars(new).setdefault(name, value)
    return new.train(module.training)


def _picked(weight: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    rows, columns = (mask.nonzero()[:, 0].to(weight.device) for mask in (rows, columns))
    return weight.index_select(0, rows).index_select(1, columns)


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


def _as_module(copied: nn.Module, traced: fx.GraphModule, through: flow.Flow) -> fx.GraphModule:
    """The network whose graph the flow has, with the tensors that it reads, of the modules of a copy."""
    where = operations.device(copied)
    for node in through.graph.nodes:
        if node.op == "get_attr" and "." not in node.target and hasattr(traced, node.target):
            if not hasattr(copied, node.target):  # a constant that forward() makes
                copied.register_buffer(node.target, operations.attribute(traced, node.target).clone())
    for name, tensor in through.tensors.items():
        if isinstance(tensor, nn.Parameter):
            copied.register_parameter(name, tensor)
        else:
            copied.register_buffer(name, tensor.to(where))
    small = fx.GraphModule(copied, through.graph, type(copied).__name__)
    small.graph.eliminate_dead_code()
    small.graph.lint()
    return fx.GraphModule(small, small.graph, type(copied).__name__)  # without what only dead code read


def _check_training(
    net: nn.Module, small: nn.Module, traced: fx.GraphModule, masks: dict[str, Tensor], through: flow.Flow, x: Tensor
) -> None:  # fmt: skip
    """Raise UnsupportedNetwork where in training mode forward() goes another way, as to auxiliary outputs, on which the
    smaller modules cannot be called, or do not do what the masked network's do."""
    twin = _twin(net).train()
    fails = graphs.fails(small.train(), x)
    small.eval()
    if fails and not graphs.fails(twin, x):
        raise operations.UnsupportedNetwork(
            f"in training mode the extracted {type(net).__name__} cannot run ({fails}): what eval mode does not call "
            "is not made smaller. With fold=True it is extracted for use alone."
        )
    try:
        trained = graphs.trace(twin, x)
    except operations.UnsupportedNetwork:  # as of layers that are left out at random: that it runs is all that is known
        return
    try:
        _twins(traced, trained)
        return
    except operations.UnsupportedNetwork as error:
        reason = error
    try:
        there = neurons.followed(trained, masks, x)
        alike = there.plain and _alike(there.modules, through.modules)
        if alike and not _reads_sizes(trained, _twin(small).train(), x):
            return
    except NssError as error:
        reason = error
    raise operations.UnsupportedNetwork(
        f"in training mode {type(net).__name__} goes another way, on which the extracted network would do something "
        f"else than the masked one ({reason}). With fold=True it is extracted for use alone."
    )


def _alike(some: dict[str, flow.Smaller], others: dict[str, flow.Smaller]) -> bool:
    """Whether the same is left of each module."""

    def same(one: Tensor | None, other: Tensor | None) -> bool:
        return one is other or (one is not None and other is not None and torch.equal(one, other))

    return some.keys() == others.keys() and all(
        same(one.rows, other.rows) and same(one.columns, other.columns) and same(one.shift, other.shift)
        for one, other in ((some[name], others[name]) for name in some)
    )


def _compute_weights(net: nn.Module) -> None:
    """Have weights that torch.nn.utils.weight_norm computes before each call computed now: they may be of before the
    last step of an optimiser, or a file that was read."""
    for module in net.modules():
        for hook in module._forward_pre_hooks.values():
            if type(hook).__module__ == "torch.nn.utils.weight_norm":
                hook(module, None)


def _twin(net: nn.Module) -> nn.Module:
    """A copy of the network that shares its tensors: what forward() keeps besides stays with it."""
    return graphs.copied(net, {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())})


def _reads_sizes(traced: fx.GraphModule, small: nn.Module, x: Tensor | None) -> bool:
    """Whether forward() does something else with the smaller modules, as by a number that it reads off them
    (linear.in_features)."""
    try:
        return graphs.steps(traced.graph.nodes) != graphs.steps(graphs.trace(small, x).graph.nodes)
    except operations.UnsupportedNetwork:  # it cannot be called with these
        return True


def _follow_mode(net: nn.Module, small: fx.GraphModule, traced: fx.GraphModule, x: Tensor) -> None:
    """Where the network is to be trained on, make the extracted one, read off in eval mode, do as its forward() then
    does. Raises UnsupportedNetwork for what it could not do."""
    try:
        twin = _twins(traced, graphs.trace(_twin(net).train(), x))
    except operations.UnsupportedNetwork as error:
        raise operations.UnsupportedNetwork(
            f"what {type(net).__name__} does in training mode cannot be done by a graph, and the extracted network "
            f"would be trained as in eval mode: {error} With fold=True it is extracted for use alone."
        ) from error
    for node in list(small.graph.nodes):
        off = operations.dropout(node)
        if off is not None and not off.training:
            _drop_again(small, node, operations.dropout(twin[node.meta["of"]]))
    _cut_gradients(small, traced, {name for name, node in twin.items() if node.meta.get("no_grad")})
    small.eval()
    small.recompile()


def _twins(traced: fx.GraphModule, trained: fx.GraphModule) -> dict[str, fx.Node]:
    """The nodes of a network read off in training mode by the names that they have where it was read off in eval mode.
    Raises UnsupportedNetwork unless all but dropout is the same."""
    ours, theirs = _acting(traced), _acting(trained)
    place = {node: f"%{i}" for nodes in (ours, theirs) for i, node in enumerate(nodes)}
    does = dict(zip([*ours, *theirs], [*graphs.steps(ours), *graphs.steps(theirs)], strict=True))
    for node, other in itertools.zip_longest(ours, theirs):
        if node is None or other is None:
            alike = False
        elif node.op == other.op == "get_attr":
            alike = graphs.reads_alike(traced, node, trained, other)
        elif node.target in operations.DROPOUTS and other.target == node.target:
            modules = [operations.dropout(each) for each in (node, other)]
            sources = [[place[source] for source in each.all_input_nodes] for each in (node, other)]
            alike = None not in modules and sources[0] == sources[1] and not modules[0].training
            alike |= does[node] == does[other]
        else:
            alike = does[node] == does[other]
        if not alike:
            what = other if other is not None else node
            raise operations.UnsupportedNetwork(
                f"at {what.name!r} it goes another way than in eval mode; expected dropout that is called whether it "
                "is on or not, and batch normalisation as a module."
            )
        if other.op == "call_module" and _stays(trained, other):
            raise operations.UnsupportedNetwork(f"{other.target!r} stays in eval mode by its train().")
    return {node.name: other for node, other in zip(ours, theirs, strict=True)}


def _acting(traced: fx.GraphModule) -> list[fx.Node]:
    """The nodes of a graph but for those that ask for sizes of which nothing is made."""
    idle, sizes = set(), ("size", "number")
    for node in reversed(traced.graph.nodes):
        own, *read = (operations.kind(traced, each) for each in (node, *node.all_input_nodes))
        asks = own in (*sizes, "constant") or (read and all(kind in sizes for kind in read))
        if node.op != "output" and asks and idle.issuperset(node.users):
            idle.add(node)
    return [node for node in traced.graph.nodes if node not in idle]


def _stays(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a module is in eval mode and would do something else in training mode."""
    module = traced.get_submodule(node.target)
    moody = operations.kind(traced, node) in ("norm", "same", "attention", "other") and type(module) is not nn.Identity
    return moody and not module.training


def _drop_again(small: fx.GraphModule, node: fx.Node, module: nn.Module | None) -> None:
    """Make dropout that is called as a function a module, if it is on in training: as it is, it would stay off."""
    if module is None or not module.training:
        return
    name = f"{node.name}_module"
    small.add_submodule(name, module)
    with small.graph.inserting_before(node):
        node.replace_all_uses_with(small.graph.call_module(name, (node.args[0],)))
    small.graph.erase_node(node)


def _cut_gradients(small: fx.GraphModule, traced: fx.GraphModule, without: set[str]) -> None:
    """Let no gradient go back to the values that forward() computes without one."""
    tensors = {node.name for node in traced.graph.nodes if isinstance(node.meta["shape"], torch.Size)}
    for node in [node for node in small.graph.nodes if node.meta.get("of", node.name) in without & tensors]:
        if after := [user for user in node.users if user.meta.get("of", user.name) not in without]:
            with small.graph.inserting_after(node):
                value = small.graph.call_method("detach", (node,))
            for user in after:
                user.replace_input_with(node, value)


def _fold(small: nn.Module, traced: fx.GraphModule, shapes: dict[str, torch.Size]) -> None:
    """Multiply each batch normalisation into the weighted layer that it alone reads; `traced` says what reads what, and
    `shapes` what the whole network's nodes give."""
    called, read, folded = [node.target for node in traced.graph.nodes], operations.read_besides(traced), {}
    for node in traced.graph.nodes:
        is_norm = node.op == "call_module" and operations.kind(traced, node) == "norm"
        source = node.all_input_nodes[0] if is_norm else None
        if source is None or operations.kind(traced, source) != "weighted" or len(source.users) > 1:
            continue
        weighted, norm = small.get_submodule(source.target), small.get_submodule(node.target)
        once = all(called.count(each) == 1 and each not in read for each in (source.target, node.target))
        if not once or norm.running_mean is None or len(norm.running_mean) != len(weighted.weight):
            continue
        tokens = isinstance(weighted, nn.Linear) and len(shapes[source.meta.get("of", source.name)]) > 2
        if tokens or parametrize.is_parametrized(weighted):  # normalised along another axis; computed from others
            continue
        fuse = fusion.fuse_linear_bn_eval if isinstance(weighted, nn.Linear) else fusion.fuse_conv_bn_eval
        folded |= {source.target: fuse(weighted, norm), node.target: nn.Identity()}
    graphs.put(small, folded)


@torch.no_grad()
def _compare(net: nn.Module, masks: dict[str, Tensor], small: nn.Module, x: Tensor) -> None:
    """Raise RestructuringError unless both networks give the same on random inputs."""
    if x.is_floating_point():
        x = torch.rand(2, *x.shape[1:], generator=torch.Generator().manual_seed(0)).to(x.dtype)
    x = x[:2].to(operations.device(net))
    with neurons.evaluating(net):
        traced = graphs.seen(net, x)
        with neurons.masked(traced, masks):
            off = graphs.differ(traced(x), small(x.clone()))
    if off:
        raise RestructuringError(f"the extracted network gives other outputs than the masked network: {off}.")
