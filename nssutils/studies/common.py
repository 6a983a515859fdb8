"""Steps that several studies take."""

import torch
from torch import Tensor, nn

from nssutils import contribution, data, neurons, training
from nssutils.settings import Setting


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
