"""At which theta each neuron enters the slice of each class: the slices of a whole grid, one letter a neuron."""

import torch

from nssutils import data, training
from nssutils.settings import Setting
from nssutils.studies import common, scores

NEVER = "-"


def measure(setting: Setting, seed: int, loaded: data.Data, *, metric: str = "deeplift") -> dict:
    """The semantic slices by one metric at every theta of the grid; a higher theta only adds neurons.

    Tables: base (accuracy, parameters, images); slices (theta, compression_rate, accuracy: of the network with only
    the slice active); entries (layer, category, entry: a letter for each neuron of the layer, the row of `slices` whose
    theta is the first at which the class needs it, or NEVER).
    """
    net = training.trained(setting, seed, loaded)
    x, y = common.scored_images(setting, loaded)
    found = scores.of(net, x, y)
    reduced, test = setting.reduced_evaluation, (loaded.x_test, loaded.y_test)
    accuracy = training.evaluate(net, *test, reduced=reduced)
    slices = [found.semantic(metric, theta) for theta in common.THETAS]
    at_theta = [
        {"theta": theta, "compression_rate": one.compression_rate(net)}
        | {"accuracy": common.masked_accuracy(net, one, *test, reduced)}
        for theta, one in zip(common.THETAS, slices, strict=True)
    ]
    entries = [
        {"layer": layer, "category": c, "entry": entered(torch.stack([one.by_class[c][layer] for one in slices]))}
        for layer in slices[0].masks
        for c in range(setting.n_classes)
    ]
    return {"base": [common.whole(net, accuracy, len(loaded.y_test))], "slices": at_theta, "entries": entries}


def entered(masks: torch.Tensor) -> str:
    """For masks bool (thetas, width), each within the next, the first row that has each neuron, as a digit."""
    first = masks.int().argmax(0).tolist()
    return "".join(str(row) if there else NEVER for row, there in zip(first, masks[-1].tolist(), strict=True))
