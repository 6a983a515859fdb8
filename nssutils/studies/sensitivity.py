"""What the readings change that the paper leaves open: each varied alone, the others as everywhere in this book."""

import copy
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, fx, nn
from tqdm import tqdm

from nssutils import contribution, data, graphs, neurons, slicing, training
from nssutils.settings import Setting
from nssutils.studies import common, parts, rq1, scores, sensitivity_combined

# Reading -> its values, this book's first.
READINGS: dict[str, tuple[str, ...]] = {
    **sensitivity_combined.SCANS,
    "value of a channel": ("mean", "flatten"),
    "Taylor": ("weights", "gate"),
    "Taylor's batch": ("256", "64", "a class"),
    "DeepLIFT's baseline": ("zeros", "mean image"),
    "DeepLIFT by": ("this book", "captum"),
    "Ens, scaled over": ("layer and class", "layer"),
    "masked": ("after the rectifier", "before batch normalisation"),
}
# Of a metric's contributions; the others touch every metric.
TOUCHED = {
    "Taylor": ("taylor",), "Taylor's batch": ("taylor",), "DeepLIFT's baseline": ("deeplift",),
    "DeepLIFT by": ("deeplift",), "Ens, scaled over": ("ens",),
}  # fmt: skip
IN_CONVOLUTIONS = ("value of a channel", "masked")  # where a neuron has one value an image, these change nothing
CAPTUM_IMAGES = 1000  # of the scored ones; captum takes a pass for each layer

ByMetric = dict[str, dict[str, Tensor]]


def measure(setting: Setting, seed: int, loaded: data.Data) -> dict:
    """Slices under each value of each reading, and the semantic ones under combinations of them.

    Tables: base (accuracy, parameters, images); points (reading, value, method, metric, at, compression_rate,
    accuracy), as RQ1's, of the methods and metrics that the reading touches; slices (reading, value, tolerance, metric,
    at, compression_rate, accuracy): of DeepLIFT's and Taylor's slices that which leaves out the most while it costs at
    most the tolerance on training images; combined, as in sensitivity_combined, of MLPs.
    """
    net = training.trained(setting, seed, loaded)
    x, y = common.scored_images(setting, loaded)
    test = loaded.x_test.to(training.device()), loaded.y_test
    base = training.correct(net, *test, reduced=setting.reduced_evaluation)
    plain = contribution.score(net, x, y, n_classes=setting.n_classes)
    varied = [(reading, value) for reading, values in READINGS.items() for value in values[1:]]
    if setting.model == "mlp":
        varied = [(reading, value) for reading, value in varied if reading not in IN_CONVOLUTIONS]

    def read(reading: str, value: str) -> dict[str, list[dict]]:
        """Rows of the tables points and slices under one value of one reading."""
        points, chosen = [], []
        lead, metrics = {"reading": reading, "value": value}, TOUCHED.get(reading, contribution.METRICS)
        by_metric = plain | _scores(net, x, y, reading, value, plain, setting.n_classes)
        right = _before_normalisation if reading == "masked" else common.sliced_correct
        semantic = _semantic(net, x, y, by_metric, {*metrics, *common.CANDIDATE_METRICS}, reading, value, setting)
        slices = {("semantic", *key): one for key, one in semantic.items() if key[0] in metrics}
        if reading not in (*sensitivity_combined.SCANS, "value of a channel"):
            slices |= _others(by_metric, metrics, y, rq1.SHARES[:: 4 if setting.preset == "smoke" else 1])
        for (method, metric, at), one in slices.items():
            if method != "semantic" or at in common.THETAS:
                accuracy = right(net, one, *test, setting).double().mean().item()
                points.append(
                    lead
                    | {"method": method, "metric": metric, "at": at}
                    | {"compression_rate": one.compression_rate(net), "accuracy": accuracy}
                )
        if set(metrics) & set(common.CANDIDATE_METRICS):
            candidates = {key: one for key, one in semantic.items() if key[0] in common.CANDIDATE_METRICS}
            chosen += _chosen(net, x, y, test, candidates, lead, setting, right)
        return {"points": points, "slices": chosen}

    found: dict[str, list[dict]] = {"points": [], "slices": []}
    key = parts.key(net, setting, seed, loaded)
    for reading, value in tqdm([("this book", ""), *varied], desc="readings", file=sys.stderr, mininterval=2):
        parts.add(found, "studies.sensitivity.measure", [*key, reading, value], partial(read, reading, value))
    tables = {"base": [common.whole(net, base.double().mean().item(), len(base))], **found}
    if setting.model == "mlp":
        tables["combined"] = sensitivity_combined.measure(net, x, y, _variants(net, x, y, plain, setting), setting)
    return tables


def _scores(
    net: nn.Module, x: Tensor, y: Tensor, reading: str, value: str, plain: ByMetric, n_classes: int
) -> ByMetric:  # fmt: skip
    """The contributions that a reading changes."""
    if reading == "Taylor":
        return contribution.score(net, x, y, ("taylor",), n_classes, taylor=value)
    if reading == "Taylor's batch":
        return contribution.score(net, x, y, ("taylor",), n_classes, len(y) if value == "a class" else int(value))
    if reading == "DeepLIFT's baseline":
        return contribution.score(net, x, y, ("deeplift",), n_classes, baseline=x.mean(0, keepdim=True))
    if reading == "DeepLIFT by":
        return {"deeplift": _captum(net, x, y, n_classes, torch.zeros_like(x[:1]))}
    if reading == "Ens, scaled over":
        pairs = {name: (plain["avg"][name], plain["var"][name]) for name in plain["avg"]}
        whole = {name: contribution.ensemble(avg.flatten(), var.flatten()) for name, (avg, var) in pairs.items()}
        return {"ens": {name: value.view_as(plain["avg"][name]) for name, value in whole.items()}}
    return {}


def _captum(net: nn.Module, x: Tensor, y: Tensor, n_classes: int, baseline: Tensor) -> dict[str, Tensor]:
    """DeepLIFT as captum's LayerDeepLift has it, which the paper used: mean over some images of each class, summed over
    space, float64 (n_classes, width) for each layer."""
    from captum.attr import LayerDeepLift  # takes seconds to import, and only this reading needs it

    net = _call_by_call(net)
    read_at = {node.name: node.target for node in net.graph.nodes}
    found = {}
    for name, layer in neurons.layers(net).items():
        total = torch.zeros(n_classes, layer.width, dtype=torch.float64)
        for c in range(n_classes):
            images = x[(y == c).nonzero()[: CAPTUM_IMAGES // n_classes, 0]]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it sets hooks and requires gradients
                explained = LayerDeepLift(net, net.get_submodule(read_at[layer.site]))
                part = explained.attribute(images, baseline.expand_as(images), target=c)
            part = part.detach().double().movedim(layer.axis, 1)
            total[c] = (part.flatten(2).sum(2) if part.dim() > 2 else part).mean(0)
        found[name] = total
    return found


def _call_by_call(net: nn.Module) -> fx.GraphModule:
    """The network with a module for each call, as captum needs it: ResNet-18 calls one ReLU twice in a block."""
    traced, called = graphs.trace(copy.deepcopy(net)), set()
    for node in traced.graph.nodes:
        if node.op == "call_module" and node.target in called:
            again = copy.deepcopy(traced.get_submodule(node.target))
            node.target = f"{node.target}_{node.name}"
            traced.add_submodule(node.target, again)
        called.add(node.target)
    traced.recompile()
    return traced


def _variants(
    net: nn.Module, x: Tensor, y: Tensor, plain: ByMetric, setting: Setting
) -> dict[tuple[str, str], dict[str, Tensor]]:  # fmt: skip
    """DeepLIFT's and Taylor's contributions under every combination of the readings of each: {(metric, which): scores},
    this book's first."""
    n_classes, mean = setting.n_classes, x.mean(0, keepdim=True)
    deeplift = {
        "zeros, this book": plain["deeplift"],
        "mean image, this book": _scores(net, x, y, "DeepLIFT's baseline", "mean image", plain, n_classes)["deeplift"],
        "zeros, captum": _captum(net, x, y, n_classes, torch.zeros_like(mean)),
        "mean image, captum": _captum(net, x, y, n_classes, mean),
    }
    taylor = {
        "weights, 256": plain["taylor"],
        "weights, 64": _scores(net, x, y, "Taylor's batch", "64", plain, n_classes)["taylor"],
        "weights, a class": _scores(net, x, y, "Taylor's batch", "a class", plain, n_classes)["taylor"],
        "gate": _scores(net, x, y, "Taylor", "gate", plain, n_classes)["taylor"],
    }
    named = {"deeplift": deeplift, "taylor": taylor}
    return {(metric, which): one for metric, by_name in named.items() for which, one in by_name.items()}


def _semantic(
    net: nn.Module, x: Tensor, y: Tensor, by_metric: ByMetric, wanted: set[str], reading: str, value: str,
    setting: Setting,
) -> dict[tuple[str, float], slicing.Slice]:  # fmt: skip
    """The semantic slices {(metric, theta): slice} by given contributions, under a reading of similarity or scan."""
    scan = {name: values[0] for name, values in sensitivity_combined.SCANS.items()}
    scan |= {reading: value} if reading in scan else {}
    orders = scores.orders({metric: by_metric[metric] for metric in contribution.METRICS if metric in wanted})
    curves = slicing.similarity_curves(
        net, x, y, orders, None, int(scan["images for the CKA"]),
        "flatten" if value == "flatten" else "mean", centred=scan["CKA"] == "centred",
    )  # fmt: skip
    thetas = sensitivity_combined.thetas(setting)
    return {
        (metric, theta): sensitivity_combined.scanned(curve, orders[metric], theta, scan)
        for metric, curve in curves.items()
        for theta in thetas
    }


def _others(
    by_metric: ByMetric, metrics: Sequence[str], y: Tensor, shares: Sequence[float]
) -> dict[tuple[str, str, float], slicing.Slice]:  # fmt: skip
    """Global and category-wise slices {(method, metric, share): slice} by given contributions."""
    whole = contribution.overall(by_metric, torch.bincount(y.cpu()))
    rankings = {
        "global": scores.orders({metric: whole[metric] for metric in metrics}),
        "category-wise": scores.orders({metric: by_metric[metric] for metric in metrics}),
    }
    return {
        (method, metric, share): slicing.top_share(order, share)
        for method, by in rankings.items()
        for metric, order in by.items()
        for share in shares
    }


def _before_normalisation(net: nn.Module, critical, x: Tensor, y: Tensor, setting: Setting) -> Tensor:
    """As common.sliced_correct, but what is not critical is zero where it leaves its convolution: what the batch
    normalisation and the activation make of that zero goes on."""
    with weighted_masked(net, critical.masks):
        return training.correct(net, x, y, reduced=setting.reduced_evaluation)


@contextmanager
def weighted_masked(net: nn.Module, masks: slicing.Masks) -> Iterator[None]:
    """Within the block what leaves a layer is zero at neurons outside the masks: before its normalisation and
    activation, not past them as in neurons.masked."""

    def masked(mask: Tensor) -> Callable:
        def hook(module: nn.Module, given: tuple, out: Tensor) -> Tensor:
            channels_last = isinstance(module, nn.Linear)  # of tokens, too
            return out * mask.to(out).view(-1, *[1] * (0 if channels_last else out.dim() - 2))

        return hook

    hooks = [net.get_submodule(name).register_forward_hook(masked(mask)) for name, mask in masks.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _chosen(
    net, x: Tensor, y: Tensor, test, slices: dict, lead: dict, setting: Setting, right: Callable
) -> list[dict]:  # fmt: skip
    """Of the slices {(metric, theta): slice}, those that RQ2 and RQ3 would choose."""
    found, rows = common.weighed(net, slices, setting, x, y, right), []
    for tolerance in sensitivity_combined.TOLERANCES:
        best = common.optimal(found, tolerance)
        accuracy = right(net, best.critical, *test, setting).double().mean().item()
        rows.append(
            lead
            | {"tolerance": tolerance, "metric": best.metric, "at": best.theta}
            | {"compression_rate": best.compression_rate, "accuracy": accuracy}
        )
    return rows
