"""RQ1 (Section 5.2): how accurate a network is with only its critical neurons, chosen in five ways. Fig. 5."""

import sys
import time

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nssutils import contribution, costs, data, deeparc, neurons, nnslicer, slicing, training
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import common

THETAS = tuple(round(0.90 + 0.01 * i, 2) for i in range(10))
SHARES = tuple(round(0.1 * i, 1) for i in range(1, 11))
SLICED = {"smoke": 2, "quick": 5, "paper": 20}  # training images of each class that NNSlicer's ranking is made of
TERMS = 1e10  # of weighted sums, to be sorted for all of them: large networks are sliced for fewer images


def measure(
    setting: Setting, seed: int, loaded: data.Data, *, spatial: str = "mean", centred: bool = True, samples: int = 256
) -> dict:
    """Compression rate and accuracy of every slice of Fig. 5, DeepArc's included, and the time each metric takes.

    Tables: base (accuracy, parameters); points (method, metric, at, compression_rate, accuracy), `at` being theta or
    the top share; layers (metric, layer, share): what the slice at theta 0.95 keeps; deeparc (unit, similarity) for
    consecutive units; removed (threshold, units, compression_rate, accuracy); seconds (metric, seconds), each metric
    computed by itself. The points of method "nnslicer" have no metric: NNSlicer ranks by its own contributions, summed
    over a few images of each class, in size; the top share of each layer is kept.
    """
    net = training.trained(setting, seed, loaded)
    x, y = common.scored_images(setting, loaded)
    x_test, y_test = loaded.x_test.to(training.device()), loaded.y_test.to(training.device())
    scores = contribution.score(net, x, y, n_classes=setting.n_classes)
    counts = torch.bincount(y)
    by_class, whole = common.ranked(scores, False, counts), common.ranked(scores, True, counts)
    curves = slicing.similarity_curves(net, x, y, by_class, setting.n_classes, samples, spatial, centred)

    slices = {}
    for metric in contribution.METRICS:
        for theta in THETAS:
            slices["semantic", metric, theta] = slicing.at_theta(curves[metric], by_class[metric], theta)
        for share in SHARES:
            slices["global", metric, share] = slicing.top_share(whole[metric], share)
            slices["category-wise", metric, share] = slicing.top_share(by_class[metric], share)
    dynamic = _nnslicer_ranking(net, x, y, setting)
    slices |= {("nnslicer", None, share): slicing.top_share(dynamic, share) for share in SHARES}
    points, layers, traced = [], [], neurons.trace(net)
    for (method, metric, at), one in tqdm(slices.items(), desc="slices", unit="slice", file=sys.stderr, mininterval=2):
        accuracy = common.masked_accuracy(traced, one, x_test, y_test)
        rate = one.compression_rate(traced)
        points.append({"method": method, "metric": metric, "at": at, "compression_rate": rate, "accuracy": accuracy})
        if (method, at) == ("semantic", 0.95):
            layers += [
                {"metric": metric, "layer": name, "share": mask.double().mean().item()}
                for name, mask in one.masks.items()
            ]
    return {
        "base": [{"accuracy": training.evaluate(net, x_test, y_test), "parameters": count_parameters(net)}],
        "points": points,
        "layers": layers,
        **_deeparc(net, x[: deeparc.BATCH], x_test, y_test),
        "seconds": [
            {"metric": metric, "seconds": _seconds(net, x, y, metric, setting)} for metric in contribution.METRICS
        ],
    }


def _nnslicer_ranking(net: nn.Module, x: Tensor, y: Tensor, setting: Setting) -> dict[str, Tensor]:
    """Neurons by descending size of NNSlicer's contributions {layer: (1, width)}, added up over the classes."""
    afford = int(TERMS // (costs.flops(net, x[:1]) / 2 * setting.n_classes))
    few = data.first_per_class(y, max(1, min(SLICED[setting.preset], afford)))
    found, _ = nnslicer.class_contributions(net, x[few], y[few], nnslicer.profile(net, x), n_classes=setting.n_classes)
    return {name: contribution.ranking(value.abs().sum(0, keepdim=True)) for name, value in found.items()}


def _deeparc(net, batch, x_test, y_test) -> dict:
    """DeepArc at its threshold of 0.99 and at 0.95, to which the paper lowers it for AlexNet; nothing is retrained."""
    found = deeparc.units(net)
    alike = deeparc.similarities(net, batch)
    removed = []
    for threshold in (0.99, 0.95):
        gone = deeparc.redundant(found, alike, threshold)
        slim = deeparc.remove(net, gone, batch)
        # A sewing layer can be larger than what it replaces; it then compresses nothing.
        rate = max(0.0, 1 - count_parameters(slim) / count_parameters(net))
        accuracy = training.evaluate(slim, x_test, y_test)
        removed.append({"threshold": threshold, "units": len(gone), "compression_rate": rate, "accuracy": accuracy})
    pairs = [{"unit": unit.name, "similarity": value} for unit, value in zip(found[1:], alike, strict=True)]
    return {"deeparc": pairs, "removed": removed}


def _seconds(net, x, y, metric: str, setting: Setting) -> float:
    """Time to compute one metric, by itself, for every layer and class over the scored images."""
    start = time.perf_counter()
    contribution.score(net, x, y, (metric,), n_classes=setting.n_classes)
    return round(time.perf_counter() - start, 3)
