"""The pilot studies (Section 3.1): what masking a band of the ranked neurons does to the accuracy. Tables 1, 2, 3."""

import sys
from collections.abc import Iterator

from torch import Tensor, nn
from tqdm import tqdm

from nssutils import data, slicing, training
from nssutils.settings import Setting
from nssutils.studies import answers, common, scores

# Table 1's rows: shares of each layer's neurons by descending contribution.
BANDS = ((0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5))


def band_name(low: float, high: float) -> str:
    """A band as the tables name it: "10-20"."""
    return f"{low:.0%}-{high:.0%}".replace("%", "")


def measure_global(setting: Setting, seed: int, loaded: data.Data) -> dict:
    """Accuracy after masking bands ranked over the whole dataset (Table 1).

    Tables: base (accuracy, images, right); masking (metric, band, accuracy, right), `right` as in rq1.measure.
    """
    net, x, y, found = _prepared(setting, seed, loaded)
    base = training.correct(net, x, y, reduced=setting.reduced_evaluation)
    rows = []
    for metric, band, masks in banded(found.whole(), 0):
        right = common.sliced_correct(net, masks, x, y, setting)
        rows.append({"metric": metric, "band": band} | answers.row(right, base))
    return {"base": [{"images": len(base)} | answers.row(base)], "masking": rows}


def measure_categorywise(setting: Setting, seed: int, loaded: data.Data) -> dict:
    """Accuracy on each class's test images after masking bands ranked for that class (Tables 2 and 3).

    Tables: base (category, accuracy, images, right); masking (metric, band, category, accuracy, right). Categories
    count from 1; `right` as in rq1.measure, among the test images of the category.
    """
    net, x, y, found = _prepared(setting, seed, loaded)
    base, rows = [], []
    for c in range(setting.n_classes):
        images, labels = x[y == c], y[y == c]
        whole = training.correct(net, images, labels, reduced=setting.reduced_evaluation)
        base.append({"category": c + 1, "images": len(whole)} | answers.row(whole))
        for metric, band, masks in banded(found.orders, c):
            right = common.sliced_correct(net, masks, images, labels, setting)
            rows.append({"metric": metric, "band": band, "category": c + 1} | answers.row(right, whole))
    return {"base": base, "masking": rows}


def _prepared(setting: Setting, seed: int, loaded: data.Data) -> tuple[nn.Module, Tensor, Tensor, scores.Scores]:
    """The trained network, the test images on its device, their labels, and the network's scores."""
    net = training.trained(setting, seed, loaded)
    found = scores.of(net, *common.scored_images(setting, loaded))
    return net, loaded.x_test.to(training.device()), loaded.y_test, found


def banded(orders: dict, row: int) -> Iterator[tuple[str, str, slicing.Masks]]:
    """(metric, band, masks without the band) for every metric and band, by one row of the rankings."""
    for metric, by_layer in tqdm(orders.items(), desc="masking", unit="metric", file=sys.stderr, mininterval=2):
        for low, high in BANDS:
            masks = {name: ~slicing.band_mask(order[row], low, high) for name, order in by_layer.items()}
            yield metric, band_name(low, high), masks
