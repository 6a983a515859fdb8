"""Networks cut down to the synapses that are worth the most to some classes, and what they answer."""

import itertools
import random

import torch
from torch import Tensor, nn

from nssutils import data, selection, training
from nssutils.settings import Setting
from nssutils.studies.nnslicer_classes import Worth

NORMAL = 500  # training images on which statistics are measured again


def subsets(n_classes: int, sizes: dict, seed: int) -> list[tuple[int, ...]]:
    """Subsets of the classes: pairs, then some of each larger size, drawn by the seed where not all are taken."""
    draw, chosen = random.Random(seed), []
    for size in (2, *sizes.get("larger", range(3, n_classes + 1))):
        every = list(itertools.combinations(range(n_classes), size))
        wanted = sizes["pairs" if size == 2 else "others"]
        chosen += every if wanted >= len(every) else sorted(draw.sample(every, wanted))
    return chosen


def places(y: Tensor, classes, most: int) -> Tensor:
    """Places of at most so many images of some classes, as many of each."""
    found = torch.isin(y, torch.tensor(list(classes))).nonzero()[:, 0]
    return found[data.first_per_class(y[found], most // len(classes))]


def normal_images(setting: Setting, x: Tensor, y: Tensor) -> Tensor:
    """The images on which statistics are measured again, the first of each class."""
    return x[data.first_per_class(y.cpu(), NORMAL // setting.n_classes)]


def remaining(worth: Worth, weights: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Which synapses stay when of every layer a share goes."""
    return {
        name: selection.top(worth[name], round((1 - share) * weight.numel()), weight.abs())
        for name, weight in weights.items()
    }


def zeros_in(worth: Worth) -> float:
    """The share of all synapses that are worth nothing."""
    return torch.cat([value.flatten() for value in worth.values()]).eq(0).double().mean().item()


def answered(net: nn.Module, kept: dict[str, Tensor], x: Tensor, normal: Tensor) -> dict[str, Tensor]:
    """What the pruned network takes images x for, by the statistics of its batch normalisation."""
    pruned = selection.without(net, {name: ~mask for name, mask in kept.items()})
    found = {"kept": training.logits(pruned, x).argmax(1).cpu()}
    return found | {"measured again": training.logits(_measured_again(pruned, normal), x).argmax(1).cpu()}


def _measured_again(net: nn.Module, x: Tensor) -> nn.Module:
    """The network, its batch normalisations' means and variances being those of images x."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # the average over all batches, of which there is one
    with torch.no_grad():
        net.train()(x)
    return net.eval()
