"""Steps that several studies take."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nssutils import data, graphs, neurons, restructuring, slicing, training
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import answers, scores

# The two metrics that are best in RQ1; its thetas and some above, since on small networks 0.99 leaves out much already.
CANDIDATE_METRICS = ("deeplift", "taylor")
THETAS = tuple(round(0.90 + 0.01 * i, 2) for i in range(10))
CANDIDATE_THETAS = (*THETAS, 0.995, 0.999, 0.9999)
# Training images on which slices and pruned networks are judged.
CHOSEN_ON = {
    "smoke": 200, "quick": 1000, "overnight": 2000, "paper": 5000,
    ("overnight", "resnet101"): 500, ("overnight", "vgg19"): 500,
}  # fmt: skip


def sized(table: dict, setting: Setting):
    """How large an experiment is at a preset: the entry for (preset, model), where a processor needs one, or preset."""
    return table.get((setting.preset, setting.model), table[setting.preset])


def clock() -> float:
    """Seconds, to tell how long something takes: those that this process computes, so that neither a pause nor what
    else the machine does counts; on a GPU those that pass until it has done all."""
    if training.device().type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def scored_images(setting: Setting, loaded: data.Data) -> tuple[Tensor, Tensor]:
    """The training images, on the device, and their labels on which contributions are computed (score_size)."""
    if setting.score_size == 0:
        keep = torch.arange(len(loaded.y_train))
    else:
        keep = data.first_per_class(loaded.y_train, setting.score_size // setting.n_classes)
    return loaded.x_train[keep].to(training.device()), loaded.y_train[keep]


def whole(net: nn.Module, accuracy: float, images: int) -> dict:
    """The row of a table `base`: the whole network's accuracy on so many test images."""
    return {"accuracy": accuracy, "parameters": count_parameters(net), "images": images}


def base(net: nn.Module, right: Tensor) -> dict:
    """As `whole`, with which of the test images are recognised, bool (N,)."""
    return whole(net, right.double().mean().item(), len(right)) | {"right": answers.packed(right)}


def masked_accuracy(net: nn.Module, masks, x: Tensor, y: Tensor, reduced: bool = False) -> float:
    """Accuracy on images x, labels y with only the neurons of the masks (a Slice or {layer: bool (width,)}) active."""
    with neurons.masked(net, masks):
        return training.evaluate(net, x, y, reduced=reduced)


def sliced_correct(net: nn.Module, critical, x: Tensor, y: Tensor, setting: Setting) -> Tensor:
    """Which of the images x with labels y are recognised with only the slice active (a Slice or masks): bool (N,).

    By the network that the slice is extracted to, which is the masked one's equal and has less to compute. Where
    branches of residual additions keep different channels, adding by index costs more than that saves; reading a
    transformer off, which takes an example, takes longer than its images.
    """
    reduced = setting.reduced_evaluation
    if setting.model in ("resnet101", "vit"):
        with neurons.masked(net, critical):
            return training.correct(net, x, y, reduced=reduced)
    small = restructuring.extract(net, critical, fold=reduced, x=x[:1], check=False)
    return training.correct(small, x, y, reduced=reduced)


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
    few = data.first_per_class(y, sized(CHOSEN_ON, setting) // len(y.unique()))
    return x[few], y[few]


def candidates(net: nn.Module, setting: Setting, x: Tensor, y: Tensor, **readings) -> list[Candidate]:
    """Semantic slices over the metrics and thetas among which the maintenance tasks choose.

    x: training images, y: their labels, of every class some; the loss is measured on a part of them. readings: those
    of scores.of.
    """
    scored = scores.of(net, x, y, **readings)
    slices = {
        (metric, theta): scored.semantic(metric, theta) for metric in CANDIDATE_METRICS for theta in CANDIDATE_THETAS
    }
    return weighed(net, slices, setting, x, y)


def weighed(
    net: nn.Module, slices: dict[tuple[str, float], slicing.Slice], setting: Setting, x: Tensor, y: Tensor,
    right: Callable = sliced_correct,
) -> list[Candidate]:  # fmt: skip
    """What each slice {(metric, theta): slice} leaves out, and costs on some of the training images x with labels y.

    right: which images are recognised with only a slice active, called as sliced_correct is.
    """
    judged, traced = judged_images(setting, x, y), graphs.trace(net)
    base = training.evaluate(net, *judged, reduced=setting.reduced_evaluation)
    found = []
    for (metric, theta), one in slices.items():
        loss = base - right(net, one, *judged, setting).double().mean().item()
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
