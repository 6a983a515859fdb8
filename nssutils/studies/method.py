"""One slice, neuron by neuron, for the pictures of the method: the paper's Figures 1 to 4 drawn from a real network."""

import torch

from nssutils import data, incremental, training
from nssutils.settings import Setting
from nssutils.studies import common, scores

METRIC = "deeplift"


def measure(setting: Setting, seed: int, loaded: data.Data, *, theta: float = 0.95) -> dict:
    """Which neurons are critical, for whom, and how much each contributes.

    Tables: base (accuracy, parameters, images); neurons (layer, neuron, contribution: to the first class, scaled to
    [0, 1] within the layer; first: critical for the first class; critical: for any class; task_a: for any of the first
    half of the classes), by DeepLIFT at theta.
    """
    net = training.trained(setting, seed, loaded)
    x, y = common.scored_images(setting, loaded)
    accuracy = training.evaluate(net, loaded.x_test, loaded.y_test, reduced=setting.reduced_evaluation)
    found = scores.of(net, x, y)
    critical = found.semantic(METRIC, theta)
    first_half = incremental.split(setting.n_classes, "first")[0].tolist()
    rows = []
    for layer, mask in critical.masks.items():
        value = found.contributions[METRIC][layer][0]
        scaled = (value - value.min()) / (value.max() - value.min())
        task_a = torch.stack([critical.by_class[c][layer] for c in first_half]).any(0)
        for neuron in range(len(mask)):
            rows.append(
                {"layer": layer, "neuron": neuron, "contribution": round(scaled[neuron].item(), 4)}
                | {"first": bool(critical.by_class[0][layer][neuron]), "critical": bool(mask[neuron])}
                | {"task_a": bool(task_a[neuron])}
            )
    return {"base": [common.whole(net, accuracy, len(loaded.y_test))], "neurons": rows}
