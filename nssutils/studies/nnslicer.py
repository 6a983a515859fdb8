"""NNSlicer (Zhang et al. 2020) as a way to slice: how large its slices are, what they take, what they are good for
without training. Its applications by its own protocols have chapters of their own."""

import torch
from torch import Tensor, nn

from nssutils import contribution, data, graphs, models, nnslicer, slicing, training
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import answers, common, nnslicer_supervised, rq1

RANKING = {"smoke": 2, "quick": 10, "overnight": 10, "paper": 50}  # training images of each class behind a ranking
SHOWN = 10  # test images of which the slices' sizes and times are shown


def measure(
    setting: Setting, seed: int, loaded: data.Data, *, theta: float = nnslicer.THETA
) -> dict:  # fmt: skip
    """NNSlicer's slices of one network, and detectors that are trained on some attacks.

    Rankings are by contributions summed over training images, of each class to its own output. Tables: base (accuracy,
    parameters, images, right); curve (method, at, compression_rate, accuracy, right): RQ1's points of slices that keep
    the top share of each layer by NNSlicer's own ranking, contributions added up over the classes, in size; sizes
    (what: neurons or synapses, share in the slice of one test image, on average); seconds (network, parameters,
    what: single or batch, seconds of an image, forwards and backwards); and those of nnslicer_supervised. `right` as in
    rq1.measure.
    """
    net = training.trained(setting, seed, loaded)
    x, y = common.scored_images(setting, loaded)
    means = nnslicer.profile(net, x)
    few = data.first_per_class(y, RANKING[setting.preset])
    at_neurons, _ = nnslicer.class_contributions(net, x[few], y[few], means, theta, n_classes=setting.n_classes)
    test = loaded.x_test.to(training.device()), loaded.y_test
    base = training.correct(net, *test, reduced=setting.reduced_evaluation)
    return {
        "base": [common.base(net, base)],
        "curve": _curve(net, at_neurons, test, base, setting),
        "sizes": _sizes(net, loaded.x_test[:SHOWN], means, theta),
        "seconds": _seconds(net, setting, loaded, means, theta),
        **nnslicer_supervised.measure(net, setting, seed, loaded, means, theta),
    }


def _curve(net: nn.Module, found: dict[str, Tensor], test: tuple, base: Tensor, setting: Setting) -> list[dict]:
    order = {name: contribution.ranking(value.abs().sum(0, keepdim=True)) for name, value in found.items()}
    traced, rows = graphs.trace(net), []
    for share in rq1.SHARES:
        one = slicing.top_share(order, share)
        right = common.sliced_correct(net, one, *test, setting)
        row = {"method": "nnslicer", "at": share, "compression_rate": one.compression_rate(traced)}
        rows.append(row | answers.row(right, base))
    return rows


def _sizes(net: nn.Module, x: Tensor, means: nnslicer.Profile, theta: float) -> list[dict]:
    """How much of the network is in the slice of one image, on average over images x, from their predicted classes."""
    rows: dict[str, list[float]] = {"neurons": [], "synapses": []}
    for image, predicted in zip(x, training.logits(net, x).argmax(1), strict=True):
        found = nnslicer.contributions(net, image[None], predicted[None], means, theta)
        for what, masks in (("neurons", found.slice().masks), ("synapses", found.synapse_slice())):
            rows[what].append(torch.cat([mask.flatten() for mask in masks.values()]).double().mean().item())
    return [{"what": what, "share": sum(shares) / len(shares)} for what, shares in rows.items()]


def _seconds(net: nn.Module, setting: Setting, loaded: data.Data, means: nnslicer.Profile, theta: float) -> list[dict]:
    """Time for the slice of an image, neurons and synapses: each by itself, and all in one batch. Beside ResNet-10 also
    of ResNet-18, which NNSlicer's paper times and nothing else; untrained, it takes as long."""
    x = loaded.x_test[:SHOWN].to(training.device())
    timed = {setting.name: (net, means)}
    if setting.model == "resnet10":
        other = models.resnet18(1.0, setting.channels, setting.image_size, setting.n_classes).to(x.device).eval()
        timed["resnet18"] = (other, nnslicer.profile(other, x))
    rows = []
    for name, (each, average) in timed.items():
        target = training.logits(each, x).argmax(1)
        for what, size in (("single", 1), ("batch", len(x))):
            start = common.clock()
            nnslicer.contributions(each, x, target, average, theta, batch_size=size)
            seconds = round((common.clock() - start) / len(x), 5)
            rows.append({"network": name, "parameters": count_parameters(each), "what": what, "seconds": seconds})
    return rows
