"""NNSlicer's second application by its own protocol (Zhang et al. 2020, Section 6.2): a network cut down to a subset of
its classes. Its Figs. 3 and 4."""

import copy
import sys
from collections.abc import Iterator
from functools import cache, partial

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nssutils import data, freezing, nnslicer, pruning, slicing, training
from nssutils.settings import Setting
from nssutils.studies import common, nnslicer_classes, parts, scores
from nssutils.studies.nnslicer_classes import TARGET, Worth, flow
from nssutils.studies.nnslicer_cut import answered, normal_images, places, remaining, subsets, zeros_in

SHARES = (0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9)  # of each layer's synapses, that go
SMOKE_SHARES = (0.3, 0.6)
THETAS = (0.9, 0.95, 0.97, 0.99, 0.995, 0.999)  # of the semantic slices of the target classes
# Training images of each class behind the contributions; subsets of two classes, and of each larger size; test images
# of a subset at most.
SIZES = {
    "smoke": {"ranked": 5, "pairs": 2, "others": 1, "larger": (4, 10), "test": 100},
    "quick": {"ranked": 100, "pairs": 10, "others": 2, "test": 1_000},
    "overnight": {"ranked": 500, "pairs": 45, "others": 2, "test": 1_000},
    "paper": {"ranked": 500, "pairs": 45, "others": 2, "test": 1_000},
}
# Fig. 4: the shares that go, and the images of an epoch of fine-tuning.
TUNED_SHARES = (0.5, 0.8, 0.9, 0.95)
TUNED_IMAGES = {"smoke": 90, "quick": 3_000}
TUNED_MOST = 10_000


def measure(setting: Setting, seed: int, loaded: data.Data, *, theta: float = nnslicer.THETA, lr: float = 1e-3) -> dict:
    """Of every layer the same share of synapses goes; accuracy on the chosen classes, the answer being any class.

    Methods: "nnslicer" drops the smallest contributions to the chosen classes, "all classes" those to all, "weight" the
    smallest weights, "channel" those of the neurons whose weights are smallest on average; "semantic" is the slice of
    the chosen classes (DeepLIFT), whose size follows from its theta. Of equal contributions, as of zeros, the smaller
    weight goes first. Each is judged with the network's statistics of batch normalisation, and with those that are
    measured again on normal images once it is pruned: contributions are differences from the average behaviour, and
    what goes takes its share of that average with it.

    Tables: base (accuracy, parameters, images); zeros (classes, n_classes, share: of synapses whose contribution to
    these classes is zero); whole (classes, n_classes, accuracy) of the network itself; pruned (classes, n_classes,
    method, statistics: "kept" or "measured again", share: of synapses that go, accuracy); tuned (method, share, before,
    accuracy): pruned for TARGET, before and after an epoch on images of these classes at learning rate `lr`. Each
    subset is kept as it is done.
    """
    net = training.trained(setting, seed, loaded)
    sizes, smoke = SIZES[setting.preset], setting.preset == "smoke"
    x, y = common.scored_images(setting, loaded)
    found = nnslicer_classes.contributions(net, setting, loaded, sizes["ranked"], theta)
    weights = nnslicer_classes.weights(net)
    fixed = {
        "all classes": flow(found, range(setting.n_classes)),
        "weight": {name: weight.abs() for name, weight in weights.items()},
        "channel": {name: _by_channel(weight) for name, weight in weights.items()},
    }
    shares = SMOKE_SHARES if smoke else SHARES
    normal = normal_images(setting, x, y)
    whole = training.logits(net, loaded.x_test).argmax(1).cpu()

    @cache  # not at all where every part is kept
    def answers() -> list[tuple[str, str, float, Tensor]]:
        return [
            (method, statistics, share, answer)
            for method, worth in fixed.items()
            for share in shares
            for statistics, answer in answered(net, remaining(worth, weights, share), loaded.x_test, normal).items()
        ]

    @cache
    def by_class() -> list[dict]:
        semantic = scores.of(net, x, y)
        return [semantic.semantic("deeplift", at).by_class for at in (THETAS[::2] if smoke else THETAS)]

    def subset(classes: tuple[int, ...]) -> dict[str, list[dict]]:
        case = {"classes": "+".join(map(str, classes)), "n_classes": len(classes)}
        images = places(loaded.y_test, classes, sizes["test"])
        truth, rows = loaded.y_test[images], []

        def add(method: str, statistics: str, share: float, right: Tensor) -> None:
            what = {"method": method, "statistics": statistics, "share": share}
            rows.append(case | what | {"accuracy": _share(right)})

        for method, statistics, share, answer in answers():
            add(method, statistics, share, answer[images] == truth)
        wanted = flow(found, classes)
        cut = [("nnslicer", share, remaining(wanted, weights, share)) for share in shares]
        for each in by_class():
            kept = _inside(net, slicing.Slice.of_classes({c: each[c] for c in classes}), weights)
            gone = 1 - sum(int(mask.sum()) for mask in kept.values()) / sum(mask.numel() for mask in kept.values())
            cut.append(("semantic", gone, kept))
        for method, share, kept in cut:
            for statistics, answer in answered(net, kept, loaded.x_test[images], normal).items():
                add(method, statistics, share, answer == truth)
        accuracy = _share(whole[images] == truth)
        return {"whole": [case | {"accuracy": accuracy}], "zeros": [case | {"share": zeros_in(wanted)}], "pruned": rows}

    def tuned(method: str) -> dict[str, list[dict]]:
        worth = ({"nnslicer": flow(found, TARGET)} | fixed)[method]
        return {"tuned": list(_tuned(net, method, worth, weights, setting, seed, loaded, lr))}

    tables: dict[str, list[dict]] = {"zeros": [], "whole": [], "pruned": [], "tuned": []}
    key = parts.key(net, setting, seed, loaded, theta=theta, lr=lr)
    todo = [(subset, classes) for classes in subsets(setting.n_classes, sizes, seed)]
    todo += [(tuned, method) for method in ("nnslicer", "all classes", "weight")]
    for compute, what in tqdm(todo, desc="subsets, tuned", file=sys.stderr, mininterval=2):
        parts.add(tables, "studies.nnslicer_pruning.measure", [*key, what], partial(compute, what))
    return {"base": [common.whole(net, _share(whole == loaded.y_test), len(loaded.y_test))], **tables}


def _by_channel(weight: Tensor) -> Tensor:
    """For each synapse the mean size of its neuron's weights."""
    return weight.abs().flatten(1).mean(1).view(-1, *[1] * (weight.dim() - 1)).expand_as(weight)


def _inside(net: nn.Module, one: slicing.Slice, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The synapses between neurons of a slice: its own weights, and those that read it."""
    elements = freezing.connecting(net, one)
    return {
        name: elements.get(f"{name}.weight", torch.zeros_like(weight)).bool().cpu() for name, weight in weights.items()
    }


def _share(right: Tensor) -> float:
    return right.double().mean().item()


def _tuned(
    net: nn.Module, method: str, worth: Worth, weights: dict[str, Tensor], setting: Setting, seed: int,
    loaded: data.Data, lr: float,
) -> Iterator[dict]:  # fmt: skip
    images = places(loaded.y_train, TARGET, TUNED_IMAGES.get(setting.preset, TUNED_MOST))
    x, y = loaded.x_train[images], loaded.y_train[images]
    others = places(loaded.y_test, TARGET, len(loaded.y_test))
    test = loaded.x_test[others], loaded.y_test[others]
    for share in TUNED_SHARES:
        pruned = pruning.apply(copy.deepcopy(net), remaining(worth, weights, share))
        before = training.evaluate(pruned, *test)
        training.fit(
            pruned, x, y, epochs=1, batch_size=setting.batch_size, lr=lr, augment=setting.augment, seed=seed,
            label=f"{method}, {share:.0%} pruned",
        )  # fmt: skip
        yield {"method": method, "share": share, "before": before, "accuracy": training.evaluate(pruned, *test)}
