"""NNSlicer (Zhang et al., ESEC/FSE 2020), the dynamic-slicing peer: which neurons and synapses make the difference
between the network's reaction to an input and its average behaviour, backtracked from chosen outputs.

Contributions are whole numbers: each surviving synapse of a neuron in the slice counts once, with its sign.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from nssutils import neurons
from nssutils.errors import NssError
from nssutils.slicing import Slice

THETA = 0.5
CHUNK = 2**21  # terms of weighted sums that are sorted at a time: bounds the memory

Profile = Mapping[str, Tensor]  # fx node -> mean of each of its channels over the training set


class NNSlicerError(NssError):
    """A profile, threshold or criterion that cannot be used."""


@dataclass(frozen=True)
class Contributions:
    """What neurons and synapses contribute to the chosen outputs, for each of N inputs, or summed over them (N = 1)."""

    neurons: Mapping[str, Tensor]  # {layer: (N, width)}; of a convolution's channel, the sum over space
    synapses: Mapping[str, Tensor]  # {weighted module: (N, *weight.shape)}; a kernel's weight, summed over space

    def slice(self) -> Slice:
        """The neurons whose contributions, summed over the inputs, are not zero."""
        return Slice({name: (value.sum(0) != 0).cpu() for name, value in self.neurons.items()}, {})

    def synapse_slice(self) -> dict[str, Tensor]:
        """The synapses whose contributions, summed over the inputs, are not zero: {module: bool (weight.shape)}."""
        return {name: (value.sum(0) != 0).cpu() for name, value in self.synapses.items()}


def profile(net: nn.Module, x: Tensor, batch_size: int = 500) -> dict[str, Tensor]:
    """Average behaviour over images x (N, C, H, W), in eval mode, in one pass over the batches: the mean of every
    channel (over images and space) where a weighted sum is computed and where its inputs are read."""
    where = next(net.parameters()).device
    with torch.no_grad(), neurons.evaluating(net):
        traced = neurons.trace(net)
        _check(traced)
        sums: dict[str, Tensor] = {}

        def add(name: str, value: Tensor) -> None:
            # In float64, so that a million images do not drown the next.
            part = value.double().flatten(2).mean(2).sum(0) if value.dim() > 2 else value.double().sum(0)
            sums[name] = sums[name] + part if name in sums else part

        at = {name: lambda value, name=name: add(name, value) for name in _profiled(traced)}
        for batch in x.split(batch_size):
            neurons.run(traced, at, batch.to(where))
    return {name: total / len(x) for name, total in sums.items()}


def difference(net: nn.Module, x: Tensor, means: Profile) -> dict[str, Tensor]:
    """Forward analysis: how far each weighted sum (mean over space) is from its average: {module: (N, width)}."""
    where, parts = next(net.parameters()).device, {}
    with torch.no_grad(), neurons.evaluating(net):
        traced = neurons.trace(net)
        _check_profile(traced, means)
        nodes = {node.name: node.target for node in _weighted_nodes(traced)}
        at = {
            name: lambda value, name=name: parts.__setitem__(name, neurons.reduce(value, "mean").squeeze(2))
            for name in nodes
        }
        neurons.run(traced, at, x.to(where))
    return {target: parts[name] - means[name].to(parts[name]) for name, target in nodes.items()}


def contributions(
    net: nn.Module, x: Tensor, target: Tensor, means: Profile, theta: float = THETA, *,
    synapses: bool = True, total: bool = False, batch_size: int = 16, chunk: int = CHUNK,
) -> Contributions:  # fmt: skip
    """Backward analysis of inputs x (N, C, H, W) from the outputs `target`: (N,) int64, one of each input, or
    (N, n_outputs), the contribution to begin with at each output.

    With y a neuron's weighted sum, dy and dx its and its inputs' distances from the profile `means`: of the terms
    w_i dx_i, in ascending size, the longest run whose sums stay below theta |y| is dropped; each other one adds
    sign(CONTRIB dy w_i dx_i) to its input and to its synapse. ReLU passes the sign where it is active, max-pooling the
    contribution to the position of the maximum, average-pooling to all its window; BN and additions pass it on.

    With synapses=False only neurons are kept, with total=True sums over all inputs; per-input synapses need as many
    numbers an input as the network has weights. `chunk` bounds the memory of a step, `batch_size` that of the values.
    Raises NNSlicerError for a missing or foreign profile and for theta outside [0, 1), UnsupportedNetwork naming an
    operation that has no rule.
    """
    if not 0 <= theta < 1:
        raise NNSlicerError(f"theta={theta!r} given, expected a share in [0, 1).")
    if len(x) != len(target) or not len(x):
        raise NNSlicerError(f"{len(x)} inputs and {len(target)} targets given, expected as many of each, at least one.")
    where = next(net.parameters()).device
    sums: list[dict[str, Tensor]] = [{}, {}]
    lists: list[dict[str, list[Tensor]]] = [{}, {}]
    with torch.no_grad(), neurons.evaluating(net):
        traced = neurons.trace(net)
        _check(traced)
        _check_profile(traced, means)
        means = {name: value.to(where) for name, value in means.items()}
        for batch, chosen in zip(x.split(batch_size), target.split(batch_size), strict=True):
            found = _backtracked(traced, batch.to(where), chosen.to(where), means, theta, synapses, total, chunk)
            for side, values in enumerate(found):
                for name, value in values.items():
                    if total:
                        sums[side][name] = sums[side].get(name, 0) + value.sum(0, keepdim=True)
                    else:
                        lists[side].setdefault(name, []).append(value)
    if not total:
        sums = [{name: torch.cat(parts) for name, parts in side.items()} for side in lists]
    return Contributions({name: sums[0][name] for name in neurons.layers_of(traced)}, dict(reversed(sums[1].items())))


def class_contributions(
    net: nn.Module, x: Tensor, y: Tensor, means: Profile, theta: float = THETA, *, synapses: bool = False,
    n_classes: int | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
    """For each class the contributions of its images to its own output, summed: neurons {layer: (n_classes, width)}
    and, if asked, synapses {module: (n_classes, *weight.shape)}, on the CPU.

    x: images; y: their labels (N,), of each class some.
    """
    n_classes = int(y.max()) + 1 if n_classes is None else n_classes
    rows = []
    for c in range(n_classes):
        if not (y == c).any():
            raise NNSlicerError(f"class {c} has no sample; the slice of a class needs some.")
        rows.append(contributions(net, x[y == c], y[y == c], means, theta, synapses=synapses, total=True))
    return tuple(
        {name: torch.cat([getattr(row, side)[name] for row in rows]).cpu() for name in getattr(rows[0], side)}
        for side in ("neurons", "synapses")
    )


def dynamic_slice(
    net: nn.Module, x: Tensor, y: Tensor, means: Profile, theta: float = THETA, *, n_classes: int | None = None
) -> Slice:
    """The slice of a set of images x with labels y: for each class the neurons whose contributions to its output,
    summed over its images, are not zero; and their union."""
    found, _ = class_contributions(net, x, y, means, theta, n_classes=n_classes)
    classes = range(len(next(iter(found.values()))))
    return Slice.of_classes({c: {name: value[c] != 0 for name, value in found.items()} for c in classes})


class _Values(neurons.Visitor):
    """Runs a traced network and keeps each node's value as it was, whatever is overwritten in place later."""

    def __init__(self, traced: fx.GraphModule):
        super().__init__(traced, {})
        self.values: dict[fx.Node, object] = {}

    def visit(self, node: fx.Node, value):
        self.values[node] = value.clone() if isinstance(value, Tensor) else value
        return value

    def passed_back(self, node: fx.Node, contribution: Tensor, areas: Tensor | int = 1) -> Tensor:
        """What a pooling hands back to its input: contribution * areas times its derivative, a whole number."""
        (source,) = node.all_input_nodes
        with torch.enable_grad():
            x = self.values[source].requires_grad_()
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: x if n is source else self.values[n])
            (gradient,) = torch.autograd.grad(
                getattr(self, node.op)(node.target, args, kwargs), x, contribution * areas
            )
        x.requires_grad_(False)
        return gradient.round()


def _backtracked(
    traced: fx.GraphModule, x: Tensor, target: Tensor, means: Profile, theta: float, synapses: bool, total: bool,
    chunk: int,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
    """Contributions of neurons and of synapses for one batch, synapses summed over it if `total`."""
    runner = _Values(traced)
    logits = runner.run(x)
    values, sites = runner.values, {layer.site: layer.name for layer in neurons.layers_of(traced).values()}
    (last,) = (node.all_input_nodes[0] for node in traced.graph.nodes if node.op == "output")
    arrived: dict[fx.Node, Tensor] = {last: _criterion(target, logits)}
    found: tuple[dict, dict] = {}, {}
    for node in reversed(traced.graph.nodes):
        what = neurons.kind(traced, node)
        if node not in arrived or what == "input":
            continue
        contribution = arrived.pop(node)
        if node.name in sites:
            found[0][sites[node.name]] = contribution.flatten(2).sum(2) if contribution.dim() > 2 else contribution
        source = node.all_input_nodes[0]
        if what == "weighted":
            terms = (
                _distance(values[source], means[source.name]),
                values[node],
                _distance(values[node], means[node.name]),
            )
            module = traced.get_submodule(node.target)
            passed, at_synapses = _weighted(module, *terms, contribution, theta, synapses, total, chunk)
            if synapses:
                found[1][node.target] = at_synapses
        elif what == "activation":
            passed = contribution.sign() * (values[node] > 0)
        elif what == "maxpool":
            passed = runner.passed_back(node, contribution)
        elif what in ("pool", "mean"):
            passed = runner.passed_back(node, contribution, _areas(traced, node, values[source], values[node]))
        elif what == "flatten":
            passed = contribution.reshape(values[source].shape)
        else:  # norm, same and add hand it on, an addition to each of its inputs
            passed = contribution
        for reader in node.all_input_nodes if what == "add" else [source]:
            arrived[reader] = arrived[reader] + passed if reader in arrived else passed
    return found


def _weighted(
    module: nn.Module, dx: Tensor, y: Tensor, dy: Tensor, contribution: Tensor, theta: float, synapses: bool,
    total: bool, chunk: int,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """The rule of weighted sums: contributions of a layer's inputs (as dx) and of its synapses (N or 1, *weight.shape).

    A weighted sum is one unit at one position of one input; units that contribute nothing are left out at once.
    """
    weight, n, width = module.weight.flatten(1), len(dx), y.shape[1]
    groups, window = getattr(module, "groups", 1), None
    if isinstance(module, nn.Conv2d):
        window = dict(
            kernel_size=module.kernel_size, dilation=module.dilation, padding=module.padding, stride=module.stride
        )
    patches = F.unfold(dx, **window).transpose(1, 2) if window else dx.unsqueeze(1)  # (N, positions, groups * fan-in)
    positions, fan_in = patches.shape[1], weight.shape[1]
    rows = patches.reshape(-1, fan_in)  # (N * positions * groups, fan-in)
    signs = (contribution * dy).sign().reshape(n, width, positions)
    image, unit, position = signs.nonzero(as_tuple=True)
    row = (image * positions + position) * groups + unit // (width // groups)
    limit, sign = theta * y.abs().reshape(n, width, positions)[image, unit, position], signs[image, unit, position]
    to_inputs = torch.zeros_like(rows)
    to_synapses = rows.new_zeros((1 if total else n) * width, fan_in) if synapses else None
    for some in torch.arange(len(row), device=row.device).split(max(1, chunk // fan_in)):
        terms = rows[row[some]] * weight[unit[some]]
        survived = terms.sign() * _kept(terms, limit[some]) * sign[some, None]
        to_inputs.index_add_(0, row[some], survived)
        if synapses:
            to_synapses.index_add_(0, unit[some] if total else image[some] * width + unit[some], survived)
    to_inputs = to_inputs.view_as(patches)
    passed = F.fold(to_inputs.transpose(1, 2), dx.shape[2:], **window) if window else to_inputs.squeeze(1)
    return passed, to_synapses.reshape(-1, *module.weight.shape) if synapses else None


def _kept(terms: Tensor, limit: Tensor) -> Tensor:
    """Which terms (units, fan-in) survive, bool: all but, in ascending size, those before the first whose sum with the
    smaller ones reaches the limit (units,). A limit of 0 keeps all; of equal sizes the first index is the smaller."""
    if terms.dtype != torch.float32 or terms.is_cuda:
        return _kept_by_order(terms, limit)
    # Sorting numbers is several times faster than sorting places: a float's bits turned by one put its sign behind its
    # size, so that sorted they are the terms themselves, in ascending size.
    bits = (terms + 0.0).numpy().view(np.uint32)  # no zero is negative
    keys = np.sort((bits << 1) | (bits >> 31), axis=1)
    ascending = torch.from_numpy(((keys >> 1) | (keys << 31)).view(np.float32))
    reached = (ascending.cumsum(1).abs_() >= limit[:, None]).numpy()
    rows, last = np.arange(len(keys)), keys.shape[1] - 1
    first = reached.argmax(1)
    never = ~reached[rows, first]
    least = ascending[rows, first].abs_()
    least[never] = torch.inf
    kept = terms.abs() >= least[:, None]
    # Which of equal sizes is the smaller is a matter of places: where that decides, rows are sorted by place. It does
    # where opposite terms (their keys differ in the last bit) come before the first sum, or equal ones stand at it.
    first[never] = last
    opposite = (keys[:, 1:] ^ keys[:, :-1]) == 1
    place = opposite.argmax(1) if last else first
    decides = (opposite[rows, place] & (place < first)) if last else never & False
    for beside in (np.maximum(first - 1, 0), np.minimum(first + 1, last)):
        decides |= (beside != first) & (keys[rows, beside] >> 1 == keys[rows, first] >> 1)
    if decides.any():
        kept[decides] = _kept_by_order(terms[decides], limit[decides])
    return kept


def _kept_by_order(terms: Tensor, limit: Tensor) -> Tensor:
    """`_kept` by the literal way: every term's place in ascending size."""
    order = terms.abs().sort(dim=1, stable=True).indices
    reached = terms.gather(1, order).cumsum(1).abs() >= limit[:, None]
    return torch.zeros_like(reached).scatter_(1, order, reached.byte().cummax(1).values.bool())


def _distance(value: Tensor, mean: Tensor) -> Tensor:
    """How far values (N, channels, …) are from the channels' means."""
    return value - mean.to(value).view(-1, *[1] * (value.dim() - 2))


def _criterion(target: Tensor, logits: Tensor) -> Tensor:
    if target.dim() == 1 and not target.is_floating_point() and 0 <= target.min() <= target.max() < logits.shape[1]:
        return F.one_hot(target, logits.shape[1]).to(logits)
    if target.shape == logits.shape:
        return target.to(logits)
    raise NNSlicerError(
        f"target {target.dtype} {tuple(target.shape)} given, expected one output, 0 to {logits.shape[1] - 1}, of each "
        f"of {len(logits)} inputs, or {tuple(logits.shape)} contributions."
    )


def _areas(traced: fx.GraphModule, node: fx.Node, x: Tensor, pooled: Tensor) -> Tensor | int:
    """How many positions of x (N, C, H, W) each output of an average is the mean of: adaptive pooling's windows reach
    from floor(i n / m) to ceil((i + 1) n / m)."""
    if neurons.kind(traced, node) == "mean":
        return x.numel() // pooled.numel()
    module = traced.get_submodule(node.target) if node.op == "call_module" else None
    if isinstance(module, nn.AvgPool2d):
        sides = module.kernel_size
        return sides**2 if isinstance(sides, int) else sides[0] * sides[1]
    sides = []
    for n, m in zip(x.shape[2:], pooled.shape[2:], strict=True):
        i = torch.arange(m, device=x.device)
        sides.append(-(-(i + 1) * n // m) - i * n // m)
    return sides[0][:, None] * sides[1]


_PASSED_ON = ("input", "output", "shape", "norm", "same", "flatten", "add", "maxpool", "mean")
_RELU = (nn.ReLU, F.relu, torch.relu, torch.relu_, "relu", "relu_")
_AVERAGE = (nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d, nn.AvgPool2d)


def _check(traced: fx.GraphModule) -> None:
    """Raise UnsupportedNetwork for the first operation that has no rule."""
    for node in traced.graph.nodes:
        what = neurons.kind(traced, node)
        module = traced.get_submodule(node.target) if node.op == "call_module" else None
        target = node.target if module is None else type(module)
        if what == "weighted":
            good = getattr(module, "padding_mode", "zeros") == "zeros" and getattr(module, "padding", 0) != "same"
        elif what == "pool":
            # Windows that are cut at the border are means of fewer positions; no network here has them.
            good = target in _AVERAGE and (target is not nn.AvgPool2d or not (module.padding or module.ceil_mode))
        else:
            good = what in _PASSED_ON or (what == "activation" and target in _RELU)
        if not good:
            raise neurons.UnsupportedNetwork(
                f"NNSlicer has no rule for {node.name!r} ({module if module is not None else target}); expected "
                "Linear, Conv2d (zero padding, in numbers), BatchNorm, ReLU, pooling, flattening and additions."
            )


def _weighted_nodes(traced: fx.GraphModule) -> list[fx.Node]:
    return [node for node in traced.graph.nodes if neurons.kind(traced, node) == "weighted"]


def _profiled(traced: fx.GraphModule) -> set[str]:
    """Nodes whose average is needed: weighted sums and what they read."""
    nodes = _weighted_nodes(traced)
    return {node.name for node in nodes} | {node.all_input_nodes[0].name for node in nodes}


def _check_profile(traced: fx.GraphModule, means: Profile) -> None:
    """Raise NNSlicerError unless the profile is one of this network."""
    if not means:
        raise NNSlicerError(
            "no profile given; expected the network's average behaviour: nnslicer.profile(net, x_train)."
        )
    if means.keys() != _profiled(traced):
        raise NNSlicerError(
            f"the profile is another network's: it has {sorted(means)}, expected {sorted(_profiled(traced))}."
        )
    for node in _weighted_nodes(traced):
        if len(means[node.name]) != (width := len(traced.get_submodule(node.target).weight)):
            raise NNSlicerError(
                f"the profile has {len(means[node.name])} means for layer {node.target!r}, expected {width}."
            )
