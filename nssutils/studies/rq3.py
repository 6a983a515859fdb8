"""RQ3 (Section 5.4): does training only the critical neurons repair a network that is under attack? Table 5."""

import copy
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nssutils import data, deeparc, digests, freezing, readaptation, training
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import answers, common, parts

# By preset. Images: trained on; not trained on, to choose the learning rate by; of the test set; to find eps by.
_IMAGES = {"repair": 1000, "validation": 500, "test": 1000, "calibration": 200}
IMAGES = {
    "smoke": {"repair": 100, "validation": 100, "test": 200, "calibration": 30},
    "quick": _IMAGES,
    "overnight": _IMAGES,
    "paper": _IMAGES | {"calibration": 300},
    ("overnight", "resnet101"): _IMAGES | {"test": 500, "calibration": 100},
    ("overnight", "vgg19"): _IMAGES | {"validation": 200, "test": 500, "calibration": 100},
}
_RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
RATES = {"smoke": _RATES[2:6], "quick": _RATES, "overnight": _RATES, "paper": _RATES}  # learning rates to try
RUNGS = {5: 3, 20: 1}  # after so many steps, so many rates go on
COMMON_RATE = 1e-3  # at which methods are compared at equal effort, epoch by epoch
# Not printed; after these, full training has learned the adversarials that it was given, as in the paper. The deepest
# networks are stopped before: on a processor a repair of theirs takes hours.
EPOCHS = {
    "smoke": 4, "quick": 6, "overnight": 20, "paper": 20, ("overnight", "resnet101"): 3, ("overnight", "vgg19"): 3,
}  # fmt: skip
COMMON = {"smoke": 0, "quick": 0, "overnight": 6, "paper": 0}  # epochs at the common rate, 0 being as many as a repair
TURNS, TIMED = 3, 250  # how often each method is timed, and on how many images
# Accuracy that each attack leaves before the repair, averaged over the paper's settings (Section 5.4).
LEFT = {"fgsm": 0.1853, "pgd": 0.038}

Images = dict[str, tuple[Tensor, Tensor]]


def measure(
    setting: Setting, seed: int, loaded: data.Data, *, tolerance: float = 0.03, epochs: int = 0,
    eps_fgsm: float = 0.0, eps_pgd: float = 0.0, spatial: str = "mean", centred: bool = True, samples: int = 256,
    taylor_batch: int = 256,
) -> dict:  # fmt: skip
    """Attack, repair in four ways, attack again.

    Adversarials to repair with are made of 1,000 training images. Each method is trained at the learning rate that does
    best for it on adversarials of images that the network was never trained on, found by successive halving; what is
    reported beside RA is measured on test images. An eps of 0 is found on the network of the setting's first seed, so
    that it is the same for all; epochs of 0 are those of EPOCHS. Tables: base (accuracy, parameters, images); slices
    (metric, theta, …); attacks (attack, eps, left on the adversarials to repair with, robust: left on those of test
    images); repairs (attack, method, tpr, lr, ra, raa, clean, robust, units; ra_right, raa_right: which of the images);
    rates (attack, method, lr, steps, ra, accuracy on the validation images); effort (attack, method, lr, epoch, ra):
    the course of RA at one common rate; times (method, steps, seconds): median of turns. Each repair is kept as it is
    done.
    """
    net = training.trained(setting, seed, loaded)
    first = net if seed == setting.seeds[0] else training.trained(setting, setting.seeds[0], loaded)
    readings = dict(spatial=spatial, centred=centred, samples=samples, taylor_batch=taylor_batch)
    found = common.candidates(net, setting, *common.scored_images(setting, loaded), **readings)
    chosen = common.optimal(found, tolerance)
    images = _images(common.sized(IMAGES, setting), setting.n_classes, loaded)
    epochs = epochs or common.sized(EPOCHS, setting)
    tables: dict[str, list[dict]] = {name: [] for name in ("attacks", "repairs", "rates", "effort", "times")}
    asked = dict(tolerance=tolerance, epochs=epochs, eps_fgsm=eps_fgsm, eps_pgd=eps_pgd, **readings)
    key = parts.key(net, setting, seed, loaded, first=digests.of_tensors(first.state_dict().values()), **asked)

    for attack, eps in (("fgsm", eps_fgsm), ("pgd", eps_pgd)):
        # Not at all where every part is kept.
        attacked = cache(partial(_attacked, net, first, attack, eps, images, chosen, setting))
        steps = {"attack": _described} | ({"times": partial(_times, net, images, setting)} if attack == "fgsm" else {})
        steps |= {
            method: partial(_repaired, net, images, setting, method, epochs, seed, loaded)
            for method in readaptation.METHODS
        }
        for name, step in tqdm(steps.items(), desc=f"repair, {attack}", file=sys.stderr):
            part = [*key, attack, name]
            parts.add(tables, "studies.rq3.measure", part, lambda step=step, attacked=attacked: step(attacked()))
    test, reduced = (loaded.x_test, loaded.y_test), setting.reduced_evaluation
    base = training.evaluate(net, *test, reduced=reduced)
    accuracy = common.sliced_correct(net, chosen.critical, *test, setting).double().mean().item()
    return {
        "base": [common.whole(net, base, len(loaded.y_test))],
        "slices": [{"tolerance": tolerance} | common.described(chosen) | {"accuracy": accuracy}],
        **tables,
    }


@dataclass(frozen=True)
class _Attacked:
    """A network under one attack, and what each repair would train of it."""

    attack: str
    eps: float
    moved: dict[str, Tensor]  # adversarial counterparts of each part of the images
    left: dict[str, float]  # accuracy on them
    units: list[deeparc.Unit]
    elements: dict[str, freezing.Elements]


def _attacked(
    net: nn.Module, first: nn.Module, attack: str, eps: float, images: Images, chosen: common.Candidate,
    setting: Setting,
) -> _Attacked:  # fmt: skip
    make, reduced = readaptation.ATTACKS[attack], setting.reduced_evaluation
    eps = eps or readaptation.calibrate(make, first, *images["calibration"], LEFT[attack], reduced)
    moved = {part: make(net, *images[part], eps, reduced=reduced) for part in ("repair", "validation", "test")}
    left = {part: training.evaluate(net, made, images[part][1], reduced=reduced) for part, made in moved.items()}
    units = readaptation.critical_units(net, images["repair"][0], moved["repair"])
    elements = {each: readaptation.trainable(net, each, chosen.critical, units) for each in readaptation.METHODS}
    return _Attacked(attack, eps, moved, left, units, elements)


def _described(attacked: _Attacked) -> dict:
    row = {"attack": attacked.attack, "eps": attacked.eps}
    return {"attacks": [row | {"left": attacked.left["repair"], "robust": attacked.left["test"]}]}


def _repaired(
    net: nn.Module, images: Images, setting: Setting, method: str, epochs: int, seed: int, loaded: data.Data,
    attacked: _Attacked,
) -> dict:  # fmt: skip
    """What one method makes of the network; rows of the tables rates, effort and repairs."""
    reduced, moved, elements = setting.reduced_evaluation, attacked.moved, attacked.elements[method]
    best, rates, effort = _search(net, images, moved, elements, epochs, setting, seed)
    ra = training.correct(best.net, moved["repair"], images["repair"][1], reduced=reduced)
    again = readaptation.ATTACKS[attacked.attack](best.net, *images["test"], attacked.eps, reduced=reduced)
    raa = training.correct(best.net, again, images["test"][1], reduced=reduced)
    case = {"attack": attacked.attack, "method": method}
    repair = {
        "tpr": freezing.count(elements) / count_parameters(net),
        "lr": best.lr,
        "ra": ra.double().mean().item(),
        "raa": raa.double().mean().item(),
        "clean": training.evaluate(best.net, loaded.x_test, loaded.y_test, reduced=reduced),
        "robust": training.evaluate(best.net, moved["test"], images["test"][1], reduced=reduced),
        "units": len(attacked.units) if "deeparc" in method else None,
        "ra_right": answers.packed(ra),
        "raa_right": answers.packed(raa),
    }
    return {
        "rates": [case | row for row in rates],
        "effort": [case | row for row in effort],
        "repairs": [case | repair],
    }


def _images(sizes: dict[str, int], n_classes: int, loaded: data.Data) -> Images:
    """Images and labels of each part, class-balanced and disjoint, on the device."""
    each = {part: size // n_classes for part, size in sizes.items()}
    both = data.first_per_class(loaded.y_train, each["repair"] + each["calibration"])
    rank = data.first_per_class(loaded.y_train[both], each["repair"])
    others = torch.ones(len(both), dtype=torch.bool)
    others[rank] = False
    train, held, test = (
        (loaded.x_train, loaded.y_train), (loaded.x_held, loaded.y_held), (loaded.x_test, loaded.y_test),
    )  # fmt: skip
    chosen = {
        "repair": (*train, both[rank]),
        "calibration": (*train, both[others]),
        "validation": (*held, data.first_per_class(held[1], each["validation"])),
        "test": (*test, data.first_per_class(test[1], each["test"])),
    }
    return {part: (x[i].to(training.device()), y[i].to(training.device())) for part, (x, y, i) in chosen.items()}


@dataclass
class _Repair:
    """A repair under way at one learning rate."""

    lr: float
    epochs: int
    net: nn.Module
    course: Iterator[int]
    merit: float = 0.0

    def until(self, step: int) -> Iterator[int]:
        """Go on to that step; yields after each."""
        for done in self.course:
            yield done
            if done == step:
                return


def _search(
    net: nn.Module, images: Images, moved: dict[str, Tensor], elements: dict, epochs: int, setting: Setting, seed: int
) -> tuple[_Repair, list[dict], list[dict]]:
    """The repair at the best rate by successive halving, what the search saw (rows of rates), and the course of RA at
    the common rate (rows of effort).

    Merit is the mean of the accuracies on clean validation images and on their adversarials, as the loss weighs them.
    """
    (x, y), (x_held, y_held) = images["repair"], images["validation"]
    reduced, rates, effort = setting.reduced_evaluation, [], []

    def begin(lr: float, epochs: int = epochs) -> _Repair:
        copied = copy.deepcopy(net)
        how = dict(epochs=epochs, lr=lr, seed=seed, reduced=setting.reduced)
        return _Repair(lr, epochs, copied, readaptation.repairing(copied, x, moved["repair"], y, elements, **how))

    steps = -(-len(y) // readaptation.BATCH)  # of an epoch
    shown = min(epochs, common.sized(COMMON, setting) or epochs)

    def is_common(repair: _Repair) -> bool:
        return (repair.lr, repair.epochs) == (COMMON_RATE, shown)

    def advance(repair: _Repair, step: int) -> None:
        try:
            for done in repair.until(step):
                if is_common(repair) and done % steps == 0:
                    ra = training.evaluate(repair.net, moved["repair"], y, reduced=reduced)
                    effort.append({"lr": repair.lr, "epoch": done // steps, "ra": ra})
        except freezing.DivergedError:  # too high a rate is what the search is to find out
            repair.merit = 0.0
            return
        clean = training.evaluate(repair.net, x_held, y_held, reduced=reduced)
        robust = training.evaluate(repair.net, moved["validation"], y_held, reduced=reduced)
        repair.merit = (clean + robust) / 2
        ra = training.evaluate(repair.net, moved["repair"], y, reduced=reduced)
        if repair.epochs == epochs:
            rates.append({"lr": repair.lr, "steps": step, "ra": ra, "accuracy": repair.merit})

    going, aside = [], None
    rungs = [(after, left) for after, left in RUNGS.items() if after < epochs * steps] + [(epochs * steps, 1)]
    for index, (after, left) in enumerate(rungs):
        kept: list[_Repair] = []
        for repair in (begin(lr) for lr in common.sized(RATES, setting)) if index == 0 else going:
            advance(repair, after)
            kept = sorted([*kept, repair], key=lambda one: -one.merit)
            for out in kept[left:]:  # let go at once: networks are large
                aside = out if is_common(out) else aside
            kept = kept[:left]
        going = kept
    if shown < epochs:
        aside = begin(COMMON_RATE, shown)  # its rate falls to zero by then
    if aside is not None:
        advance(aside, shown * steps)
    return going[0], rates, effort


def _times(net: nn.Module, images: Images, setting: Setting, attacked: _Attacked) -> dict:
    """Rows of the table times: median seconds that each method takes for the same steps, the methods in turns, so that
    a machine that gets slower does so for all."""
    x, y, adversarial = (images["repair"][0][:TIMED], images["repair"][1][:TIMED], attacked.moved["repair"][:TIMED])
    turns: dict[str, list[float]] = {method: [] for method in attacked.elements}
    for _ in range(TURNS):
        for method, mine in attacked.elements.items():
            copied, start = copy.deepcopy(net), common.clock()
            readaptation.repair(copied, x, adversarial, y, mine, epochs=1, reduced=setting.reduced)
            turns[method].append(common.clock() - start)
    steps = -(-len(y) // readaptation.BATCH)
    rows = [
        {"method": method, "steps": steps, "seconds": round(statistics.median(seconds), 4)}
        for method, seconds in turns.items()
    ]
    return {"times": rows}
