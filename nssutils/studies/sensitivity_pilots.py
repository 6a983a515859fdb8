"""What it changes in the pilot studies where the mask acts: on a neuron's value, or where it leaves its layer."""

from torch import Tensor, nn

from nssutils import data, graphs, neurons, training
from nssutils.settings import Setting
from nssutils.studies import common, pilot, scores, sensitivity

# Past batch normalisation and rectifier, as everywhere in this book; or before them, which make a constant of the zero.
PLACES = ("after the rectifier", "before batch normalisation")
IMAGES = {"smoke": 100, "quick": 1000, "overnight": 1000, "paper": 10_000}  # of the test set, as many of each class


def measure(setting: Setting, seed: int, loaded: data.Data) -> dict:
    """Tables 1 and 2 with the mask at both places, on a part of the test images.

    Tables: base (accuracy, images); masking (ranked: global or category-wise, masked: one of PLACES, metric, band,
    accuracy), category-wise being the mean over the classes, each masked and judged by itself.
    """
    net = training.trained(setting, seed, loaded)
    traced = graphs.trace(net)  # once for all masks
    found = scores.of(net, *common.scored_images(setting, loaded))
    few = data.first_per_class(loaded.y_test, common.sized(IMAGES, setting) // setting.n_classes)
    x, y = loaded.x_test[few].to(training.device()), loaded.y_test[few]
    classes = [(found.orders, c, x[y == c], y[y == c]) for c in range(setting.n_classes)]
    rows = []
    for ranked, parts in (("global", [(found.whole(), 0, x, y)]), ("category-wise", classes)):
        for place in PLACES:
            by_cell: dict[tuple[str, str], list[float]] = {}
            for orders, row, images, labels in parts:
                for *cell, masks in pilot.banded(orders, row):
                    right = _right(traced, masks, images, labels, setting, place)
                    by_cell.setdefault(tuple(cell), []).append(right.double().mean().item())
            lead = {"ranked": ranked, "masked": place}
            rows += [
                lead | {"metric": metric, "band": band, "accuracy": sum(each) / len(each)}
                for (metric, band), each in by_cell.items()
            ]
    accuracy = training.evaluate(net, x, y, reduced=setting.reduced_evaluation)
    return {"base": [{"accuracy": accuracy, "images": len(y)}], "masking": rows}


def _right(net: nn.Module, masks: dict, x: Tensor, y: Tensor, setting: Setting, place: str) -> Tensor:
    """Which images are recognised: bool (N,)."""
    masked = neurons.masked if place == PLACES[0] else sensitivity.weighted_masked
    with masked(net, masks):
        return training.correct(net, x, y, reduced=setting.reduced_evaluation)
