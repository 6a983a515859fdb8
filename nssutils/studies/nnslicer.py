"""NNSlicer and its three applications (Zhang et al. 2020, abstract), each against what needs no data-flow analysis."""

import time

import torch
from torch import Tensor, nn

from nssutils import data, nnslicer, training
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import common, nnslicer_detection, nnslicer_protection, nnslicer_pruning

RANKING = {"smoke": 2, "quick": 10, "paper": 50}  # training images of each class behind a ranking
SHOWN = 10  # test images of which the slices' sizes are shown


def measure(
    setting: Setting, seed: int, loaded: data.Data, *, theta: float = nnslicer.THETA, spatial: str = "mean",
    centred: bool = True, samples: int = 256,
) -> dict:  # fmt: skip
    """NNSlicer's three applications on one network.

    Rankings are by contributions summed over training images, of each class to its own output. Tables: base (accuracy,
    parameters); sizes (what: neurons or synapses, share in the slice of one test image, on average); seconds (what,
    seconds); and those of nnslicer_detection, nnslicer_pruning and nnslicer_protection.
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
    return {
        "base": [
            {
                "accuracy": training.evaluate(net, loaded.x_test, loaded.y_test),
                "parameters": count_parameters(net),
            }
        ],
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


def _sizes(net: nn.Module, x: Tensor, means: nnslicer.Profile, theta: float) -> list[dict]:
    """How much of the network is in the slice of one image, on average over images x, from their predicted classes."""
    rows: dict[str, list[float]] = {"neurons": [], "synapses": []}
    for image, predicted in zip(x, training.logits(net, x).argmax(1), strict=True):
        found = nnslicer.contributions(net, image[None], predicted[None], means, theta)
        for what, masks in (("neurons", found.slice().masks), ("synapses", found.synapse_slice())):
            rows[what].append(torch.cat([mask.flatten() for mask in masks.values()]).double().mean().item())
    return [{"what": what, "share": sum(shares) / len(shares)} for what, shares in rows.items()]
