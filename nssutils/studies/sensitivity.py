"""What the readings change that the paper leaves open: each varied alone, the others as everywhere in this book."""

import sys
import warnings

import torch
from captum.attr import LayerDeepLift
from torch import Tensor, nn
from tqdm import tqdm

from nssutils import contribution, data, neurons, slicing, training
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import common, rq1

# Reading -> its values, this book's first. `metrics` that a reading does not touch are not measured again.
READINGS: dict[str, tuple[str, ...]] = {
    "CKA": ("centred", "as printed"),
    "images for the CKA": ("256", "64", "1000"),
    "step": ("1", "4", "16"),
    "crossing": ("first", "last"),
    "value of a channel": ("mean", "flatten"),
    "Taylor": ("weights", "gate"),
    "Taylor's batch": ("256", "64", "a class"),
    "DeepLIFT's baseline": ("zeros", "mean image"),
    "DeepLIFT by": ("this book", "captum"),
    "Ens, scaled over": ("layer and class", "layer"),
}
TOUCHED = {
    "Taylor": ("taylor",), "Taylor's batch": ("taylor",), "DeepLIFT's baseline": ("deeplift",),
    "DeepLIFT by": ("deeplift",), "Ens, scaled over": ("ens",),
}  # fmt: skip
TOLERANCES = (0.005, 0.03)  # accuracy on training images that a slice may cost: RQ2's and RQ3's
CAPTUM_IMAGES = 1000  # of the scored ones; captum takes a pass for each layer

ByMetric = dict[str, dict[str, Tensor]]


def measure(setting: Setting, seed: int, loaded: data.Data) -> dict:
    """Semantic slices under each value of each reading.

    Tables: base (accuracy, parameters, images); points (reading, value, metric, at: theta, compression_rate, accuracy);
    slices (reading, value, tolerance, metric, at, compression_rate, accuracy): of DeepLIFT's and Taylor's slices that
    which leaves out the most while it costs at most the tolerance on training images.
    """
    net = training.trained(setting, seed, loaded)
    x, y = common.scored_images(setting, loaded)
    test = loaded.x_test.to(training.device()), loaded.y_test
    base = training.correct(net, *test, reduced=setting.reduced_evaluation)
    plain = contribution.score(net, x, y, n_classes=setting.n_classes)
    varied = [(reading, value) for reading, values in READINGS.items() for value in values[1:]]
    if setting.model == "mlp":  # its neurons have one value an image
        varied.remove(("value of a channel", "flatten"))
    thetas = rq1.THETAS[::3] if setting.preset == "smoke" else common.CANDIDATE_THETAS
    points, chosen = [], []
    for reading, value in tqdm([("this book", ""), *varied], desc="readings", file=sys.stderr, mininterval=2):
        metrics = TOUCHED.get(reading, contribution.METRICS)
        scores = plain | _scores(net, x, y, reading, value, plain, setting.n_classes)
        wanted = {metric: scores[metric] for metric in (*metrics, *common.CANDIDATE_METRICS)}
        slices = _slices(net, x, y, wanted, thetas, reading, value)
        for (metric, theta), one in slices.items():
            if metric in metrics and theta in rq1.THETAS:
                accuracy = common.sliced_correct(net, one, *test, setting).double().mean().item()
                points.append(
                    {"reading": reading, "value": value, "metric": metric, "at": theta}
                    | {"compression_rate": one.compression_rate(net), "accuracy": accuracy}
                )
        candidates = {key: one for key, one in slices.items() if key[0] in common.CANDIDATE_METRICS}
        if set(metrics) & set(common.CANDIDATE_METRICS):
            chosen += _chosen(net, x, y, test, candidates, {"reading": reading, "value": value}, setting)
    whole = {"accuracy": base.double().mean().item(), "parameters": count_parameters(net), "images": len(base)}
    return {"base": [whole], "points": points, "slices": chosen}


def _scores(
    net: nn.Module, x: Tensor, y: Tensor, reading: str, value: str, plain: ByMetric, n_classes: int
) -> ByMetric:  # fmt: skip
    """The contributions that a reading changes."""
    if reading == "Taylor":
        return contribution.score(net, x, y, ("taylor",), n_classes, taylor=value)
    if reading == "Taylor's batch":
        return contribution.score(net, x, y, ("taylor",), n_classes, len(y) if value == "a class" else int(value))
    if reading == "DeepLIFT's baseline":
        return contribution.score(net, x, y, ("deeplift",), n_classes, baseline=x.mean(0, keepdim=True))
    if reading == "DeepLIFT by":
        few = data.first_per_class(y.cpu(), CAPTUM_IMAGES // n_classes)
        return {"deeplift": _captum(net, x[few], y[few], n_classes)}
    if reading == "Ens, scaled over":
        return {"ens": {name: _over_layer(plain["avg"][name], plain["var"][name]) for name in plain["avg"]}}
    return {}


def _captum(net: nn.Module, x: Tensor, y: Tensor, n_classes: int) -> dict[str, Tensor]:
    """DeepLIFT as captum's LayerDeepLift has it, which the paper used: mean over the images of a class, summed over
    space, float64 (n_classes, width) for each layer."""
    read_at = {node.name: node.target for node in neurons.trace(net).graph.nodes}
    found = {}
    for name, layer in neurons.layers(net).items():
        total = torch.zeros(n_classes, layer.width, dtype=torch.float64)
        for c in range(n_classes):
            images = x[y == c]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it sets hooks and requires gradients
                explained = LayerDeepLift(net, net.get_submodule(read_at[layer.site]))
                part = explained.attribute(images, torch.zeros_like(images), target=c)
            part = part.detach().double()
            total[c] = (part.flatten(2).sum(2) if part.dim() > 2 else part).mean(0)
        found[name] = total
    return found


def _over_layer(avg: Tensor, var: Tensor) -> Tensor:
    """Ens with Avg and Var scaled to [0, 1] over all classes of a layer at once."""

    def scaled(values: Tensor) -> Tensor:
        low, high = values.min(), values.max()
        return (values - low) / (high - low) if high > low else torch.zeros_like(values)

    return (scaled(avg) + scaled(var)) / 2


def _slices(
    net: nn.Module, x: Tensor, y: Tensor, scores: ByMetric, thetas: tuple[float, ...], reading: str, value: str
) -> dict[tuple[str, float], slicing.Slice]:
    """The slices {(metric, theta): slice} by given contributions, under a reading of the similarity or the scan."""
    orders = {metric: {name: contribution.ranking(one) for name, one in by.items()} for metric, by in scores.items()}
    curves = slicing.similarity_curves(
        net, x, y, orders, None, int(value) if reading == "images for the CKA" else 256,
        "flatten" if value == "flatten" else "mean", centred=value != "as printed",
    )  # fmt: skip
    step = int(value) if reading == "step" else 1
    found = {}
    for metric, curve in curves.items():
        if value == "last":
            curve = {name: for_good(one) for name, one in curve.items()}
        for theta in thetas:
            found[metric, theta] = slicing.at_theta(curve, orders[metric], theta, step)
    return found


def for_good(curve: Tensor) -> Tensor:
    """A CKA curve (n_classes, width) that reaches a threshold where the given one does so for good: the lowest of what
    follows."""
    return curve.flip(1).cummin(1).values.flip(1)


def _chosen(net, x: Tensor, y: Tensor, test, slices: dict, lead: dict, setting: Setting) -> list[dict]:
    """Of the slices {(metric, theta): slice}, those that RQ2 and RQ3 would choose."""
    judged, reduced = common.judged_images(setting, x, y), setting.reduced_evaluation
    base = training.evaluate(net, *judged, reduced=reduced)
    found = []
    for (metric, theta), one in slices.items():
        loss = base - common.sliced_correct(net, one, *judged, setting).double().mean().item()
        found.append(common.Candidate(metric, theta, one, one.compression_rate(net), loss))
    rows = []
    for tolerance in TOLERANCES:
        best = common.optimal(found, tolerance)
        accuracy = common.sliced_correct(net, best.critical, *test, setting).double().mean().item()
        rows.append(
            lead
            | {"tolerance": tolerance, "metric": best.metric, "at": best.theta}
            | {"compression_rate": best.compression_rate, "accuracy": accuracy}
        )
    return rows
