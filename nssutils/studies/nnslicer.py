"""NNSlicer and its three applications (Zhang et al. 2020, abstract), each against what needs no data-flow analysis."""

import time

import torch
from torch import Tensor, nn

from nssutils import contribution, data, neurons, nnslicer, slicing, training
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import answers, common, nnslicer_detection, nnslicer_protection, nnslicer_pruning, rq1

RANKING = {"smoke": 2, "quick": 10, "overnight": 10, "paper": 50}  # training images of each class behind a ranking
SHOWN = 10  # test images of which the slices' sizes are shown


def measure(
    setting: Setting, seed: int, loaded: data.Data, *, theta: float = nnslicer.THETA, spatial: str = "mean",
    centred: bool = True, samples: int = 256,
) -> dict:  # fmt: skip
    """NNSlicer's three applications on one network.

    Rankings are by contributions summed over training images, of each class to its own output. Tables: base (accuracy,
    parameters, images, right); curve (method, at, compression_rate, accuracy, right): RQ1's points of slices that keep
    the top share of each layer by NNSlicer's own ranking, contributions added up over the classes, in size; sizes
    (what: neurons or synapses, share in the slice of one test image, on average); seconds (what, seconds); and those of
    nnslicer_detection, nnslicer_pruning and nnslicer_protection. `right` as in rq1.measure.
    """
    net = training.trained(setting, seed, loaded)
    x, y = common.scored_images(setting, loaded)
    start = time.perf_counter()
    means = nnslicer.profile(net, x)
    profiled = time.perf_counter() - start
    few = data.first_per_class(y, RANKING[setting.preset])
    start = time.perf_counter()
    at_neurons, at_synapses = nnslicer.class_contributions(
        net, x[few], y[few], means, theta, synapses=True, n_classes=setting.n_classes
    )
    sliced = (time.perf_counter() - start) / len(few)
    test = loaded.x_test.to(training.device()), loaded.y_test
    base = training.correct(net, *test, reduced=setting.reduced_evaluation)
    return {
        "base": [
            {"accuracy": base.double().mean().item(), "parameters": count_parameters(net)}
            | {"images": len(base), "right": answers.packed(base)}
        ],
        "curve": _curve(net, at_neurons, test, base, setting),
        "sizes": _sizes(net, loaded.x_test[:SHOWN], means, theta),
        "seconds": [
            {"what": "profile", "seconds": round(profiled, 3)},
            {"what": "slice of one image", "seconds": round(sliced, 5)},
        ],
        **nnslicer_detection.measure(net, setting, seed, loaded, means, theta),
        **nnslicer_pruning.measure(
            net, setting, seed, loaded, (x, y), at_neurons, at_synapses, spatial, centred, samples
        ),
        **nnslicer_protection.measure(net, setting, seed, loaded, at_synapses),
    }


def _curve(net: nn.Module, found: dict[str, Tensor], test: tuple, base: Tensor, setting: Setting) -> list[dict]:
    order = {name: contribution.ranking(value.abs().sum(0, keepdim=True)) for name, value in found.items()}
    traced, rows = neurons.trace(net), []
    for share in rq1.SHARES:
        one = slicing.top_share(order, share)
        right = common.sliced_correct(net, one, *test, setting)
        accuracy = {"accuracy": right.double().mean().item(), "right": answers.packed(right, base)}
        rows.append(
            {"method": "nnslicer", "at": share, "compression_rate": one.compression_rate(traced)} | accuracy
        )  # fmt: skip
    return rows


def _sizes(net: nn.Module, x: Tensor, means: nnslicer.Profile, theta: float) -> list[dict]:
    """How much of the network is in the slice of one image, on average over images x, from their predicted classes."""
    rows: dict[str, list[float]] = {"neurons": [], "synapses": []}
    for image, predicted in zip(x, training.logits(net, x).argmax(1), strict=True):
        found = nnslicer.contributions(net, image[None], predicted[None], means, theta)
        for what, masks in (("neurons", found.slice().masks), ("synapses", found.synapse_slice())):
            rows[what].append(torch.cat([mask.flatten() for mask in masks.values()]).double().mean().item())
    return [{"what": what, "share": sum(shares) / len(shares)} for what, shares in rows.items()]
