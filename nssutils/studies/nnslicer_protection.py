"""NNSlicer's third application by its own protocol (Zhang et al. 2020, Section 6.3): some weights are hidden; what can
an attacker make of the rest? Its Fig. 5."""

import copy
import sys

import torch
from torch import nn
from tqdm import tqdm

from nssutils import data, nnslicer, selection, training
from nssutils.settings import Setting
from nssutils.studies import common, nnslicer_classes, parts
from nssutils.studies.nnslicer_classes import TARGET, flow

HIDDEN = 0.5  # share of each layer's synapses
RANKED = {"smoke": 5, "quick": 100, "overnight": 500, "paper": 500}  # images of each class behind the contributions
# Training images that the attacker has, and how often they are shown.
IMAGES = {"smoke": (100, 300), "quick": (1_000, 5_000), "overnight": (10_000, 48_000), "paper": (10_000, 48_000)}
EPOCHS = {"smoke": 2, "quick": 3, "overnight": 5, "paper": 5}


def measure(setting: Setting, seed: int, loaded: data.Data, *, theta: float = nnslicer.THETA, lr: float = 1e-3) -> dict:
    """Half of every layer's synapses are hidden; the attacker puts zeros there and trains all at learning rate `lr`.

    Methods: "nnslicer" hides the largest contributions to the target classes, "all classes" those to all, "weight" the
    largest weights, "random" any; "everything" leaves the attacker nothing but the architecture. Accuracy is on test
    images, the answer being any class, and by itself on those of the target classes. Tables: base (accuracy,
    parameters, images); whole (accuracy, target), of the network itself; protection (method, images, before,
    before_target: with zeros, accuracy, target: after the attacker's training). Each attacker is kept as it is done.
    """
    net = training.trained(setting, seed, loaded)
    found = nnslicer_classes.contributions(net, setting, loaded, RANKED[setting.preset], theta)
    weights = nnslicer_classes.weights(net)
    generator = torch.Generator().manual_seed(seed)
    worths = {
        "nnslicer": flow(found, TARGET),
        "all classes": flow(found, range(setting.n_classes)),
        "weight": {name: weight.abs() for name, weight in weights.items()},
        "random": {name: torch.rand(weight.shape, generator=generator) for name, weight in weights.items()},
    }
    cases = [(method, size) for size in IMAGES[setting.preset] for method in (*worths, "everything")]
    tables, key = {}, parts.key(net, setting, seed, loaded, theta=theta, lr=lr)
    for method, size in tqdm(cases, desc="protection", unit="attacker", file=sys.stderr, mininterval=2):

        def attacked(method=method, size=size) -> dict:
            if method == "everything":
                stolen = _fresh(net, seed)
            else:
                gone = {
                    name: selection.top(worth, round(HIDDEN * worth.numel()), weights[name].abs())
                    for name, worth in worths[method].items()
                }
                stolen = selection.without(net, gone)
            before = _judged(stolen, loaded)
            images = data.first_per_class(loaded.y_train, size // setting.n_classes)
            training.fit(
                stolen, loaded.x_train[images], loaded.y_train[images], epochs=EPOCHS[setting.preset],
                batch_size=setting.batch_size, lr=lr, augment=setting.augment, seed=seed,
                label=f"{method} hidden, {size} images",
            )  # fmt: skip
            after = _judged(stolen, loaded)
            row = {"before": before["accuracy"], "before_target": before["target"], **after}
            return {"protection": [{"method": method, "images": size} | row]}

        parts.add(tables, "studies.nnslicer_protection.measure", [*key, method, size], attacked)
    whole = _judged(net, loaded)
    base = common.whole(net, whole["accuracy"], len(loaded.y_test))
    return {"base": [base], "whole": [whole], **tables}


def _judged(net: nn.Module, loaded: data.Data) -> dict[str, float]:
    """Accuracy on all test images, and on those of the target classes."""
    right = training.correct(net, loaded.x_test, loaded.y_test).double()
    target = torch.isin(loaded.y_test, torch.tensor(TARGET))
    return {"accuracy": right.mean().item(), "target": right[target].mean().item()}


def _fresh(net: nn.Module, seed: int) -> nn.Module:
    """The same architecture with new weights."""
    new = copy.deepcopy(net)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for module in new.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    return new
