"""Which neurons a network has, what they do on given inputs, and how to switch them off.

A neuron is a unit of a Linear layer or an output channel of a convolution; its value is read after the normalisation
and activation that follow. What a unit does at several places, as for each token of a sequence, is its value over
space, as for a channel. The network itself is never changed.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import prune

from nssutils import flow, graphs, operations, samples
from nssutils.errors import NssError
from nssutils.operations import UnsupportedNetwork


@dataclass(frozen=True)
class NeuronLayer:
    """A hidden layer whose neurons can be scored, masked and extracted."""

    name: str  # of the weighted module, as in named_modules()
    width: int  # neurons: units of a Linear, output channels of a convolution
    kind: str  # "dense" or "conv"
    weighted: str  # fx node of the weighted module's call
    site: str  # fx node where the neurons' values are read and masked
    at_once: bool = field(repr=False)  # whether all between the two acts on each neuron by itself

    @property
    def axis(self) -> int:
        """Which axis of the site's value is the neurons'."""
        return -1 if self.kind == "dense" else 1


def layers(net: nn.Module, x: Tensor | None = None) -> dict[str, NeuronLayer]:
    """The hidden layers of a network of Linear and convolutions, whatever else it is made of.

    {name: NeuronLayer} in forward order; `x` is an example, for a network that cannot be read off without one. Left
    out: output layers (nothing with weights follows); layers that the output does not depend on; layers that do not see
    the input, as those that make a bias of positions; layers that are called more than once; the projections of
    residual shortcuts (a branch without activation into an addition whose other branch is deeper), so that what a
    residual block adds can be sliced while the shortcut survives; modules with a user's hook, as torch.nn.utils.prune
    leaves one, or with a forward() of their own; and what meets a layer normalisation or an attention without an
    activation before: a transformer's embeddings, its queries, keys and values, and what its blocks add. So its neurons
    are the hidden units of its MLP blocks.
    Raises UnsupportedNetwork for a network that cannot be traced or has no hidden layer.
    """
    return layers_of(graphs.trace(net, x))


def layers_of(traced: fx.GraphModule) -> dict[str, NeuronLayer]:
    """`layers` of a network that is traced already."""
    depth, leads_on, seeing, ends = _depth(traced), _leads_on(traced), _seeing(traced), _ending(traced)
    found: dict[str, NeuronLayer] = {}
    left_out: dict[str, str] = {}
    called = [node.target for node in leads_on]
    for node in leads_on:
        site, active, at_once = _site(traced, node)
        if node not in ends:
            left_out[node.target] = "does not reach the output"
        elif not leads_on[node]:
            left_out[node.target] = "is an output layer"
        elif node not in seeing:
            left_out[node.target] = "does not see the input"
        elif called.count(node.target) > 1:
            left_out[node.target] = "is called more than once: its neurons have no single value"
        elif not active and _is_shortcut(traced, site, depth):
            left_out[node.target] = "is the projection of a shortcut"
        elif not active and (mixer := _mixer(traced, site)) is not None:
            what = operations.called(traced, mixer)
            left_out[node.target] = f"has no activation before {mixer.name!r} ({what}), which may look across neurons"
        if node.target in left_out:
            continue
        module = traced.get_submodule(node.target)
        dense = isinstance(module, nn.Linear)
        found[node.target] = NeuronLayer(
            node.target, module.out_features if dense else module.out_channels, "dense" if dense else "conv",
            node.name, site.name, at_once,
        )  # fmt: skip
    if not found:
        for node in traced.graph.nodes:
            module = traced.get_submodule(node.target) if node.op == "call_module" else None
            if node.op == "get_attr" and any(operations.weighs(traced, user) for user in node.users):
                left_out[node.target] = "is used by a function"
            elif isinstance(module, operations.MODULES["weighted"]) and prune.is_pruned(module):
                left_out[node.target] = "is pruned by a hook (torch.nn.utils.prune.remove makes it permanent)"
            elif isinstance(module, operations.MODULES["weighted"]) and node.target not in left_out:
                left_out[node.target] = "has a hook, or a forward() of its own"
        why = "".join(f"; {name!r} {reason}" for name, reason in left_out.items())
        raise UnsupportedNetwork(
            f"the network has no hidden layer: expected a Linear or convolution that another one follows{why}."
        )
    return found


def reduce(value: Tensor, spatial: str, axis: int = 1) -> Tensor:
    """A layer's values, neurons along `axis`, (N, width) or (N, width, H, W) or (N, T, width), as (N, width, S): S = 1
    for spatial="mean", the number of places for "flatten"."""
    if spatial not in ("mean", "flatten"):
        raise NssError(f"spatial={spatial!r} given, expected 'mean' or 'flatten'.")
    value = value.movedim(axis, 1).flatten(2) if value.dim() > 2 else value.unsqueeze(2)
    return value.mean(2, keepdim=True) if spatial == "mean" else value


@torch.no_grad()
def record(net: nn.Module, x: Tensor, spatial: str = "mean", batch_size: int = 500) -> dict[str, Tensor]:
    """Every hidden layer's values on x: {name: (N, width, S)}, on the network's device, in eval mode, masked or not.

    S = 1 for dense layers and for spatial="mean"; the number of places, as H*W, for spatial="flatten".
    """
    where, x = operations.device(net), samples.checked(x)
    parts: dict[str, list[Tensor]] = {}
    with evaluating(net):
        traced, at = net.forward.plan(x) if is_masked(net) else (graphs.seen(net, x[:2].to(where)), {})
        found = layers_of(traced)
        check_rows(traced, found, x[:1].to(where))

        def visit(value: Tensor, layer: NeuronLayer) -> Tensor:
            value = at[layer.site](value) if layer.site in at else value
            # Cloned: what follows may overwrite the value in place (a residual addition does).
            parts.setdefault(layer.name, []).append(reduce(value, spatial, layer.axis).clone())
            return value

        visits = {layer.site: lambda value, layer=layer: visit(value, layer) for layer in found.values()}
        for batch in x.split(batch_size):
            graphs.run(traced, visits, batch.to(where))
    return {name: torch.cat(values) for name, values in parts.items()}


@torch.no_grad()
def check_rows(traced: fx.GraphModule, found: dict[str, NeuronLayer], x: Tensor) -> None:
    """Raise UnsupportedNetwork unless each layer's value has one row for each sample, however many there are of x (1,
    ...)."""

    def check(value: Tensor, layer: NeuronLayer, n: int) -> None:
        if len(value) != n:
            raise UnsupportedNetwork(
                f"layer {layer.name!r} gives {tuple(value.shape)} for {n} samples: which rows are whose cannot be "
                "told. Expected samples first, not folded into another axis, as with x.view(N * T, F)."
            )

    for n in (2, 3):  # an axis of another meaning may have one of these sizes
        visits = {layer.site: lambda value, layer=layer, n=n: check(value, layer, n) for layer in found.values()}
        graphs.run(traced, visits, x.repeat(n, *[1] * (x.dim() - 1)))


@contextmanager
def masked(net: nn.Module, masks) -> Iterator[nn.Module]:
    """Within the block, `net` computes with every neuron outside the masks at zero, after its activation.

    `masks` is a Slice or {layer: bool (width,)}, True = kept; layers that it does not name are left whole. In a block
    within a block the masks of both hold. What forward() does besides, as hooks on modules that it is made of by their
    own forward(), or values that it keeps, is not done within the block.
    """
    before, masks = vars(net).get("forward"), of_each_layer(masks)
    forward = _MaskedForward(net, masks, before)
    net.forward = forward
    try:
        yield net
    finally:
        if before is None:
            del net.forward
        else:
            net.forward = before


def is_masked(net: nn.Module) -> bool:
    """Whether the network computes with masks at the time."""
    return isinstance(vars(net).get("forward"), _MaskedForward)


def check_whole(net: nn.Module, error: type[NssError]) -> None:
    """Raise the error where the network is masked: for what reads the network itself, and would look past the masks."""
    if is_masked(net):
        raise error(
            f"this {type(net).__name__} is masked, expected a whole network: ask outside the block, or of the "
            "network that `restructuring.extract` makes of it."
        )


_PLAIN = (bool, int, float, str, type(None))


class _MaskedForward:
    """forward() of a masked network. What it does is laid down once for each mode, as the path may depend on it
    (F.dropout), and, where only an example shows the path, for each shape of input."""

    def __init__(self, net: nn.Module, masks: dict[str, Tensor], before: Callable | None):
        """before: the forward() that the network has in the place of its class's, that of a block around, or none."""
        self.net, self.plans, self.parts, self.seen = net, {}, (), set()
        around = isinstance(before, _MaskedForward)
        self.masks = [*(before.masks if around else ()), masks]
        self.own = before.own if around else before
        try:
            self.plan(None)
        except UnsupportedNetwork:  # one that cannot be read off before there is an input
            pass

    def __call__(self, *args, **kwargs) -> Tensor:
        x = args[0] if len(args) == 1 and not kwargs else self._input(args, kwargs)
        return graphs.run(*self.plan(x), x)

    def _input(self, args: tuple, kwargs: dict) -> Tensor:
        """What the network is called with, if all but the first argument is as if it were not given."""
        signature = inspect.signature(self.own or type(self.net).forward.__get__(self.net))
        (first, x), *others = signature.bind(*args, **kwargs).arguments.items()
        for name, value in others:
            default = signature.parameters[name].default
            plain = isinstance(value, bool | int | float | str)
            if value is not default and not (plain and type(value) is type(default) and value == default):
                raise NssError(
                    f"a masked {type(self.net).__name__} is called with {name}, expected {first} alone "
                    "and all else at its default: for another value, call the network by a module around it."
                )
        return x

    def __reduce__(self):
        raise NssError(
            f"a {type(self.net).__name__} is written to a file while it is masked, expected one outside the block: "
            "save the network and the masks, or what `restructuring.extract` makes of them."
        )

    def __deepcopy__(self, memo: dict) -> Callable:
        """A copy of a network that is masked at the time is a network of its own, and not masked."""
        copied = memo[id(self.net)]
        return copy.deepcopy(self.own, memo) if self.own is not None else type(copied).forward.__get__(copied)

    def plan(self, x: Tensor | None) -> tuple[fx.GraphModule, dict]:
        """The traced network and what to do at each masked site."""
        shape, modules = None if x is None else tuple(x.shape[1:]), list(self.net.modules())
        parts = tuple(map(id, (*modules, *self.net.parameters(False), *self.net.buffers(False))))
        if parts != self.parts or len(self.plans) > 16:  # others, as torch.func.functional_call puts in their place
            self.parts = parts
            self.plans.clear()
        # What forward() may go by: modes, and numbers that a user sets.
        state = tuple(value for module in modules for value in vars(module).values() if type(value) in _PLAIN)
        plan = next((self.plans[key] for key in ((state, None), (state, shape)) if key in self.plans), None)
        plan = self._made(x, (state, shape)) if plan is None else plan
        # In training mode a layer may draw, and nothing can be compared.
        if x is not None and (state, shape) not in self.seen and not any(module.training for module in modules):
            with self._whole():
                if graphs.check_forward(self.net, plan[0], x[:2]):
                    self.seen.add((state, shape))
        return plan

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Within the block the network has its own forward()."""
        forward = vars(self.net).pop("forward", None)
        if self.own is not None:
            self.net.forward = self.own
        try:
            yield
        finally:
            vars(self.net).pop("forward", None)
            if forward is not None:
                self.net.forward = forward

    def _made(self, x: Tensor | None, key: tuple) -> tuple[fx.GraphModule, dict]:
        """A plan made anew, and kept where it holds for more than x."""
        state, shape = key
        with self._whole():
            traced = graphs.trace(self.net, x)
        found, where, kept = layers_of(traced), operations.device(self.net), {}
        for masks in self.masks:
            check_masks(found, masks)
            for name, mask in masks.items():
                kept[name] = kept.get(name, True) & mask.to(where)

        def zero_outside(mask: Tensor, axis: int) -> Callable[[Tensor], Tensor]:
            # Not a product: what is not finite would stay so.
            return lambda value: torch.where(mask if axis == -1 else mask.view(-1, *[1] * (value.dim() - 2)), value, 0)

        at = {found[name].site: zero_outside(mask, found[name].axis) for name, mask in kept.items()}
        general = graphs.general(traced)
        if general or x is not None:  # a guessed example says nothing of the inputs to come
            self.plans[state, None if general else shape] = traced, at
        return traced, at


def wrapping(net: nn.Module) -> str:
    """What the names of a wrapped network's parts begin with, such as "module." within DataParallel."""
    inner = graphs.unwrapped(net)
    name = next(name for name, module in net.named_modules() if module is inner)
    return f"{name}." if name else ""


def of_each_layer(masks) -> dict[str, Tensor]:
    """The masks {layer: bool (width,)} of a Slice, or as they are given so. Raises NssError for anything else."""
    masks = getattr(masks, "masks", masks)
    if not isinstance(masks, Mapping):
        raise NssError(f"masks={masks!r} given, expected a Slice or {{layer: bool tensor (width,)}}.")
    return dict(masks)


def check_masks(found: dict[str, NeuronLayer], masks: dict[str, Tensor]) -> None:
    """Raise NssError unless the masks name layers of the network and are boolean and as wide as these."""
    for name, mask in masks.items():
        if name not in found:
            raise NssError(f"the mask names layer {name!r}, but the network's hidden layers are {', '.join(found)}.")
        tensor = isinstance(mask, Tensor)
        if not tensor or mask.dtype != torch.bool or tuple(mask.shape) != (found[name].width,):
            given = f"{mask.dtype} {tuple(mask.shape)}" if tensor else f"a {type(mask).__name__}, no tensor"
            raise NssError(f"the mask of layer {name!r} is {given}, expected torch.bool ({found[name].width},).")


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


def followed(
    traced: fx.GraphModule, masks: dict[str, Tensor], x: Tensor | None = None,
    outputs: tuple[fx.Node, Tensor] | None = None,
) -> flow.Flow:  # fmt: skip
    """What the masks leave of a traced network, and the mask of its output layer's node: see `flow`. Raises NssError
    for masks that are not this network's."""
    found = layers_of(traced)
    check_masks(found, masks)
    shapes = {node.name: node.meta["shape"] for node in graphs.shapes(traced, x).graph.nodes}
    cuts = [
        flow.Cut(mask.cpu(), layer.weighted, layer.site, layer.axis % len(shapes[layer.site]), layer.at_once)
        for layer, mask in ((found[name], mask) for name, mask in masks.items())
    ]
    if outputs is not None:
        head, mask = outputs
        axis = len(shapes[head.name]) - 1 if isinstance(traced.get_submodule(head.target), nn.Linear) else 1
        cuts.append(flow.Cut(mask.cpu(), head.name, head.name, axis, at_once=True))
    return flow.follow(traced, cuts)


def count_kept(net: nn.Module, masks: dict[str, Tensor], x: Tensor | None = None) -> int:
    """Parameters that connect kept neurons to kept neurons, with their biases and batch normalisation.

    Layers without a mask keep all outputs; a layer's inputs are those its inputs' masks keep. At a residual addition
    an input is alive where either branch is, so what reads the sum of a block and its shortcut keeps all its inputs.
    What an operation without a rule reads or has is all kept, too. For the MLP with a and b kept neurons:
    785a + b(a + 1) + 10(b + 1). `x` is an example, for a network whose inputs cannot be guessed.
    """
    return sum(int(mask.sum()) for mask in kept_elements(net, masks, x).values())


def kept_elements(net: nn.Module, masks: dict[str, Tensor], x: Tensor | None = None) -> dict[str, Tensor]:
    """Which elements of each parameter `count_kept` counts: {parameter's name: bool in its shape}, on its device."""
    with evaluating(net):
        through = followed(graphs.trace(net, x), masks, x)
    meant = {name: (left.outputs, left.outputs[:, None] & left.inputs) for name, left in through.modules.items()}
    return elements(net, meant, through.constants)


def elements(
    net: nn.Module, meant: dict[str, tuple[Tensor, Tensor]], constants: dict[str, Tensor]
) -> dict[str, Tensor]:  # fmt: skip
    """{parameter's name: bool in its shape}, on its device: what is `meant` of modules, outputs (out,) and weights
    (out, in), and of `constants` that forward() reads itself; all of a parameter of which nothing is said.

    Of a parameter that several modules have it is what any of them means. Where the network is wrapped, by DataParallel
    or torch.compile, the two know its parts by their names within, and the result by those of what is given.
    """
    names, found = {id(p): name for name, p in net.named_parameters()}, {}
    for place, module in graphs.unwrapped(net).named_modules():
        owner = place.partition(".parametrizations.")[0]  # of what a weight is computed from, too
        for own, p in module.named_parameters(recurse=False, remove_duplicate=False):
            constant = constants.get(f"{place}.{own}" if place else own)
            said = [] if constant is None else [constant]
            if owner in meant:
                of = graphs.unwrapped(net).get_submodule(owner)
                said.append(_of_module(p, *meant[owner], getattr(of, "groups", 1), getattr(of, "kernel_size", ())))
            mask = torch.stack(said).any(0) if said else torch.ones(p.shape, dtype=torch.bool)
            found[names[id(p)]] = found.get(names[id(p)], torch.zeros_like(mask)) | mask
    return {name: found[name].to(p.device) for name, p in net.named_parameters()}


def _of_module(p: Tensor, outputs: Tensor, weights: Tensor, groups: int, kernel: tuple[int, ...]) -> Tensor:
    """What is meant of a module's parameter: of weights, or of what else it has for each output, such as biases."""
    mask = _weights(weights, groups)
    if p.shape == (*mask.shape, *kernel):
        return mask.view(*mask.shape, *[1] * len(kernel)).expand(p.shape)
    if p.dim() and len(p) == len(outputs):
        return outputs.view(-1, *[1] * (p.dim() - 1)).expand(p.shape)
    return torch.ones(p.shape, dtype=torch.bool)


def _weights(pairs: Tensor, groups: int) -> Tensor:
    """Of pairs (outputs, inputs) those that a convolution of groups has weights for: (outputs, inputs / groups)."""
    if groups == 1:
        return pairs
    by_group = pairs.view(groups, pairs.shape[0] // groups, groups, -1)
    return by_group[range(groups), :, range(groups)].flatten(0, 1)


def _site(traced: fx.GraphModule, node: fx.Node) -> tuple[fx.Node, bool, bool]:
    """Where a weighted node's neurons are read: past the normalisation and activation that alone use it; whether one
    acts; and whether all on the way act on each neuron by itself."""
    site, active, at_once, here, mixed = node, False, True, node, False
    while len(users := [user for user in here.users if operations.kind(traced, user) != "size"]) == 1:
        here = users[0]
        what = operations.kind(traced, here)
        if what not in ("norm", "layernorm", "activation", "prelu", "same"):
            break
        mixed |= what == "layernorm"
        active |= what in ("activation", "prelu")
        if what != "same" and (active or not mixed):  # a layer normalisation counts if an activation follows
            site, at_once = here, not mixed
    return site, active, at_once


def _depth(traced: fx.GraphModule) -> dict[fx.Node, int]:
    """How many weighted layers the longest path to each node has."""
    depth: dict[fx.Node, int] = {}
    for node in traced.graph.nodes:
        before = max((depth[n] for n in node.all_input_nodes), default=0)
        depth[node] = before + (operations.kind(traced, node) == "weighted")
    return depth


def _leads_on(traced: fx.GraphModule) -> dict[fx.Node, bool]:
    """For each weighted node, in forward order, whether something with weights follows it."""
    follows: dict[fx.Node, bool] = {}
    for node in reversed(traced.graph.nodes):
        follows[node] = any(follows[user] or operations.weighs(traced, user) for user in node.users)
    return {node: follows[node] for node in traced.graph.nodes if operations.kind(traced, node) == "weighted"}


def _ending(traced: fx.GraphModule) -> set[fx.Node]:
    """The nodes that the output is made of: not those of an auxiliary output, where a module around picks another."""
    found: set[fx.Node] = set()
    for node in reversed(traced.graph.nodes):
        if node.op == "output" or not found.isdisjoint(node.users):
            found.add(node)
    return found


def _seeing(traced: fx.GraphModule) -> set[fx.Node]:
    """The nodes whose values depend on the input's, not on its sizes alone."""
    found: set[fx.Node] = set()
    for node in traced.graph.nodes:
        sees = node.op == "placeholder" or not found.isdisjoint(node.all_input_nodes)
        if sees and operations.kind(traced, node) not in ("size", "number"):
            found.add(node)
    return found


def _is_shortcut(traced: fx.GraphModule, site: fx.Node, depth: dict[fx.Node, int]) -> bool:
    """Whether an addition takes the site's value beside that of a deeper branch."""
    additions = [user for user in site.users if operations.kind(traced, user) == "add"]
    return any(depth[other] > depth[site] for add in additions for other in add.all_input_nodes if other is not site)


# What looks across neurons; before it, a value that no activation has touched is one of many that stand for something.
_MIXING = ("layernorm", "softmax", "attention", "matmul", "other")
# Nor does what extraction writes: it puts each neuron where it was.
_PLACING = (torch.narrow, torch.index_select, torch.index_add, torch.zeros_like)


def _mixer(traced: fx.GraphModule, site: fx.Node) -> fx.Node | None:
    """What the site's value meets, if it looks across neurons, before an activation or further weights."""
    seen, ahead = set(), list(site.users)
    while ahead:
        node = ahead.pop()
        what = operations.kind(traced, node)
        if what in _MIXING and node.target not in _PLACING:
            return node
        if node not in seen and what not in ("activation", "prelu", "weighted", "size", "number"):
            ahead += node.users
        seen.add(node)
    return None
