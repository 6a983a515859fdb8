"""NNSlicer (Zhang et al., ESEC/FSE 2020), the dynamic-slicing peer: which neurons and synapses make the difference
between the network's reaction to an input and its average behaviour, backtracked from chosen outputs.

A neuron that is activated several times, a filter, has the mean over its activations as its value (Section 4.1); so it
has one distance from its average, while contributions belong to its activations one by one. They are whole numbers:
each operation adds the sign of the local contribution. By a profile of activations (spatial="flatten") each of them is
a neuron of its own: another reading, not the paper's.
"""

import operator
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from nssutils import bars, graphs, neurons, operations, samples
from nssutils.errors import NssError
from nssutils.slicing import Slice

THETA = 0.5

Profile = Mapping[str, Tensor]  # fx node -> mean of each of its channels, or activations, over the training set


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


def profile(net: nn.Module, x: Tensor, batch_size: int = 500, spatial: str = "mean") -> dict[str, Tensor]:
    """Average behaviour over images x (N, C, H, W), in eval mode, in one pass over the batches: the mean of every
    channel over images and space, (channels,), wherever the network computes one. With spatial="flatten" that of every
    activation over images, (channels, ...): contributions by such a profile take each for a neuron of its own."""
    if spatial not in ("mean", "flatten"):
        raise NNSlicerError(f"spatial={spatial!r} given, expected 'mean' or 'flatten'.")
    neurons.check_whole(net, NNSlicerError)
    x, where = samples.checked(x), next(net.parameters()).device
    with torch.no_grad(), neurons.evaluating(net):
        traced = graphs.seen(net, x[:2].to(where))
        _check(traced, x)
        sums: dict[str, Tensor] = {}

        def add(name: str, value: Tensor) -> None:
            # In float64, so that a million images do not drown the next.
            part = (_value(value.double()) if spatial == "mean" else value.double()).sum(0)
            sums[name] = sums[name] + part if name in sums else part

        at = {name: lambda value, name=name: add(name, value) for name in _profiled(traced)}
        for batch in x.split(batch_size):
            graphs.run(traced, at, batch.to(where))
    return {name: total / len(x) for name, total in sums.items()}


def difference(net: nn.Module, x: Tensor, means: Profile) -> dict[str, Tensor]:
    """Forward analysis: how far each weighted sum (mean over space) is from its average: {module: (N, width)}; by a
    profile of activations each of them, (N, width, ...)."""
    neurons.check_whole(net, NNSlicerError)
    x, where, parts = samples.checked(x), next(net.parameters()).device, {}
    with torch.no_grad(), neurons.evaluating(net):
        traced = graphs.seen(net, x[:2].to(where))
        _check(traced, x)
        _check_profile(traced, means)
        nodes = {node.name: node.target for node in _weighted_nodes(traced)}
        at = {name: lambda value, name=name: parts.__setitem__(name, _apart(value, means[name])) for name in nodes}
        graphs.run(traced, at, x.to(where))
    return {target: _value(parts[name]) if means[name].dim() == 1 else parts[name] for name, target in nodes.items()}


def contributions(
    net: nn.Module, x: Tensor, target: Tensor, means: Profile, theta: float = THETA, *,
    synapses: bool = True, total: bool = False, batch_size: int = 16,
) -> Contributions:  # fmt: skip
    """Backward analysis of inputs x (N, C, H, W) from the outputs `target`: (N,) integers, one of each input, or
    (N, n_outputs), the contribution to begin with at each output (Zhang et al. 2020, Table 2 and Algorithm 1).

    With y a neuron's value, dy and dx its and its inputs' distances from the profile `means`, an operation adds to each
    of its inputs the sign of CONTRIB dy dx: an average and a batch normalisation to all, a maximum to those that are
    the maximum, a rectifier to those above zero. A weighted sum, and an addition as one with weights of 1, adds the
    sign of CONTRIB dy w dx to its inputs and its synapses, but not where w dx is among the smallest: in ascending size,
    the longest run goes whose sum is below theta |y| in size. (No theta is printed.) A concatenation hands on.

    With synapses=False only neurons are kept, with total=True sums over all inputs; per-input synapses need as many
    numbers an input as the network has weights. `batch_size` bounds the memory.
    Raises NNSlicerError for a missing or foreign profile and for theta outside [0, 1), UnsupportedNetwork naming an
    operation that has no rule.
    """
    if not 0 <= theta < 1:
        raise NNSlicerError(f"theta={theta!r} given, expected a share in [0, 1).")
    x, target = samples.checked(x), torch.as_tensor(target)
    if len(x) != len(target):
        raise NNSlicerError(f"{len(x)} inputs and {len(target)} targets given, expected as many of each.")
    neurons.check_whole(net, NNSlicerError)
    where = next(net.parameters()).device
    sums: list[dict[str, Tensor]] = [{}, {}]
    lists: list[dict[str, list[Tensor]]] = [{}, {}]
    with torch.no_grad(), neurons.evaluating(net):
        traced = graphs.seen(net, x[:2].to(where))
        _check(traced, x)
        _check_profile(traced, means)
        means = {name: value.to(where) for name, value in means.items()}
        for batch, chosen in bars.over(
            zip(x.split(batch_size), target.split(batch_size), strict=True), "backward", len(x), lambda one: len(one[0])
        ):
            found = _backtracked(traced, batch.to(where), chosen.to(where), means, theta, synapses)
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

    x: images; y: their labels, as `samples.labels` takes them, of each class some. Raises SampleError for a label
    outside 0 to n_classes - 1.
    """
    y = samples.labels(y, len(x))
    n_classes = int(y.max()) + 1 if n_classes is None else n_classes
    samples.check_range(y, n_classes)
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


def _backtracked(
    traced: fx.GraphModule, x: Tensor, target: Tensor, means: Profile, theta: float, synapses: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
    """Contributions of neurons and of synapses for one batch."""
    values, logits = graphs.values(traced, x)
    sites = {layer.site: layer.name for layer in neurons.layers_of(traced).values()}
    (last,) = (node.all_input_nodes[0] for node in traced.graph.nodes if node.op == "output")
    arrived: dict[fx.Node, Tensor] = {last: _criterion(target, logits)}
    found: tuple[dict, dict] = {}, {}

    def distance(node: fx.Node) -> Tensor:
        return _apart(values[node], means[node.name])

    def limit(node: fx.Node) -> Tensor:
        return theta * _neuron(values[node], means[node.name]).abs()

    for node in reversed(traced.graph.nodes):
        what = operations.kind(traced, node)
        if node not in arrived or what == "input":
            continue
        contribution = arrived.pop(node)
        if node.name in sites:
            found[0][sites[node.name]] = contribution.flatten(2).sum(2) if contribution.dim() > 2 else contribution
        sources = _sources(node, what)
        source = sources[0]
        if what == "cat":
            passed = contribution.split([values[each].shape[1] for each in sources], 1)
        elif what == "reshape":
            passed = [contribution.reshape(values[source].shape)]
        elif what == "same":
            passed = [contribution]
        else:
            signs = (contribution * distance(node)).sign()
            dx = [distance(each) for each in sources]
            if what == "weighted":
                module = traced.get_submodule(node.target)
                rule = _weighted if means[source.name].dim() == 1 else _weighted_each
                to_input, at_synapses = rule(module, values[source].shape, dx[0], signs, limit(node), synapses)
                passed = [to_input]
                if synapses:
                    before = found[1].get(node.target)  # of a module that is called more than once
                    found[1][node.target] = at_synapses if before is None else before + at_synapses
            elif what == "add":
                terms = torch.stack(dx, -1)
                kept = _kept(terms.flatten(0, -2), limit(node).flatten()).view_as(terms)
                passed = [signs * part for part in (terms.sign() * kept).unbind(-1)]
            else:
                signs = _spread(traced, node, what, signs, values[source], values[node])
                passed = [signs * dx[0].sign()]
        for reader, part in zip(sources, passed, strict=True):
            arrived[reader] = arrived[reader] + part if reader in arrived else part
    return found


def _value(value: Tensor) -> Tensor:
    """What neurons are worth, (N, channels), of (N, channels, ...): the mean over their activations."""
    return value.flatten(2).mean(2) if value.dim() > 2 else value


def _neuron(value: Tensor, mean: Tensor) -> Tensor:
    """What neurons are worth, broadcast over their activations (N, channels, ...); each activation by itself where the
    profile's mean is one of activations."""
    if mean.dim() == 1:
        return _over_space(_value(value), value)
    if mean.shape != value.shape[1:]:
        raise NNSlicerError(
            f"the profile is of activations {tuple(mean.shape)}, and the inputs given make {tuple(value.shape[1:])}; "
            "expected inputs of the size that it was made with."
        )
    return value


def _apart(value: Tensor, mean: Tensor) -> Tensor:
    """How far neurons are from their average, broadcast as by `_neuron`."""
    mean = mean.to(value)
    return _neuron(value, mean) - (mean if mean.dim() > 1 else _over_space(mean[None], value))


def _over_space(value: Tensor, like: Tensor) -> Tensor:
    """(N, channels) as broadcast over the activations of `like` (N, channels, ...)."""
    return value.view(*value.shape, *[1] * (like.dim() - 2))


def _sources(node: fx.Node, what: str) -> list[fx.Node]:
    """What an operation reads, in its order; an addition or concatenation may read one node twice."""
    if what == "cat":
        return list(node.args[0] if node.args else node.kwargs["tensors"])
    if what == "add":
        return [each for each in node.args if isinstance(each, fx.Node)]
    return node.all_input_nodes[:1]


def _weighted(
    module: nn.Module, shape: torch.Size, dx: Tensor, signs: Tensor, limit: Tensor, synapses: bool
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """The rule of weighted sums: contributions of a layer's inputs (shaped `shape`) and synapses (N, *weight.shape).

    dx (N, inputs, ...): distances, one of each input; signs (N, width, ...): of CONTRIB dy; limit (N, width, ...):
    theta |y|, one of each neuron. Which synapses of a neuron survive is the same at all of its activations.
    """
    weight, n, width = module.weight, len(dx), module.weight.shape[0]
    groups = getattr(module, "groups", 1)
    positions = signs.flatten(2) if signs.dim() > 2 else signs[:, :, None]
    near = dx.flatten(1).repeat_interleave(weight[0, 0].numel(), 1)[:, :, None]
    survived = _survived(weight, groups, near, (positions != 0).any(2, keepdim=True), limit.view(n, width, 1))
    by_group = survived.view(n * groups, width // groups, -1).transpose(1, 2)
    to_patches = (by_group @ positions.view(n * groups, width // groups, -1)).view(n, -1, positions.shape[2])
    if weight.dim() == 2:
        passed, inside = to_patches.squeeze(2), None
    else:
        passed = F.fold(to_patches, shape[2:], **_moves(module))
        inside = F.unfold(signs.new_ones(1, 1, *shape[2:]), **_moves(module))[0]  # (kernel, positions)
    if not synapses:
        return passed, None
    # A synapse counts at the activations of its neuron at which it reads the image and not the border.
    counts = positions @ (positions.new_ones(1, 1) if inside is None else inside).T  # (N, width, kernel or 1)
    return passed, (survived.view(n, width, -1, counts.shape[2]) * counts[:, :, None]).view(n, *weight.shape)


def _weighted_each(
    module: nn.Conv2d, shape: torch.Size, dx: Tensor, signs: Tensor, limit: Tensor, synapses: bool
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """`_weighted` of a convolution whose activations are neurons, dx and limit being of each: the border is none."""
    weight, positions = module.weight, signs.flatten(2)
    near = F.unfold(dx, **_moves(module))
    survived = _survived(weight, module.groups, near, positions != 0, limit.flatten(2))
    each = survived * positions[:, :, :, None]
    to_patches = each.unflatten(1, (module.groups, -1)).sum(2).transpose(2, 3).flatten(1, 2)
    passed = F.fold(to_patches, shape[2:], **_moves(module))
    return passed, each.sum(2).view(len(dx), *weight.shape) if synapses else None


def _survived(weight: Tensor, groups: int, near: Tensor, active: Tensor, limit: Tensor) -> Tensor:
    """The signs of w dx where a synapse survives the cut, else 0: (N, width, neurons, fan-in), of a filter's one neuron
    or of all that its activations are. near (N, groups * fan-in, neurons): dx; limit, active (N, width, neurons): of
    neurons that contribute nothing no synapse is of interest."""
    apart = near.unflatten(1, (groups, 1, -1)).expand(-1, -1, len(weight) // groups, -1, -1).flatten(1, 2)
    terms = weight.flatten(1)[:, None] * apart.transpose(2, 3)
    survived = torch.zeros_like(terms)
    some = terms[active]
    survived[active] = some.sign() * _kept(some, limit[active])
    return survived


def _moves(module: nn.Conv2d) -> dict:
    names = ("kernel_size", "dilation", "padding", "stride")
    return {name: getattr(module, name) for name in names}


def _kept(terms: Tensor, limit: Tensor) -> Tensor:
    """Which terms (units, fan-in) survive, bool: all but, in ascending size, those up to the last whose sum with the
    smaller ones is below the limit (units,). A limit of 0 keeps all; of equal sizes the first index is the smaller."""
    order = terms.abs().sort(dim=1, stable=True).indices
    below = terms.gather(1, order).cumsum(1).abs() < limit[:, None]
    # Signed sums may come back below the limit: what precedes the last such goes too.
    kept = below.flip(1).byte().cummax(1).values.flip(1) == 0
    return torch.zeros_like(kept).scatter_(1, order, kept)


def _spread(
    traced: fx.GraphModule, node: fx.Node, what: str, signs: Tensor, x: Tensor, y: Tensor
) -> Tensor:  # fmt: skip
    """What arrives at each input x of an operation: the `signs` of the outputs y that read it, summed."""
    if what == "norm":
        return signs
    if what == "activation":
        return signs * (x > 0)
    if what == "reduce":
        return _over_space(signs.flatten(2).sum(2) if signs.dim() > 2 else signs, x).expand_as(x)
    if _target(traced, node) in _ADAPTIVE:
        rows, columns = (_windows(n, m).to(signs) for n, m in zip(x.shape[2:], y.shape[2:], strict=True))
        return rows.T @ signs @ columns
    window, borders = _window(traced, node, x, y)
    fill = -torch.inf if what == "maxpool" else 0.0  # beyond the border there is nothing to be the maximum
    padded = F.pad(x, borders, value=fill)
    patches = F.unfold(padded.flatten(0, 1)[:, None], **window)  # (N * channels, kernel, positions)
    each = signs.reshape(len(patches), 1, -1).expand_as(patches)
    if what == "maxpool":
        each = each * (patches == y.reshape(len(patches), 1, -1))
    back = F.fold(each, padded.shape[2:], **window).view_as(padded)
    return back[:, :, borders[2] : borders[2] + x.shape[2], borders[0] : borders[0] + x.shape[3]]


def _windows(n: int, m: int) -> Tensor:
    """Which of n positions each of m outputs of an adaptive average is the mean of, bool (m, n): from floor(i n / m) to
    ceil((i + 1) n / m)."""
    i, at = torch.arange(m)[:, None], torch.arange(n)
    return (at >= i * n // m) & (at < -(-(i + 1) * n // m))


def _window(traced: fx.GraphModule, node: fx.Node, x: Tensor, y: Tensor) -> tuple[dict, tuple[int, ...]]:
    """How a pooling of x (N, C, H, W) to y moves, and by how much its image is widened on each side for that."""
    if node.op == "call_module":
        module = traced.get_submodule(node.target)
        given = {name: getattr(module, name, None) for name in ("kernel_size", "stride", "padding", "dilation")}
    else:
        names = ("kernel_size", "stride", "padding", "dilation" if node.target in _MAXIMUM else "ceil_mode")
        given = dict(zip(names, node.args[1:], strict=False)) | node.kwargs
    kernel = _pair(given["kernel_size"])
    stride, padding, dilation = (
        kernel if given.get(name) in (None, ()) and name == "stride" else _pair(given.get(name) or default)
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    # With ceil_mode the last window reaches beyond the border.
    reach = [(m - 1) * s + d * (k - 1) + 1 for m, s, d, k in zip(y.shape[2:], stride, dilation, kernel, strict=True)]
    after = [max(0, r - n - p) for r, n, p in zip(reach, x.shape[2:], padding, strict=True)]
    window = dict(kernel_size=kernel, dilation=dilation, stride=stride)
    return window, (padding[1], after[1], padding[0], after[0])


def _pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _criterion(target: Tensor, logits) -> Tensor:
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise NNSlicerError(
            f"the network gives {shape}, expected logits (N, classes); pick one of several by a module."
        )
    if target.dim() == 1 and not target.is_floating_point() and 0 <= target.min() <= target.max() < logits.shape[1]:
        return F.one_hot(target.long(), logits.shape[1]).to(logits)
    if target.shape == logits.shape:
        return target.to(logits)
    raise NNSlicerError(
        f"target {target.dtype} {tuple(target.shape)} given, expected one output, 0 to {logits.shape[1] - 1}, of each "
        f"of {len(logits)} inputs, or {tuple(logits.shape)} contributions."
    )


_PASSED_ON = ("input", "output", "size", "number", "same", "reshape")
_ADDITION = (torch.add, operator.add, operator.iadd, "add", "add_")
_SPACE = ((2, 3), (-2, -1), (-1, -2), (3, 2))
_RELU = (nn.ReLU, F.relu, torch.relu, torch.relu_, "relu", "relu_")
_MAXIMUM = (nn.MaxPool2d, F.max_pool2d, torch.max_pool2d)
_AVERAGE = (nn.AvgPool2d, F.avg_pool2d)
_ADAPTIVE = (nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d)


def _target(traced: fx.GraphModule, node: fx.Node):
    """What a node calls: the type of a module, or a function."""
    return type(traced.get_submodule(node.target)) if node.op == "call_module" else node.target


def _check(traced: fx.GraphModule, x: Tensor) -> None:
    """Raise UnsupportedNetwork for the first operation that has no rule, for inputs like x."""
    for node in traced.graph.nodes:
        what = operations.kind(traced, node)
        module = traced.get_submodule(node.target) if node.op == "call_module" else None
        target = _target(traced, node)
        if what == "weighted":
            good = isinstance(module, nn.Linear | nn.Conv2d) and not isinstance(getattr(module, "padding", 0), str)
            good &= getattr(module, "padding_mode", "zeros") == "zeros"
        elif what in ("pool", "maxpool"):
            good = target in (*_MAXIMUM, *_AVERAGE, *_ADAPTIVE)
            if target in _AVERAGE:  # one that is cut at the border is an average of fewer positions
                odd = node.args[3:] or {"padding", "ceil_mode"} & node.kwargs.keys()
                good = not (odd if module is None else module.padding or module.ceil_mode)
        elif what == "cat":
            good = (node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)) == 1
        elif what == "add":
            good = target in _ADDITION and len(_sources(node, what)) == len(node.args) == 2 and not node.kwargs
            good &= not any(operations.kind(traced, each) in ("size", "number") for each in _sources(node, what))
        elif what == "norm":
            good = module is not None and module.running_mean is not None
        elif what == "reduce":
            dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
            good = target in (torch.mean, "mean") and isinstance(dims, tuple | list) and tuple(dims) in _SPACE
        else:
            good = what in _PASSED_ON or (what == "activation" and target in _RELU)
        if not good:
            raise neurons.UnsupportedNetwork(
                f"NNSlicer has no rule for {node.name!r} ({module if module is not None else target}); expected "
                "Linear, Conv2d (zero padding, in numbers), BatchNorm, ReLU, pooling, flattening, additions and "
                "concatenations of channels."
            )
    graphs.shapes(traced, x)
    for node in traced.graph.nodes:
        if operations.kind(traced, node) == "add":
            shapes = [tuple(each.meta["shape"][1:]) for each in _sources(node, "add")]
            if shapes[0] != shapes[1]:
                raise neurons.UnsupportedNetwork(
                    f"NNSlicer has no rule for the addition {node.name!r} of {shapes[0]} and {shapes[1]}, expected two "
                    "values of one shape."
                )
    for node in _weighted_nodes(traced):
        shape = node.meta["shape"]
        if isinstance(traced.get_submodule(node.target), nn.Linear) and len(shape) != 2:
            raise neurons.UnsupportedNetwork(
                f"NNSlicer has no rule for layer {node.target!r}, which gives (N, {', '.join(map(str, shape[1:]))}): a "
                "Linear on tokens. Expected one on (N, inputs)."
            )


def _weighted_nodes(traced: fx.GraphModule) -> list[fx.Node]:
    return [node for node in traced.graph.nodes if operations.kind(traced, node) == "weighted"]


def _profiled(traced: fx.GraphModule) -> set[str]:
    """Nodes whose average is needed: all whose values are neurons."""
    return {
        node.name for node in traced.graph.nodes if operations.kind(traced, node) not in ("output", "size", "number")
    }


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
