"""RQ4 (Section 5.5): does freezing the critical neurons keep task A while task B is learned? Table 6."""

import copy
import sys
from dataclasses import replace
from functools import partial

import safetensors.torch
import torch
from torch import Tensor, nn
from tqdm import tqdm

from nssutils import data, deeparc, freezing, incremental, neurons, slicing, training
from nssutils.errors import NssError
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import answers, common, parts

REPLAYS = {"replay5": 0.05, "replay10": 0.10, "replay100": 1.0}
# On task B, from a network that has learned task A: until the falling rate has brought it to rest.
EPOCHS = {"smoke": 1, "quick": 4, "overnight": 3, "paper": 5, ("overnight", "vgg19"): 5}
# Of each task: learned, or stored; 0: all.
IMAGES = {"smoke": 0, "quick": 5_000, "overnight": 10_000, "paper": 0}
IMAGES |= {("overnight", "resnet101"): 4_000, ("overnight", "vgg19"): 0}
HALF = ("overnight",)  # where task A, half of the classes, is learned in half of the setting's epochs
MIXES = ("shuffled", "balanced")
THRESHOLDS = (0.99, 0.95)  # DeepArc's, and the one to which the paper lowers it where nothing is redundant


def measure(
    setting: Setting, seed: int, loaded: data.Data, *, task_a: str = "preset", tolerance: float = 0.01, epochs: int = 0,
    lr: float = 1e-3, mix: str = "shuffled", spatial: str = "mean", centred: bool = True, samples: int = 256,
    taylor_batch: int = 256,
) -> dict:  # fmt: skip
    """Train on task A, then on task B in eight ways; accuracy on both tasks, what is stored and how long it takes.

    task_a: first, last (half of the classes) or both, one after the other; "preset" is both at preset paper, else the
    first. Task B is trained for `epochs`, those of EPOCHS unless given, on IMAGES of it; replay stores a share of as
    many of task A. mix: replayed images come "shuffled" among the new ones, each once an epoch, or "balanced", every
    class as often. Tables: base (task_a, accuracy, parameters, images: test images of each task) of the network before
    task B; slices (task_a, metric, theta, …, accuracy on task A by the slice, with the task told); methods (task_a,
    method, a, b as in the paper; a_told, b_told; a_untold, b_untold; trained: share of parameters; stored: bytes;
    images: stored; seconds; a_right, b_right: which test images, as in answers).
    """
    if mix not in MIXES:
        raise NssError(f"mix={mix!r} given, expected one of {', '.join(MIXES)}.")
    if task_a == "preset":
        task_a = "both" if setting.preset == "paper" else "first"
    readings = dict(spatial=spatial, centred=centred, samples=samples, taylor_batch=taylor_batch)
    base, slices, methods = [], [], []
    for which in incremental.TASKS if task_a == "both" else (task_a,):
        tasks = incremental.split(setting.n_classes, which)
        recipe = replace(setting, epochs=setting.epochs // 2) if setting.preset in HALF else setting
        net = training.trained(recipe, seed, incremental.only(loaded, tasks[0]))
        tests = [_of(loaded.x_test, loaded.y_test, classes) for classes in tasks]
        x, y = _of(*common.scored_images(setting, loaded), tasks[0])
        within = incremental.of_task(net, tasks[0])
        found = common.candidates(within, setting, x, torch.searchsorted(tasks[0], y), **readings)
        chosen = common.optimal(found, tolerance)
        base.append(
            {"task_a": which, "accuracy": training.evaluate(net, *tests[0], reduced=setting.reduced_evaluation)}
            | {"parameters": count_parameters(net), "images": len(tests[0][1])}
        )
        with neurons.masked(net, chosen.critical):
            accuracy = _right(net, *tests[0], setting, tasks[0]).double().mean().item()
        slices.append({"task_a": which, "tolerance": tolerance} | common.described(chosen) | {"accuracy": accuracy})
        how = dict(epochs=epochs or common.sized(EPOCHS, setting), lr=lr, balanced=mix == "balanced")
        key = parts.key(net, setting, seed, loaded, task_a=which, tolerance=tolerance, **how, **readings)
        ways = _methods(net, chosen.critical, tasks[0], x[: deeparc.BATCH], setting, seed)
        for name, way in tqdm(ways.items(), desc=f"task B, A = {which}", unit="method", file=sys.stderr):
            learned = partial(_learned, net, way, loaded, tasks, tests, setting, seed, how)
            row = parts.kept("studies.rq4.measure", [*key, name], learned)
            methods.append({"task_a": which, "method": name} | row)
    return {"base": base, "slices": slices, "methods": methods}


def _methods(net, critical: slicing.Slice, task_a: Tensor, few: Tensor, setting: Setting, seed: int) -> dict[str, dict]:
    """What each method trains, whether it reads task A through a slice, and how much of task A's data it replays.

    DeepArc trains its redundant units only; where there are none even at the lower threshold, it is left out.
    """
    everything, control = freezing.whole(net), incremental.random_slice(critical, seed)
    found = deeparc.units(net)
    alike = deeparc.similarities(net, few)
    gone = next((units for at in THRESHOLDS if (units := deeparc.redundant(found, alike, at))), [])
    redundant = freezing.whole(net, [part for unit in gone for part in unit.parts])

    def free(kept: slicing.Slice, replay: bool = False) -> dict[str, Tensor]:
        return incremental.trainable(net, kept, task_a, setting.n_classes, replay)

    alone = free(critical)

    return {
        "original": {"elements": {}},
        "retrain": {"elements": everything},
        **{name: {"elements": everything, "replay": share} for name, share in REPLAYS.items()},
        **({"deeparc": {"elements": redundant}} if gone else {}),
        "nss": {"elements": alone, "critical": critical},
        "nss+replay10": {
            "elements": free(critical, replay=True),
            "statistics": freezing.norms(net, alone),  # task A is read with its own
            "critical": critical,
            "replay": REPLAYS["replay10"],
        },
        "random": {"elements": free(control), "critical": control},
    }


def _learned(net, way: dict, loaded: data.Data, tasks, tests, setting: Setting, seed: int, how: dict) -> dict:
    """What one method makes of a copy of the network; a row of the table."""
    learner, critical, elements = copy.deepcopy(net), way.get("critical"), way["elements"]
    few = common.sized(IMAGES, setting) * 2 // setting.n_classes or len(loaded.y_train)  # of each class
    known = data.first_per_class(loaded.y_train, few)
    old = known[incremental.replayed(loaded.y_train[known], tasks[0], way.get("replay", 0.0))]
    seconds = 0.0
    if elements:
        seen = torch.cat([known[incremental.samples(loaded.y_train[known], tasks[1])], old])
        x, y = (part[seen].to(training.device()) for part in (loaded.x_train, loaded.y_train))
        start = common.clock()
        incremental.learn(
            learner, x, y, elements, **how, batch_size=setting.batch_size, seed=seed, reduced=setting.reduced,
            statistics=way.get("statistics", freezing.norms(net, elements)),
            critical=critical if len(old) else None, task_a=tasks[0],
        )  # fmt: skip
        seconds = common.clock() - start
    untold = [_right(learner, *test, setting) for test in tests]
    told = [_right(learner, *test, setting, task) for test, task in zip(tests, tasks, strict=True)]
    if critical is not None:  # the slice is task A's part of the network: it is read through the mask
        with neurons.masked(learner, critical):
            told[0] = _right(learner, *tests[0], setting, tasks[0])
    paper = {"a": untold[0] if critical is None else told[0], "b": untold[1]}  # as the paper reads them
    every = paper | {"a_told": told[0], "b_told": told[1], "a_untold": untold[0], "b_untold": untold[1]}
    pixels = loaded.x_train[0].numel()  # a byte for each, and for each channel, as the datasets keep them
    return {
        **{name: right.double().mean().item() for name, right in every.items()},
        **{f"{name}_right": answers.packed(right) for name, right in paper.items()},
        "trained": freezing.count(elements) / count_parameters(net),
        "images": len(old),
        "stored": len(old) * pixels + (0 if critical is None else _bytes(critical)),
        "seconds": round(seconds, 3),
    }


def _right(net: nn.Module, x: Tensor, y: Tensor, setting: Setting, classes: Tensor | None = None) -> Tensor:
    """Which of the images are recognised, bool (N,); with `classes`, told that it is one of them."""
    return incremental.correct(net, x, y, classes, reduced=setting.reduced_evaluation)


def _of(x: Tensor, y: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    keep = incremental.samples(y, classes)
    return x[keep], y[keep]


def _bytes(critical: slicing.Slice) -> int:
    """Size of the slice's file without its digest and what single classes need: reading task A asks for neither."""
    return len(safetensors.torch.save(*slicing.Slice(critical.masks, {}).contents()))
