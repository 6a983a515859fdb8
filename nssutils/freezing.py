"""Train some of a network's parameters and leave all others, batch normalisation's statistics too, bit by bit as they
are; and which parameters a slice stands for (Sections 4.2 and 4.3)."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.weight_norm import WeightNorm

from nssutils import arithmetic, bars, graphs, neurons, operations
from nssutils.errors import NssError

Elements = Mapping[str, Tensor]  # {parameter's name: bool in its shape}


class FreezingError(NssError):
    """Parameters that the network does not have, outputs that depend on others, or a loss that is not finite."""


class DivergedError(FreezingError):
    """A loss that is not finite, as by too high a learning rate."""


def whole(net: nn.Module, modules: Iterable[str] | None = None) -> dict[str, Tensor]:
    """All elements of all parameters, or of those of the named modules (and what is within them). One that has several
    names, as a tied one, goes by its first. Raises FreezingError for a module that the network does not have."""
    parameters = dict(net.named_parameters())
    if modules is not None:
        if isinstance(modules, str):
            raise FreezingError(f"modules={modules!r} given, expected several names, as [{modules!r}].")
        prefix = neurons.wrapping(net)  # a part may be named with it or without
        within = [module.removeprefix(prefix) for module in modules]
        known = {name for name, _ in graphs.unwrapped(net).named_modules(remove_duplicate=False) if name}
        if missing := [module for module in within if module not in known]:
            raise FreezingError(
                f"module {missing[0]!r}: the network has no such one, expected names as in named_modules()."
            )
        inside = {id(p) for name in within for p in graphs.unwrapped(net).get_submodule(name).parameters()}
        parameters = {name: p for name, p in parameters.items() if id(p) in inside}
    return {name: torch.ones_like(p, dtype=torch.bool) for name, p in parameters.items()}


def connecting(net: nn.Module, masks, x: Tensor | None = None) -> dict[str, Tensor]:
    """The elements that connect critical neurons to critical neurons, with their biases and batch normalisation.

    `masks` is a Slice or {layer: bool (width,)}. These are the parameters that neurons.count_kept counts: the rows and
    columns of kept neurons, of the output layer the columns. `x` is an example, for a network whose inputs cannot be
    guessed.
    """
    return neurons.kept_elements(net, neurons.of_each_layer(masks), x)


def determining(net: nn.Module, masks, outputs: Tensor, x: Tensor | None = None) -> dict[str, Tensor]:
    """The elements on which the given outputs, bool (n_classes,), of the masked network depend: all weights into
    critical neurons, their biases and batch normalisation, what makes of dropped neurons a constant that is read
    thereafter, and the output layer's rows of these outputs. `x` as in `connecting`.

    Where a softmax makes the output, the outputs are what goes into it. Raises FreezingError where they depend on more
    than their rows of the output layer, as where something behind it mixes or moves them.
    """
    with neurons.evaluating(net):
        traced = graphs.trace(net, x)
        last = _head(traced, net)
        width = len(traced.get_submodule(last.target).weight)
        if outputs.dtype != torch.bool or outputs.shape != (width,):
            raise FreezingError(
                f"outputs {outputs.dtype} {tuple(outputs.shape)} given, expected torch.bool ({width},), one for each "
                f"row of the output layer {last.target!r}."
            )
        through = neurons.followed(traced, neurons.of_each_layer(masks), x, (last, outputs))
    logits = through.logits
    apart = logits is not None and torch.equal(logits.kept, outputs.cpu())
    if not apart and outputs.any() and not outputs.all():
        behind = ", ".join(operations.called(traced, node) for node in _behind(traced, last))
        raise FreezingError(
            f"the output layer {last.target!r} is followed by {behind or 'what gives no tensor'}: "
            "an output may depend on the rows of others. Expected a network that returns the logits as this layer "
            "gives them; do the rest outside."
        )
    meant = {
        name: (left.matter, left.matter[:, None].expand(-1, len(left.inputs)))
        for name, left in through.modules.items()
        if _by_row(traced.get_submodule(name))
    }
    return neurons.elements(net, meant, through.matter)


def complement(net: nn.Module, elements: Elements) -> dict[str, Tensor]:
    """All elements of the network's parameters that are not among the given ones."""
    return {name: mask & ~elements[name] if name in elements else mask for name, mask in whole(net).items()}


def count(elements: Elements) -> int:
    """How many elements are named."""
    return sum(int(mask.sum()) for mask in elements.values())


def norms(net: nn.Module, elements: Elements) -> dict[str, Tensor]:
    """The channels of batch normalisation whose scale is among the elements: {module: bool (channels,)}."""
    scales = {name: f"{name}.weight" for name, module in net.named_modules() if _keeps_statistics(module)}
    return {name: elements[scale] for name, scale in scales.items() if scale in elements and elements[scale].any()}


def _keeps_statistics(module: nn.Module) -> bool:
    return operations.behaves_as(module, operations.BATCH_NORMS) and module.running_mean is not None


def tune(
    net: nn.Module,
    trainable: Elements,
    loss: Callable[[Tensor], Tensor],
    n: int,
    optimiser: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    *,
    epochs: int,
    batch_size: int,
    seed: int = 0,
    reduced: bool = False,
    decay: bool = False,
    weights: Tensor | None = None,
    statistics: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """Train exactly the `trainable` elements in place; every other element and buffer stays bit-identical, but for the
    number of batches that the normalisations in `statistics` count.

    `loss` takes indices (batch,) into n samples and gives a scalar; `optimiser` makes one for the parameters that have
    a trainable element, for instance lambda some: torch.optim.SGD(some, 0.01, momentum=0.9). The network is in eval
    mode, dropout off, and batch normalisation keeps its statistics, but for the channels that `statistics` names
    ({module: bool (channels,)}, as from `norms`): these work as in training. `reduced` is bf16 autocast; `decay` lets
    the learning rate fall linearly to zero. An epoch visits each sample once, in random order, or, with `weights` (n,),
    draws n with replacement in proportion to them. All randomness comes from `seed`; torch's generator, requires_grad
    and training modes are left as they were, gradients that there were are dropped. Where nothing is trainable nothing
    happens. Raises FreezingError.
    """
    for _ in tuning(
        net, trainable, loss, n, optimiser, epochs=epochs, batch_size=batch_size, seed=seed, reduced=reduced,
        decay=decay, weights=weights, statistics=statistics,
    ):  # fmt: skip
        pass
    return net


def tuning(
    net: nn.Module, trainable: Elements, loss: Callable[[Tensor], Tensor], n: int,
    optimiser: Callable[[list[nn.Parameter]], torch.optim.Optimizer], *, epochs: int, batch_size: int, seed: int = 0,
    reduced: bool = False, decay: bool = False, weights: Tensor | None = None,
    statistics: Mapping[str, Tensor] | None = None,
) -> Iterator[int]:  # fmt: skip
    """`tune`, step by step: yields the number of steps done, so that a caller can look at the network in between or
    give up. Training modes and requires_grad are restored when the generator is exhausted or closed."""
    if batch_size < 1:
        raise FreezingError(f"batch_size={batch_size!r} given, expected at least 1.")
    parameters = dict(net.named_parameters())
    for name, mask in trainable.items():
        if name not in parameters or mask.shape != parameters[name].shape:
            raise FreezingError(f"elements {tuple(mask.shape)} of parameter {name!r}: the network has no such one.")
        if mask.dtype != torch.bool:
            raise FreezingError(f"elements of parameter {name!r} are {mask.dtype}, expected torch.bool.")
    _check_drawing(net, n, weights, statistics or {})
    moving = {name: parameters[name] for name, mask in trainable.items() if mask.any()}
    if not moving:
        return
    places: dict[int, str] = {}
    for name, p in parameters.items():
        other = places.setdefault(p.data_ptr(), name)
        if p.numel() and other != name and not moving.keys().isdisjoint((name, other)):
            raise FreezingError(
                f"parameters {other!r} and {name!r} have the same memory, so that one moves with the other: expected "
                "one parameter under two names (module.weight = other.weight), or a copy of its own."
            )
    partly, still = _partly(net, trainable, statistics or {}), _still(net, moving, statistics or {})
    required = {name: p.requires_grad for name, p in parameters.items()}
    device = next(iter(parameters.values())).device
    generator = torch.Generator().manual_seed(seed)
    step = optimiser(list(moving.values()))
    closure = inspect.signature(step.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise FreezingError(
            f"the optimiser {type(step).__name__} computes the loss several times a step, expected one that steps once "
            "by given gradients, such as torch.optim.SGD or AdamW."
        )
    total = epochs * -(-n // batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(step, lambda done: 1 - done / total if decay and total else 1)
    try:
        with neurons.evaluating(net), _normalising(net, statistics or {}):
            for name, p in parameters.items():
                p.requires_grad_(name in moving)
            done = 0
            for _ in bars.over(range(epochs), "epochs"):
                for batch in bars.over(_order(n, weights, generator).split(batch_size), "batches"):
                    with arithmetic.reduced(device, reduced):
                        value = loss(batch.to(device))
                    if not value.requires_grad:
                        raise FreezingError("the loss has no gradient, expected one of the network's outputs.")
                    if not torch.isfinite(value):
                        raise DivergedError(f"the loss is {value.item()}: the learning rate is too high.")
                    step.zero_grad(set_to_none=True)
                    value.backward()
                    step.step()
                    schedule.step()
                    _put_back(partly)
                    done += 1
                    yield done
    finally:
        _put_back(partly + still)  # a loss that failed may have moved statistics already
        for name, p in parameters.items():
            p.requires_grad_(required[name])
            p.grad = None


def _check_drawing(net: nn.Module, n: int, weights: Tensor | None, statistics: Mapping[str, Tensor]) -> None:
    """Raise FreezingError unless there are weights for n samples, and statistics of what has some."""
    if weights is not None and (weights.shape != (n,) or not (weights >= 0).all() or not weights.sum() > 0):
        raise FreezingError(f"weights {tuple(weights.shape)} given for {n} samples, expected one of each, not below 0.")
    known = {name: module for name, module in net.named_modules() if _keeps_statistics(module)}
    for name, channels in statistics.items():
        if name not in known or channels.shape != known[name].running_mean.shape or channels.dtype != torch.bool:
            raise FreezingError(
                f"statistics of {name!r} given, {channels.dtype} {tuple(channels.shape)}, expected bool, one for each "
                f"channel of a batch normalisation that keeps some: {', '.join(known) or 'the network has none'}."
            )


def _order(n: int, weights: Tensor | None, generator: torch.Generator) -> Tensor:
    """The samples of one epoch."""
    if weights is None:
        return torch.randperm(n, generator=generator)
    return torch.multinomial(weights.cpu(), n, replacement=True, generator=generator)


def head(net: nn.Module, x: Tensor | None = None) -> str:
    """The name of the output layer. `x` as in `connecting`. Raises FreezingError where the output is not that of one
    Linear or convolution."""
    return neurons.wrapping(net) + _head(graphs.trace(net, x), net).target


def _head(traced: fx.GraphModule, net: nn.Module) -> fx.Node:
    """The node of the output layer."""
    name = type(graphs.unwrapped(net)).__name__
    node = next(node for node in traced.graph.nodes if node.op == "output")
    while operations.kind(traced, node) != "weighted":
        own = ("constant", "size", "number")
        sources = [source for source in node.all_input_nodes if operations.kind(traced, source) not in own]
        if operations.weighs(traced, node) or len(sources) != 1:
            several = f", of {len(sources)} values" if len(sources) > 1 else ""
            raise FreezingError(
                f"the output of {name} comes from {operations.called(traced, node)}{several}, expected a layer: one "
                "Linear or convolution whose outputs are the logits."
            )
        node = sources[0]
    return node


def follows(net: nn.Module, x: Tensor | None = None) -> bool:
    """Whether anything but a softmax stands between the output layer and the output. `x` as in `connecting`."""
    traced = graphs.trace(net, x)
    return any(operations.kind(traced, node) != "softmax" for node in _behind(traced, _head(traced, net)))


def _behind(traced: fx.GraphModule, layer: fx.Node) -> list[fx.Node]:
    """What stands between a layer and the network's output."""
    after = {layer}
    for node in traced.graph.nodes:
        if after.intersection(node.all_input_nodes):
            after.add(node)
    return [node for node in traced.graph.nodes if node in after and node is not layer and node.op != "output"]


def _by_row(module: nn.Module) -> bool:
    """Whether each output's weights are the module's own, or computed from that output's parameters alone, as by a
    weight norm of rows; a spectral norm is one of all."""
    computed = [step for steps in getattr(module, "parametrizations", {}).values() for step in steps]
    computed += module._forward_pre_hooks.values()
    return all(isinstance(step, parametrizations._WeightNorm | WeightNorm) and step.dim == 0 for step in computed)


@contextmanager
def _normalising(net: nn.Module, moving: Mapping[str, Tensor]) -> Iterator[None]:
    """Within the block, the given channels are normalised as in training and all others as in eval mode."""
    modules = {name: net.get_submodule(name).train() for name in moving}
    hooks = [modules[name].register_forward_hook(_held(modules[name], moving[name])) for name in moving]
    for norm in modules.values():
        hooks += _of_several(norm)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _of_several(norm: nn.Module) -> list:
    """Hooks by which a normalisation takes a single value of each channel, which has no variance, as in eval mode."""
    modes = []

    def before(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        modes.append(norm.training)
        norm.training = norm.training and inputs[0].numel() > inputs[0].shape[1]

    def after(norm: nn.Module, *_) -> None:
        norm.training = modes.pop()

    return [norm.register_forward_pre_hook(before), norm.register_forward_hook(after)]


def _held(norm: nn.Module, moving: Tensor) -> Callable:
    """A hook by which the channels that do not move give what they give in eval mode."""
    mean, var = norm.running_mean.clone(), norm.running_var.clone()

    def hook(norm: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor | None:
        if moving.all() or not norm.training:
            return None
        as_in_eval = F.batch_norm(inputs[0], mean, var, norm.weight, norm.bias, False, 0.0, norm.eps)
        by_channel = moving.to(output.device).view(-1, *[1] * (output.dim() - 2))
        return torch.where(by_channel, output, as_in_eval)

    return hook


def _partly(net: nn.Module, trainable: Elements, statistics: Mapping[str, Tensor]) -> list[tuple[Tensor, ...]]:
    """(tensor, what of it may move, its present value) of parameters and statistics that may move in part only."""
    found = [(net.get_parameter(name), mask) for name, mask in trainable.items() if mask.any()]
    for name, channels in statistics.items():
        norm = net.get_submodule(name)
        found += [(norm.running_mean, channels), (norm.running_var, channels)]
    return [(tensor, mask, tensor.detach().clone()) for tensor, mask in found if not mask.all()]


def _still(net: nn.Module, moving: Iterable[str], statistics: Mapping[str, Tensor]) -> list[tuple[Tensor, ...]]:
    """As `_partly`, of what forward() itself may change although it is frozen: buffers, and the rows of an embedding
    that it keeps below a norm."""
    found = [
        parameter
        for name, module in net.named_modules()
        if getattr(module, "max_norm", None) is not None
        for own, parameter in module.named_parameters(recurse=False)
        if f"{name}.{own}".removeprefix(".") not in moving
    ]
    found += [buffer for name, buffer in net.named_buffers() if name.rpartition(".")[0] not in statistics]
    return [(tensor, torch.zeros((), dtype=torch.bool), tensor.detach().clone()) for tensor in found]


@torch.no_grad()
def _put_back(partly: list[tuple[Tensor, ...]]) -> None:
    """What is frozen, as it was: weight decay and momentum move what has no gradient too."""
    for tensor, mask, before in partly:
        tensor.copy_(torch.where(mask.to(tensor.device), tensor, before))
