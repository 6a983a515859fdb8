"""The pilot studies (Section 3.1): what masking a band of the ranked neurons does to the accuracy. Tables 1, 2, 3."""

import sys

import torch
from tqdm import tqdm

from nssutils import contribution, data, slicing, training
from nssutils.settings import Setting
from nssutils.studies import common

# Table 1's rows: shares of each layer's neurons by descending contribution.
BANDS = ((0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5))


def band_name(low: float, high: float) -> str:
    return f"{low:.0%}-{high:.0%}".replace("%", "")


def measure_global(setting: Setting, seed: int, loaded: data.Data) -> dict:
    """Accuracy after masking bands ranked over the whole dataset (Table 1).

    Tables: base (accuracy); masking (metric, band, accuracy).
    """
    net, x, y, orders = _prepared(setting, seed, loaded, whole=True)
    rows = []
    for metric, by_layer in tqdm(orders.items(), desc="masking", unit="metric", file=sys.stderr, mininterval=2):
        for low, high in BANDS:
            masks = {name: ~slicing.band_mask(order[0], low, high) for name, order in by_layer.items()}
            accuracy = common.masked_accuracy(net, masks, x, y)
            rows.append({"metric": metric, "band": band_name(low, high), "accuracy": accuracy})
    return {"base": [{"accuracy": training.evaluate(net, x, y)}], "masking": rows}


def measure_categorywise(setting: Setting, seed: int, loaded: data.Data) -> dict:
    """Accuracy on each class's test images after masking bands ranked for that class (Tables 2 and 3).

    Tables: base (category, accuracy); masking (metric, band, category, accuracy). Categories count from 1.
    """
    net, x, y, orders = _prepared(setting, seed, loaded, whole=False)
    classes = range(setting.n_classes)
    base = [{"category": c + 1, "accuracy": training.evaluate(net, x[y == c], y[y == c])} for c in classes]
    rows = []
    for metric, by_layer in tqdm(orders.items(), desc="masking", unit="metric", file=sys.stderr, mininterval=2):
        for low, high in BANDS:
            for c in classes:
                masks = {name: ~slicing.band_mask(order[c], low, high) for name, order in by_layer.items()}
                accuracy = common.masked_accuracy(net, masks, x[y == c], y[y == c])
                rows.append({"metric": metric, "band": band_name(low, high), "category": c + 1, "accuracy": accuracy})
    return {"base": base, "masking": rows}


def _prepared(setting: Setting, seed: int, loaded: data.Data, whole: bool):
    """The trained network, the test images and labels on its device, and the rankings by all five metrics."""
    net = training.trained(setting, seed, loaded)
    x, y = common.scored_images(setting, loaded)
    scores = contribution.score(net, x, y, n_classes=setting.n_classes)
    orders = common.ranked(scores, whole, torch.bincount(y))
    return net, loaded.x_test.to(training.device()), loaded.y_test.to(training.device()), orders
