"""What NNSlicer's paper leaves open, and whether its pruning (Zhang et al. 2020, Section 6.2) depends on it: theta,
what is one neuron, and how the contributions of several images are added."""

import sys
from functools import cache, partial

import torch
from tqdm import tqdm

from nssutils import data, nnslicer, training
from nssutils.settings import Setting
from nssutils.studies import common, nnslicer_classes, parts
from nssutils.studies.nnslicer_classes import Worth, flow
from nssutils.studies.nnslicer_cut import answered, normal_images, places, remaining, subsets, zeros_in

THETAS = (0.1, 0.3, 0.5, 0.7, 0.9)
SMOKE_THETAS = (0.5, 0.9)
UNITS = {"filter": "mean", "activation": "flatten"}  # what is one neuron: nnslicer.profile's `spatial`
# Training images of each class behind the contributions; subsets of two classes, and of each larger size; test images
# of a subset at most.
SIZES = {
    "smoke": {"ranked": 3, "pairs": 1, "others": 1, "larger": (10,), "test": 100},
    "quick": {"ranked": 10, "pairs": 5, "others": 1, "test": 500},
    "overnight": {"ranked": 50, "pairs": 9, "others": 1, "test": 1_000},
    "paper": {"ranked": 50, "pairs": 9, "others": 1, "test": 1_000},
}


def measure(setting: Setting, seed: int, loaded: data.Data, *, share: float = 0.5) -> dict:
    """Of every layer the same `share` of synapses goes, those that contribute least to some classes, by each reading;
    accuracy on these classes, the answer being any class. Nothing is trained.

    What is one neuron, the unit, is a filter, with the mean of its activations, or each activation by itself (at the
    theta that this book takes, nnslicer.THETA). What images give to a synapse is summed with its sign, or its size is.
    Of equal contributions, as of zeros, the smaller weight goes first. "weight" drops the smallest weights. Statistics
    of batch normalisation are the network's, or measured again on normal images.

    Tables: base (accuracy, parameters, images); zeros (unit, theta, summed, classes, share: of synapses whose
    contribution is zero); pruned (method, unit, theta, summed, classes, statistics: "kept" or "measured again",
    accuracy). Each unit and theta is kept as it is done.
    """
    net = training.trained(setting, seed, loaded)
    sizes, thetas = SIZES[setting.preset], SMOKE_THETAS if setting.preset == "smoke" else THETAS
    x, y = common.scored_images(setting, loaded)
    few = data.first_per_class(y.cpu(), sizes["ranked"])
    weights, normal = nnslicer_classes.weights(net), normal_images(setting, x, y)
    chosen = subsets(setting.n_classes, sizes, seed)
    profile = cache(partial(nnslicer.profile, net, x))

    def answers(worth: Worth, classes: tuple[int, ...]) -> list[dict]:
        images = places(loaded.y_test, classes, sizes["test"])
        found = answered(net, remaining(worth, weights, share), loaded.x_test[images], normal)
        right = {how: (each == loaded.y_test[images]).double().mean().item() for how, each in found.items()}
        return [{"statistics": how, "accuracy": accuracy} for how, accuracy in right.items()]

    def by_weight() -> dict[str, list[dict]]:
        sizes_of = {name: weight.abs() for name, weight in weights.items()}
        what = {"method": "weight", "unit": "", "theta": 0.0, "summed": ""}
        cases = [(what | {"classes": _named(classes)}, answers(sizes_of, classes)) for classes in chosen]
        return {"pruned": [case | row for case, rows in cases for row in rows]}

    def by_contribution(unit: str, theta: float) -> dict[str, list[dict]]:
        both, zeros, pruned = {"sign": [], "size": []}, [], []
        for c in range(setting.n_classes):
            mine = few[y[few].cpu() == c]
            found = nnslicer.contributions(net, x[mine], y[mine], profile(spatial=UNITS[unit]), theta)
            both["sign"].append({name: value.sum(0).cpu() for name, value in found.synapses.items()})
            both["size"].append({name: value.abs().sum(0).cpu() for name, value in found.synapses.items()})
        for summed, rows in both.items():
            by_class = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
            for classes in chosen:
                worth = flow(by_class, classes)
                case = {"unit": unit, "theta": theta, "summed": summed, "classes": _named(classes)}
                zeros.append(case | {"share": zeros_in(worth)})
                pruned += [{"method": "nnslicer"} | case | row for row in answers(worth, classes)]
        return {"zeros": zeros, "pruned": pruned}

    tables, key = {}, parts.key(net, setting, seed, loaded, share=share)
    todo = [(by_weight, ())]
    todo += [(by_contribution, ("filter", theta)) for theta in thetas]
    todo += [(by_contribution, ("activation", nnslicer.THETA))]
    for compute, what in tqdm(todo, desc="readings", unit="reading", file=sys.stderr, mininterval=2):
        parts.add(tables, "studies.nnslicer_rules.measure", [*key, what], partial(compute, *what))
    accuracy = training.evaluate(net, loaded.x_test, loaded.y_test)
    return {"base": [common.whole(net, accuracy, len(loaded.y_test))], **tables}


def _named(classes: tuple[int, ...]) -> str:
    return "+".join(map(str, classes))
