"""Steps that several studies take."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nssutils import contribution, data, neurons, slicing, training
from nssutils.settings import Setting

# The two metrics that are best in RQ1; its thetas and some above, since on small networks 0.99 leaves out much already.
CANDIDATE_METRICS = ("deeplift", "taylor")
CANDIDATE_THETAS = (*(round(0.90 + 0.01 * i, 2) for i in range(10)), 0.995, 0.999, 0.9999)
CHOSEN_ON = {"smoke": 200, "quick": 1000, "paper": 5000}  # training images


def scored_images(setting: Setting, loaded: data.Data) -> tuple[Tensor, Tensor]:
    """The training images, on the device, and their labels on which contributions are computed (score_size)."""
    if setting.score_size == 0:
        keep = torch.arange(len(loaded.y_train))
    else:
        keep = data.first_per_class(loaded.y_train, setting.score_size // setting.n_classes)
    return loaded.x_train[keep].to(training.device()), loaded.y_train[keep]


def ranked(scores: dict[str, dict[str, Tensor]], whole: bool, counts: Tensor) -> dict[str, dict[str, Tensor]]:
    """Neurons by descending contribution, {metric: {layer: (n_classes, width)}}; if `whole`, (1, width) over all."""
    scores = contribution.overall(scores, counts) if whole else scores
    return {
        metric: {name: contribution.ranking(value) for name, value in by_layer.items()}
        for metric, by_layer in scores.items()
    }


def masked_accuracy(net: nn.Module, masks, x: Tensor, y: Tensor) -> float:
    """Accuracy on images x, labels y with only the neurons of the masks (a Slice or {layer: bool (width,)}) active."""
    with neurons.masked(net, masks):
        return training.evaluate(net, x, y)


@dataclass(frozen=True)
class Candidate:
    """A semantic slice that may serve, and what it costs on training images."""

    metric: str
    theta: float
    critical: slicing.Slice
    compression_rate: float
    loss: float  # accuracy of the whole network minus that of the slice, on training images


def judged_images(setting: Setting, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of training images x, labels y, those on which a slice is judged, class-balanced: the test set has no say."""
    few = data.first_per_class(y, CHOSEN_ON[setting.preset] // len(y.unique()))
    return x[few], y[few]


def candidates(
    net: nn.Module, setting: Setting, x: Tensor, y: Tensor, spatial: str, centred: bool, samples: int
) -> list[Candidate]:
    """Semantic slices over the metrics and thetas among which the maintenance tasks choose.

    x: training images, y: their labels, of every class some; the loss is measured on a part of them.
    """
    n_classes = int(y.max()) + 1
    scores = contribution.score(net, x, y, CANDIDATE_METRICS, n_classes=n_classes)
    orders = {
        metric: {name: contribution.ranking(value) for name, value in by_layer.items()}
        for metric, by_layer in scores.items()
    }
    curves = slicing.similarity_curves(net, x, y, orders, n_classes, samples, spatial, centred)
    judged = judged_images(setting, x, y)
    traced, base, found = neurons.trace(net), training.evaluate(net, *judged), []
    for metric in CANDIDATE_METRICS:
        for theta in CANDIDATE_THETAS:
            one = slicing.at_theta(curves[metric], orders[metric], theta)
            loss = base - masked_accuracy(traced, one, *judged)
            found.append(Candidate(metric, theta, one, one.compression_rate(traced), loss))
    return found


def optimal(found: list[Candidate], tolerance: float) -> Candidate:
    """The candidate that leaves out the most parameters while losing at most `tolerance` accuracy; where all lose
    more, the one that loses least (its loss is reported with it)."""
    within = [one for one in found if one.loss <= tolerance]
    if not within:
        return min(found, key=lambda one: one.loss)
    return max(within, key=lambda one: one.compression_rate)


def described(one: Candidate) -> dict:
    """The row that says which slice was chosen."""
    return {
        "metric": one.metric, "theta": one.theta, "compression_rate": one.compression_rate, "train_loss": one.loss,
        "neurons": sum(int(mask.sum()) for mask in one.critical.masks.values()),
    }  # fmt: skip
