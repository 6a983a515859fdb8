"""The five neuron contribution metrics (Section 2.3), for every hidden layer and class in one sweep over the data."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from nssutils import neurons
from nssutils.errors import NssError, near_miss

METRICS = ("avg", "var", "ens", "deeplift", "taylor")

# Below this change of a nonlinearity's input, DeepLIFT's multiplier is the derivative (captum's value).
_EPS = 1e-10


class ContributionError(NssError):
    """A metric, label or network that contributions cannot be computed for."""


def score(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    metrics: Sequence[str] = METRICS,
    n_classes: int = 10,
    batch_size: int = 256,
    baseline: Tensor | None = None,
    taylor: str = "weights",
) -> dict[str, dict[str, Tensor]]:
    """Contribution of each neuron to each class: {metric: {layer: float64 (n_classes, width)}}, on the CPU.

    x: images (N, C, H, W); y: labels (N,) int64; every class needs a sample. A convolution's neuron is a channel, its
    value the mean over space. With D_c the samples of class c:

    - avg, var: mean and (biased) variance of the neuron's value over D_c (the paper's Section 2.3).
    - ens: the mean of avg and var, each scaled to [0, 1] within the layer and class; the paper says only "normalize".
    - deeplift: DeepLIFT with the rescale rule (Shrikumar et al. 2017), from `baseline` (1, C, H, W; zeros unless
      given) to the logit of c, summed over space, mean over D_c.
    - taylor: with taylor="weights", the sum over batches of D_c and over the neuron's weights w of (w dL/dw)^2, L the
      batch's mean cross-entropy (Molchanov et al. 2019, eq. 8, in the paper's "weights and gradient"); with
      taylor="gate", the mean over D_c of (sum over space of a dL/da)^2, a the neuron's value.

    The network is read in eval mode and left as it was. Raises ContributionError naming an unknown metric, a label
    outside 0..n_classes-1, a class without samples or an operation that DeepLIFT cannot pass.
    """
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    _check(metrics, x, y, n_classes, taylor)
    where = next(net.parameters()).device
    baseline = torch.zeros_like(x[:1]) if baseline is None else baseline
    wants_moments = bool({"avg", "var", "ens"} & set(metrics))
    sums: dict[str, dict[str, Tensor]] = {}
    with neurons.evaluating(net):
        traced = neurons.trace(net)
        found = neurons.layers_of(traced)
        for kind in ("mean", "var", "deeplift", "taylor"):
            sums[kind] = {
                name: torch.zeros(n_classes, layer.width, dtype=torch.float64, device=where)
                for name, layer in found.items()
            }
        for c in range(n_classes):
            seen, total = 0, int((y == c).sum())
            for batch in x[y == c].split(batch_size):
                batch = batch.to(where)
                values: dict[str, Tensor] = {}
                if "taylor" in metrics:
                    for name, score_ in _taylor(traced, found, batch, c, taylor, values).items():
                        sums["taylor"][name][c] += score_ if taylor == "weights" else score_ / total
                elif wants_moments:
                    _record(traced, found, batch, values)
                if wants_moments:
                    for name, value in values.items():
                        _add_moments(sums["mean"][name][c], sums["var"][name][c], seen, value.double())
                if "deeplift" in metrics:
                    target = torch.full((len(batch),), c, device=where)
                    for name, part in attribute(traced, batch, target, baseline.to(where), found).items():
                        sums["deeplift"][name][c] += part.double().sum(0) / total
                seen += len(batch)
    result = {
        "avg": sums["mean"],
        "var": sums["var"],
        "ens": {name: ensemble(sums["mean"][name], sums["var"][name]) for name in found},
        "deeplift": sums["deeplift"],
        "taylor": sums["taylor"],
    }
    return {metric: {name: value.cpu() for name, value in result[metric].items()} for metric in metrics}


def ensemble(avg: Tensor, var: Tensor) -> Tensor:
    """Ens from Avg and Var (…, width): their mean, each scaled to [0, 1] over the last dimension."""
    return (_unit(avg) + _unit(var)) / 2


def ranking(scores: Tensor) -> Tensor:
    """Neurons by descending contribution along the last dimension; of equals, the one with the lower index first."""
    return scores.argsort(dim=-1, descending=True, stable=True)


def overall(scores: dict[str, dict[str, Tensor]], counts: Tensor) -> dict[str, dict[str, Tensor]]:
    """The contributions over the whole dataset, {metric: {layer: (1, width)}}, from those of its classes.

    `counts` (n_classes,) are the samples of each class. Avg and DeepLIFT average over the samples, Var follows from
    the law of total variance (so it needs "avg" among the scores; Ens needs both), Taylor adds up over batches.
    """
    share = (counts.double() / counts.sum()).view(-1, 1)
    whole: dict[str, dict[str, Tensor]] = {}
    for metric in sorted(scores, key=METRICS.index):
        if metric in ("var", "ens") and not {"avg", "var"} <= scores.keys():
            raise ContributionError(
                f"{metric} of the whole dataset follows from avg and var; given: {', '.join(scores)}."
            )
        whole[metric] = {}
        for name, by_class in scores[metric].items():
            if metric in ("avg", "deeplift"):
                value = (share * by_class).sum(0, keepdim=True)
            elif metric == "var":
                avg = scores["avg"][name]
                value = (share * (by_class + (avg - whole["avg"][name]) ** 2)).sum(0, keepdim=True)
            elif metric == "ens":
                value = ensemble(whole["avg"][name], whole["var"][name])
            else:
                value = by_class.sum(0, keepdim=True)
            whole[metric][name] = value
    return whole


def deeplift(net: nn.Module, x: Tensor, target: Tensor, baseline: Tensor | None = None) -> dict[str, Tensor]:
    """DeepLIFT (rescale) attributions of every hidden layer's neurons to the logits target (N,): {name: (N, width)}.

    Summed over space. The attributions of a layer that cuts the network in two add up, sample by sample, to the
    logit minus its value at `baseline` (1, C, H, W; zeros unless given).
    """
    with neurons.evaluating(net):
        traced = neurons.trace(net)
        baseline = torch.zeros_like(x[:1]) if baseline is None else baseline
        return attribute(traced, x, target, baseline, neurons.layers_of(traced))


def attribute(
    traced: fx.GraphModule, x: Tensor, target: Tensor, baseline: Tensor, found: dict[str, neurons.NeuronLayer]
) -> dict[str, Tensor]:
    """`deeplift` of a traced network in eval mode: one forward pass over x and the baseline, one backward pass.

    The baseline travels as the last sample of the batch; every nonlinearity's backward pass hands on
    (change of output / change of input) in place of its derivative.
    """
    sites: dict[str, Tensor] = {}
    visits = {layer.site: lambda value, name=layer.name: sites.__setitem__(name, value) for layer in found.values()}
    # The inputs take part in the graph, so that also a layer of frozen weights is reached.
    batch = torch.cat([x, baseline]).requires_grad_()
    with torch.enable_grad():
        out = _Rescale(traced, visits).run(batch)
        chosen = out[:-1].gather(1, target.view(-1, 1)).sum()
        multipliers = torch.autograd.grad(chosen, list(sites.values()))
    result = {}
    for (name, value), multiplier in zip(sites.items(), multipliers, strict=True):
        part = (multiplier[:-1] * (value[:-1] - value[-1:])).detach()
        result[name] = part.flatten(2).sum(2) if part.dim() > 2 else part
    return result


def _check(metrics: list[str], x: Tensor, y: Tensor, n_classes: int, taylor: str) -> None:
    for metric in metrics:
        if metric not in METRICS:
            raise ContributionError(
                f"unknown metric {metric!r}; known: {', '.join(METRICS)}.{near_miss(metric, METRICS)}"
            )
    if taylor not in ("weights", "gate"):
        raise ContributionError(f"taylor={taylor!r} given, expected 'weights' or 'gate'.")
    if len(x) != len(y):
        raise ContributionError(f"{len(x)} images and {len(y)} labels given, expected as many of each.")
    outside = y[(y < 0) | (y >= n_classes)]
    if len(outside):
        raise ContributionError(
            f"label {int(outside[0])} given, expected 0 to {n_classes - 1} (n_classes={n_classes})."
        )
    counts = torch.bincount(y, minlength=n_classes)
    if (counts == 0).any():
        raise ContributionError(
            f"class {int((counts == 0).nonzero()[0])} has no sample; a contribution to each of the {n_classes} classes "
            "needs at least one."
        )


def _record(traced: fx.GraphModule, found: dict, batch: Tensor, values: dict[str, Tensor]) -> None:
    """Fill values[layer] with the layer's values (N, width), means over space, by one forward pass."""
    with torch.no_grad():
        neurons.run(traced, _means(found, values), batch)


def _means(found: dict, values: dict[str, Tensor]) -> dict:
    return {
        layer.site: lambda value, name=layer.name: values.__setitem__(
            name, neurons.reduce(value.detach(), "mean").squeeze(2).clone()
        )
        for layer in found.values()
    }


def _taylor(traced: fx.GraphModule, found: dict, batch: Tensor, c: int, form: str, values: dict) -> dict[str, Tensor]:
    """The batch's Taylor scores {layer: (width,)} from one forward and one backward pass; fills `values` on the way."""
    target = torch.full((len(batch),), c, device=batch.device)
    means = _means(found, values)
    if form == "weights":
        weights = [traced.get_submodule(name).weight for name in found]
        held = [weight.requires_grad for weight in weights]
        for weight in weights:
            weight.requires_grad_()
        try:
            with torch.enable_grad():
                loss = F.cross_entropy(neurons.run(traced, means, batch), target)
                gradients = torch.autograd.grad(loss, weights)
        finally:
            for weight, state in zip(weights, held, strict=True):
                weight.requires_grad_(state)
        pairs = zip(found, weights, gradients, strict=True)
        return {name: (w.detach() * g).double().square().flatten(1).sum(1) for name, w, g in pairs}
    sites: dict[str, Tensor] = {}

    def visit(value, name, means):
        means(value)
        sites[name] = value
        return value.clone()  # what follows may overwrite its input in place

    visits = {
        layer.site: lambda value, layer=layer: visit(value, layer.name, means[layer.site]) for layer in found.values()
    }
    with torch.enable_grad():
        # The sum, not the mean, over samples: each sample's own gradient.
        loss = F.cross_entropy(neurons.run(traced, visits, batch.requires_grad_()), target, reduction="sum")
        gradients = torch.autograd.grad(loss, list(sites.values()))
    pairs = zip(sites.items(), gradients, strict=True)
    return {name: (a.detach() * g).double().flatten(2).sum(2).square().sum(0) if a.dim() > 2
            else (a.detach() * g).double().square().sum(0) for (name, a), g in pairs}  # fmt: skip


def _add_moments(mean: Tensor, var: Tensor, seen: int, values: Tensor) -> None:
    """Merge values (N, width) into the mean and biased variance (width,) of `seen` earlier ones, in place (Chan)."""
    n = len(values)
    total = seen + n
    delta = values.mean(0) - mean
    var.mul_(seen).add_(values.var(0, correction=0) * n).add_(delta**2 * (seen * n / total)).div_(total)
    mean.add_(delta * (n / total))


def _unit(value: Tensor) -> Tensor:
    """Scaled to [0, 1] over the last dimension; 0 where all are equal."""
    low, high = value.amin(-1, keepdim=True), value.amax(-1, keepdim=True)
    return (value - low) / (high - low).where(high > low, torch.ones_like(high))


class _Rescale(neurons.Visitor):
    """Runs a network so that its backward pass carries DeepLIFT's multipliers; the baseline is the last sample."""

    def run_node(self, node: fx.Node):
        what = neurons.kind(self.module, node)
        if what == "other":
            raise ContributionError(
                f"DeepLIFT has no rule for {node.name!r} ({node.target}); expected linear operations, element-wise "
                "activations, batch normalisation, pooling and additions."
            )
        if what not in ("activation", "maxpool", "add"):
            return super().run_node(node)
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        if what == "add":  # never in place: the value added to may be one that is differentiated by
            value = torch.add(*args, **kwargs)
        elif what == "activation":
            value = _Activation.apply(args[0], self._function(node, args[1:], kwargs))
        else:
            value = _MaxPool.apply(args[0], self._function(node, args[1:], kwargs, return_indices=True))
        return self.visit(node, value)

    def _function(self, node: fx.Node, args: tuple, kwargs: dict, **more):
        """The node's operation as a function of its tensor alone, not in place."""
        if node.op == "call_module":
            module = self.module.get_submodule(node.target)
            if isinstance(module, nn.MaxPool2d):
                shape = dict(stride=module.stride, padding=module.padding, dilation=module.dilation)
                return lambda x: F.max_pool2d(x, module.kernel_size, **shape, ceil_mode=module.ceil_mode, **more)
            if isinstance(module, nn.AdaptiveMaxPool2d):
                return lambda x: F.adaptive_max_pool2d(x, module.output_size, **more)
            return lambda x: module(x.clone()) if getattr(module, "inplace", False) else module(x)
        if node.op == "call_method":
            name = node.target.removesuffix("_")
            return lambda x: getattr(x, name)(*args, **kwargs)
        function = {torch.relu_: torch.relu, torch.max_pool2d: F.max_pool2d}.get(node.target, node.target)
        kwargs = {name: value for name, value in kwargs.items() if name not in ("inplace", *more)}
        return lambda x: function(x, *args, **kwargs, **more)


class _Activation(torch.autograd.Function):
    """An element-wise nonlinearity; backward by the rescale rule: change of output over change of input."""

    @staticmethod
    def forward(ctx, x: Tensor, function):
        y = function(x)
        ctx.save_for_backward(x, y)
        ctx.function = function
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor):
        x, y = ctx.saved_tensors
        change = x - x[-1:]
        flat = change.abs() < _EPS
        multiplier = (y - y[-1:]) / change.masked_fill(flat, 1)
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (derivative,) = torch.autograd.grad(ctx.function(leaf).sum(), leaf)
        return gradient * torch.where(flat, derivative, multiplier), None


class _MaxPool(torch.autograd.Function):
    """Max-pooling; backward puts the change of each output where it comes from, so that attributions stay complete.

    With p the position of a window's maximum in the sample and q in the baseline: the change of the output,
    x_p - r_q, goes to p where it is positive and to q where it is negative; both then had a change of that sign and
    at least that size, so the multipliers are in [0, 1]. Windows may overlap: what a position gets adds up.
    """

    @staticmethod
    def forward(ctx, x: Tensor, function):
        y, indices = function(x)
        ctx.save_for_backward(x, y, indices)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor):
        x, y, indices = ctx.saved_tensors
        n = len(x) - 1
        change = (x - x[-1:]).flatten(2)[:n]
        rise = (y - y[-1:]).flatten(2)[:n]
        at = torch.where(rise >= 0, indices.flatten(2)[:n], indices.flatten(2)[-1:].expand(n, -1, -1))
        there = change.gather(2, at)
        flat = there.abs() < _EPS
        ratio = torch.where(flat, torch.ones_like(rise), rise / there.masked_fill(flat, 1))
        multiplier = torch.zeros_like(x).flatten(2)
        multiplier[:n].scatter_add_(2, at, gradient.flatten(2)[:n] * ratio)
        return multiplier.view_as(x), None
