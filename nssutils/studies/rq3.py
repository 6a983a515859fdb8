"""RQ3 (Section 5.4): does training only the critical neurons repair a network that is under attack? Table 5."""

import copy
import sys
import time

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nssutils import data, freezing, readaptation, training
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import common

# By preset. Images: trained on, to choose the learning rate by, held out, and those by which eps is found.
IMAGES = {
    "smoke": {"repair": 100, "validation": 100, "test": 200, "calibration": 30},
    "quick": {"repair": 500, "validation": 250, "test": 500, "calibration": 200},
    "paper": {"repair": 1000, "validation": 500, "test": 1000, "calibration": 300},
}
RATES = {"smoke": (1e-3, 3e-3), "quick": (1e-4, 5e-4, 2e-3), "paper": (1e-4, 5e-4, 2e-3, 1e-2)}  # learning rates to try
EPOCHS = {"smoke": 3, "quick": 10, "paper": 10}
# Accuracy that each attack leaves before the repair, averaged over the paper's settings (Section 5.4).
LEFT = {"fgsm": 0.1853, "pgd": 0.038}


def measure(
    setting: Setting, seed: int, loaded: data.Data, *, tolerance: float = 0.03, epochs: int = 0,
    eps_fgsm: float = 0.0, eps_pgd: float = 0.0, spatial: str = "mean", centred: bool = True, samples: int = 256,
) -> dict:  # fmt: skip
    """Attack, repair in four ways, attack again.

    Adversarials to repair with are made of 1,000 training images (preset quick: 500), the learning rate is chosen on
    those of half as many others, and what is reported beside RA is measured on test images. An eps of 0 is found on
    the network of the setting's first seed, so that it is the same for all; epochs of 0 are those of EPOCHS. Tables:
    base (accuracy, parameters); slices (metric, theta, …); attacks (attack, eps, left on the adversarials to repair
    with, robust: left on those of test images); repairs (attack, method, tpr, lr, ra, raa, clean, robust, seconds);
    rates (attack, method, lr, accuracy): the validation.
    """
    net = training.trained(setting, seed, loaded)
    first = net if seed == setting.seeds[0] else training.trained(setting, setting.seeds[0], loaded)
    scored = common.scored_images(setting, loaded)
    found = common.candidates(net, setting, *scored, spatial, centred, samples)
    chosen = common.optimal(found, tolerance)
    lrs, steps = RATES[setting.preset], epochs or EPOCHS[setting.preset]
    images = _parts(IMAGES[setting.preset], setting.n_classes, loaded)
    base = training.evaluate(net, loaded.x_test, loaded.y_test)
    attacks, repairs, rates = [], [], []
    for attack, eps in (("fgsm", eps_fgsm), ("pgd", eps_pgd)):
        make = readaptation.ATTACKS[attack]
        x, y = images["repair"]
        eps = eps or readaptation.calibrate(make, first, *images["calibration"], LEFT[attack])
        adversarial = {part: make(net, *images[part], eps) for part in ("repair", "validation", "test")}
        left = {part: training.evaluate(net, made, images[part][1]) for part, made in adversarial.items()}
        attacks.append({"attack": attack, "eps": eps, "left": left["repair"], "robust": left["test"]})
        units = readaptation.critical_units(net, x, adversarial["repair"])
        for method in tqdm(readaptation.METHODS, desc=f"repair, {attack}", unit="method", file=sys.stderr):
            elements = readaptation.trainable(net, method, chosen.critical, units)
            tried = {lr: _repaired(net, images, adversarial, elements, lr, steps, setting, seed) for lr in lrs}
            # Half clean, half adversarial accuracy: what the repair's loss weighs.
            merit = {lr: sum(_both(one, images, adversarial, "validation")) / 2 for lr, (one, _) in tried.items()}
            rates += [{"attack": attack, "method": method, "lr": lr, "accuracy": merit[lr]} for lr in lrs]
            lr = max(lrs, key=merit.get)
            repaired, seconds = tried[lr]
            again = make(repaired, *images["test"], eps)
            repairs.append(
                {
                    "attack": attack,
                    "method": method,
                    "tpr": freezing.count(elements) / count_parameters(net),
                    "lr": lr,
                    "ra": training.evaluate(repaired, adversarial["repair"], y),
                    "raa": training.evaluate(repaired, again, images["test"][1]),
                    "clean": training.evaluate(repaired, loaded.x_test, loaded.y_test),
                    "robust": training.evaluate(repaired, adversarial["test"], images["test"][1]),
                    "units": len(units) if "deeparc" in method else None,
                    "seconds": round(seconds, 3),
                }
            )
    return {
        "base": [{"accuracy": base, "parameters": count_parameters(net)}],
        "slices": [
            {"tolerance": tolerance}
            | common.described(chosen)
            | {"accuracy": common.masked_accuracy(net, chosen.critical, loaded.x_test, loaded.y_test)}
        ],
        "attacks": attacks,
        "repairs": repairs,
        "rates": rates,
    }


def _parts(sizes: dict[str, int], n_classes: int, loaded: data.Data) -> dict[str, tuple[Tensor, Tensor]]:
    """Images and labels of each part, class-balanced, on the device."""
    each = {part: size // n_classes for part, size in sizes.items()}
    both = data.first_per_class(loaded.y_train, each["repair"] + each["validation"])
    rank = data.first_per_class(loaded.y_train[both], each["repair"])
    others = torch.ones(len(both), dtype=torch.bool)
    others[rank] = False
    train, test = (loaded.x_train, loaded.y_train), (loaded.x_test, loaded.y_test)
    chosen = {
        "repair": (*train, both[rank]),
        "validation": (*train, both[others]),
        "test": (*test, data.first_per_class(test[1], each["test"])),
        "calibration": (*train, data.first_per_class(train[1], each["calibration"])),
    }
    return {part: (x[i].to(training.device()), y[i].to(training.device())) for part, (x, y, i) in chosen.items()}


def _repaired(net: nn.Module, images: dict, adversarial: dict, elements: dict, lr: float, epochs: int, setting, seed):
    """A repaired copy of the network, and the seconds that took."""
    x, y = images["repair"]
    copied, start = copy.deepcopy(net), time.perf_counter()
    readaptation.repair(
        copied, x, adversarial["repair"], y, elements, epochs=epochs, lr=lr, seed=seed, reduced=setting.reduced
    )
    return copied, time.perf_counter() - start


def _both(net: nn.Module, images: dict, adversarial: dict, part: str) -> tuple[float, float]:
    """Accuracy on the clean images of a part and on their adversarial counterparts."""
    x, y = images[part]
    return training.evaluate(net, x, y), training.evaluate(net, adversarial[part], y)
