"""The five neuron contribution metrics (Section 2.3), for every hidden layer and class in one sweep over the data."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from nssutils import bars, graphs, neurons, operations, rescale, samples
from nssutils.errors import near_miss
from nssutils.rescale import ContributionError

METRICS = ("avg", "var", "ens", "deeplift", "taylor")


def score(
    net: nn.Module,
    x,
    y=None,
    metrics: Sequence[str] = METRICS,
    n_classes: int | None = None,
    batch_size: int = 256,
    baseline: Tensor | float | None = None,
    taylor: str = "weights",
    skip_absent: bool = False,
) -> dict[str, dict[str, Tensor]]:
    """Contribution of each neuron to each class: {metric: {layer: float64 (n_classes, width)}}, on the CPU.

    x: samples (N, ...) as images (N, C, H, W), and y: labels (N,), 0 to n_classes - 1 (the highest label unless given);
    or x a DataLoader that gives both, which is read once, batch by batch (`samples.stream`). Every class needs a
    sample, unless absent ones are to be skipped: they contribute 0. A convolution's neuron is a channel, its value the
    mean over space. With D_c the samples of class c:

    - avg, var: mean and (biased) variance of the neuron's value over D_c (the paper's Section 2.3).
    - ens: the mean of avg and var, each scaled to [0, 1] within the layer and class; the paper says only "normalize".
    - deeplift: DeepLIFT with the rescale rule (Shrikumar et al. 2017), from `baseline` (one sample, or a number for
      all of it; zeros unless given) to the logit of c, summed over space, mean over D_c.
    - taylor: with taylor="weights", the sum over batches of D_c and over the neuron's weights w of (w dL/dw)^2, L the
      batch's mean cross-entropy (Molchanov et al. 2019, eq. 8, in the paper's "weights and gradient"); with
      taylor="gate", the mean over D_c of (sum over space of a dL/da)^2, a the neuron's value.

    The network is read in eval mode and left as it was. Raises SampleError for samples and labels that cannot be used,
    ContributionError naming an unknown metric, a class without samples or outputs, or an operation that DeepLIFT cannot
    pass.
    """
    if not isinstance(metrics, Iterable):
        raise ContributionError(f"metrics={metrics!r} given, expected some of {', '.join(METRICS)}.")
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    _check(metrics, taylor)
    n_classes = samples.count(x, y) if n_classes is None else samples.whole("n_classes", n_classes)
    where, like = operations.device(net), samples.example(x)
    baseline = _baseline(baseline, like)
    wants_moments = bool({"avg", "var", "ens"} & set(metrics))
    sums: dict[str, dict[str, Tensor]] = {}
    seen = torch.zeros(n_classes, dtype=torch.int64)
    with neurons.evaluating(net):
        traced = _whole(net, like.to(where))
        found = neurons.layers_of(traced)
        _check_outputs(traced, like.to(where), n_classes, metrics)
        neurons.check_rows(traced, found, like[:1].to(where))
        if "deeplift" in metrics:
            one, none = like[:1].to(where), baseline.to(where)
            attribute(traced, one, torch.zeros(1, dtype=torch.int64, device=where), none, found)  # or refused at once
            _check_apart(traced, one, none)
        for kind in ("mean", "var", "deeplift", "taylor"):
            sums[kind] = {
                name: torch.zeros(n_classes, layer.width, dtype=torch.float64, device=where)
                for name, layer in found.items()
            }
        for c, batch in bars.over(
            samples.by_class(x, y, n_classes, batch_size), "contributions", samples.length(x), lambda one: len(one[1])
        ):
            batch = batch.to(where)
            values: dict[str, Tensor] = {}
            if "taylor" in metrics:
                for name, score_ in _taylor(traced, found, batch, c, taylor, values).items():
                    sums["taylor"][name][c] += score_
            elif wants_moments:
                _record(traced, found, batch, values)
            if wants_moments:
                for name, value in values.items():
                    _add_moments(sums["mean"][name][c], sums["var"][name][c], int(seen[c]), value.double())
            if "deeplift" in metrics:
                target = torch.full((len(batch),), c, device=where)
                for name, part in attribute(traced, batch, target, baseline.to(where), found).items():
                    sums["deeplift"][name][c] += part.double().sum(0)
            seen[c] += len(batch)
    if (seen == 0).any() and not skip_absent:
        raise ContributionError(
            f"class {int((seen == 0).nonzero()[0])} has no sample; a contribution to each of the {n_classes} classes "
            "needs at least one (score and semantic_slice leave such classes out with skip_absent=True)."
        )
    # Taylor by weights adds up over batches; all others are means over samples.
    for kind in ("deeplift", *(["taylor"] if taylor == "gate" else [])):
        for total in sums[kind].values():
            total /= seen.clamp_min(1).to(where)[:, None]
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


def deeplift(net: nn.Module, x: Tensor, target: Tensor, baseline: Tensor | float | None = None) -> dict[str, Tensor]:
    """DeepLIFT (rescale) attributions of every hidden layer's neurons to the logits target (N,): {name: (N, width)}.

    Summed over space. The attributions of a layer that cuts the network in two add up, sample by sample, to the
    logit minus its value at `baseline` (one sample, or a number for all of it; zeros unless given).
    """
    _check(["deeplift"], "weights")
    x, target = (torch.as_tensor(each).to(operations.device(net)) for each in (x, target))
    with neurons.evaluating(net):
        traced, baseline = _whole(net, x), _baseline(baseline, x)
        _check_outputs(traced, torch.cat([x[:1]] * 2), int(target.max()) + 1, ["deeplift"])
        layers = neurons.layers_of(traced)
        neurons.check_rows(traced, layers, x[:1])
        found = attribute(traced, x, target, baseline, layers)
        _check_apart(traced, x[:1], baseline)
        return found


def attribute(
    traced: fx.GraphModule, x: Tensor, target: Tensor, baseline: Tensor, found: dict[str, neurons.NeuronLayer]
) -> dict[str, Tensor]:
    """`deeplift` of a traced network in eval mode: a forward pass over x and the baseline, one backward pass.

    Every operation that is not linear hands back (change of output / change of input) in place of its derivative.
    Where no operation can mix samples, the baseline travels as the last sample of the batch; elsewhere it goes first,
    by itself, once for each sample.
    """
    sites: dict[str, Tensor] = {}

    def visit(value: Tensor, name: str) -> Tensor:
        sites[name] = value if value.requires_grad else value.detach().requires_grad_()
        return sites[name]

    visits = {layer.site: lambda value, name=layer.name: visit(value, name) for layer in found.values()}
    together = rescale.apart(traced)
    n, batch, reference = len(x), torch.cat([x, baseline]), None
    if not together:
        with torch.no_grad():
            reference = graphs.values(traced, baseline.expand_as(x).contiguous())[0]
        batch = x.clone()
    if batch.is_floating_point():  # so that a layer of frozen weights is reached, too
        batch.requires_grad_()
    with torch.enable_grad():
        out = rescale.Rescale(traced, visits, reference).run(batch)
        chosen = out[:n].gather(1, target.view(-1, 1)).sum()
        multipliers = torch.autograd.grad(chosen, list(sites.values()))
    result, nodes = {}, {node.name: node for node in traced.graph.nodes}
    for (name, value), multiplier in zip(sites.items(), multipliers, strict=True):
        layer = found[name]
        before = value[-1:] if together else reference[nodes[layer.site]]
        part = (multiplier[:n] * (value[:n] - before)).detach().movedim(layer.axis, 1)
        result[name] = part.flatten(2).sum(2) if part.dim() > 2 else part
    return result


def _whole(net: nn.Module, x: Tensor) -> fx.GraphModule:
    neurons.check_whole(net, ContributionError)
    return graphs.seen(net, x[:2])


def _baseline(given, x: Tensor) -> Tensor:
    """The baseline as one sample (1, ...) of x's type. Raises ContributionError where it cannot be made one."""
    if given is None:
        return torch.zeros_like(x[:1])
    try:
        value = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ContributionError(f"baseline={given!r} given, expected one sample or a number ({error}).") from error
    if value.is_floating_point() and not value.isfinite().all():
        raise ContributionError("the baseline has values that are not finite, expected numbers.")
    if value.dim() == 0:
        value = value.expand(x.shape[1:])
    value = value[None] if value.shape == x.shape[1:] else value
    if value.shape != (1, *x.shape[1:]) or (value.is_floating_point() and not x.is_floating_point()):
        raise ContributionError(
            f"baseline {value.dtype} {tuple(value.shape)} given, expected one sample {x.dtype} {(1, *x.shape[1:])}, or "
            "a number for all of it."
        )
    return value.to(x)


def _check(metrics: list[str], taylor: str) -> None:
    for metric in metrics:
        if metric not in METRICS:
            raise ContributionError(
                f"unknown metric {metric!r}; known: {', '.join(METRICS)}.{near_miss(metric, METRICS)}"
            )
    if taylor not in ("weights", "gate"):
        raise ContributionError(f"taylor={taylor!r} given, expected 'weights' or 'gate'.")
    if torch.is_inference_mode_enabled() and {"deeplift", "taylor"} & set(metrics):
        raise ContributionError(
            f"{', '.join(metrics)} asked for within torch.inference_mode(), where there are no derivatives: expected "
            "outside of it, or the metrics avg, var and ens (torch.no_grad() does no harm)."
        )


@torch.no_grad()
def _check_outputs(traced: fx.GraphModule, x: Tensor, n_classes: int, metrics: list[str]) -> None:
    """Raise ContributionError unless the network gives a logit for each class."""
    out = graphs.run(traced, {}, x)
    if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != len(x):
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ContributionError(
            f"the network gives {shape} for {len(x)} samples, expected logits ({len(x)}, classes); one of several "
            "outputs can be picked by a module around the network, as net(x)['logits']."
        )
    if out.shape[1] < n_classes:
        raise ContributionError(f"{n_classes} classes given, but the network has {out.shape[1]} outputs.")
    if out.shape[1] < 2 and "taylor" in metrics:
        raise ContributionError(
            "the network has one output, whose cross-entropy is 0 whatever it is, and so would be all Taylor scores: "
            "expected two logits at least, or the metrics avg, var, ens and deeplift."
        )


@torch.no_grad()
def _check_apart(traced: fx.GraphModule, x: Tensor, baseline: Tensor) -> None:
    """Raise ContributionError where a sample's outputs depend on what else is in the batch; x is one sample."""
    beside_one, beside_two = (graphs.run(traced, {}, torch.cat([x, *[baseline] * n]))[:1] for n in (1, 2))
    if off := graphs.differ(beside_one, beside_two):
        raise ContributionError(
            f"a sample's outputs depend on the other samples of its batch ({off}): DeepLIFT's contributions would not "
            "add up; expected a network that keeps samples apart in eval mode, or the metrics avg, var, ens and taylor."
        )


def _record(traced: fx.GraphModule, found: dict, batch: Tensor, values: dict[str, Tensor]) -> None:
    """Fill values[layer] with the layer's values (N, width), means over space, by one forward pass."""
    with torch.no_grad():
        graphs.run(traced, _means(found, values), batch)


def _means(found: dict, values: dict[str, Tensor]) -> dict:
    return {
        layer.site: lambda value, layer=layer: values.__setitem__(
            layer.name, neurons.reduce(value.detach(), "mean", layer.axis).squeeze(2).clone()
        )
        for layer in found.values()
    }


def _taylor(traced: fx.GraphModule, found: dict, batch: Tensor, c: int, form: str, values: dict) -> dict[str, Tensor]:
    """The batch's Taylor scores {layer: (width,)} from one forward and one backward pass; fills `values` on the way."""
    target = torch.full((len(batch),), c, device=batch.device)
    means = _means(found, values)
    if form == "weights":
        weights = [traced.get_submodule(name).weight for name in found]
        _check_own(found, weights)
        held = [weight.requires_grad for weight in weights]
        for weight in weights:
            weight.requires_grad_()
        try:
            with torch.enable_grad():
                loss = F.cross_entropy(graphs.run(traced, means, batch), target)
                gradients = _gradients(loss, dict(zip(found, weights, strict=True)))
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
    batch.requires_grad_(batch.is_floating_point())
    with torch.enable_grad():
        # The sum, not the mean, over samples: each sample's own gradient.
        loss = F.cross_entropy(graphs.run(traced, visits, batch), target, reduction="sum")
        gradients = _gradients(loss, sites)
    pairs = zip(sites.items(), gradients, strict=True)
    products = {name: (a.detach() * g).double().movedim(found[name].axis, 1) for (name, a), g in pairs}
    return {name: (p.flatten(2).sum(2) if p.dim() > 2 else p).square().sum(0) for name, p in products.items()}


def _gradients(loss: Tensor, at: dict[str, Tensor]) -> list[Tensor]:
    """The derivatives by each layer's tensor. Raises ContributionError naming a layer that they do not reach."""
    gradients = [None] * len(at)
    if loss.requires_grad:
        gradients = torch.autograd.grad(loss, list(at.values()), allow_unused=True)
    for name, gradient in zip(at, gradients, strict=True):
        if gradient is None:
            raise ContributionError(
                f"no gradient reaches layer {name!r}, which Taylor scores by: forward() cuts it off (detach()). "
                "Expected another metric: avg, var, ens or deeplift."
            )
    return gradients


def _check_own(found: dict, weights: list[Tensor]) -> None:
    """Raise ContributionError unless each layer has weights of its own: what is shared has one gradient for all who use
    it, and what is computed from others is no parameter."""
    for name, weight in zip(found, weights, strict=True):
        users = [other for other, its in zip(found, weights, strict=True) if its is weight]
        if len(users) > 1 or not weight.is_leaf:
            why = f"shares its weights with {users[-1]!r}" if len(users) > 1 else "computes its weights from others"
            raise ContributionError(f"layer {name!r} {why}: Taylor by weights means nothing there, take taylor='gate'.")


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
