"""NNSlicer's first application by its own protocol (Zhang et al. 2020, Section 6.1): adversarial is what a tree that
knows normal slices takes for another class than the network does. Its Table 4."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from torch import Tensor, nn
from tqdm import tqdm

from nssutils import attacks, data, detection, nnslicer, training
from nssutils.settings import Setting
from nssutils.studies import common, parts

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeClassifier

# Training images that the tree learns from, and test images that each attack is given.
IMAGES = {
    "smoke": {"normal": 300, "attacked": 30},
    "quick": {"normal": 2_000, "attacked": 100},
    "overnight": {"normal": 10_000, "attacked": 500},
    "paper": {"normal": 10_000, "attacked": 500},
}
MOST = {"Pointwise": 100}  # images that an attack is given, where one takes seconds
ATTACKS = {"smoke": ("FGSM_8", "DeepFoolL2", "GaussianBlur")}  # elsewhere all


def measure(setting: Setting, seed: int, loaded: data.Data, *, theta: float = nnslicer.THETA) -> dict:
    """Trees that tell the class from what the network does with normal images; how well they tell each attack.

    Only images that the network recognises take part, and of an attack's only those that mislead it, each with its
    normal counterpart. Tables: base (accuracy, parameters, images); trees (features, normal: images learned from,
    nodes, wrong: share of normal test images that are taken for another class); detection (attack, features, against,
    misled: images, precision, recall, f1), `against` saying what the tree's class is held against: "answer", of the
    network, as in the paper, or "label", the image's, which no detector has; attacks (attack, images, misled, seconds);
    failed (attack, why): attacks that could not be made. Each attack is kept as it is done.
    """
    net = training.trained(setting, seed, loaded)
    test = loaded.x_test.to(training.device()), loaded.y_test
    accuracy = training.evaluate(net, *test, reduced=setting.reduced_evaluation)
    tables: dict[str, list[dict]] = {
        "base": [common.whole(net, accuracy, len(loaded.y_test))],
        **{name: [] for name in ("trees", "detection", "attacks", "failed")},
    }
    key = parts.key(net, setting, seed, loaded, theta=theta)

    @cache  # not at all where every part is kept
    def learned() -> tuple[Watched, dict[str, "DecisionTreeClassifier"]]:
        return _learned(net, setting, seed, loaded, theta)

    def part(name: str, compute: Callable[[], dict]) -> None:
        parts.add(tables, "studies.nnslicer_detection.measure", [*key, name], compute)

    part("trees", lambda: {"trees": _described(*learned())})
    chosen = ATTACKS.get(setting.preset, tuple(attacks.ATTACKS))
    for attack in tqdm(chosen, desc="attacks", unit="attack", file=sys.stderr, mininterval=2):
        try:
            part(attack, lambda attack=attack: _met(net, *learned(), attack, seed))
        except attacks.AttackMissing:
            raise
        except attacks.AttackError as error:  # the others are none the worse
            tables["failed"].append({"attack": attack, "why": str(error)})
    return tables


@dataclass(frozen=True)
class Watched:
    """Normal test images that the network recognises, and what it does with them."""

    x: Tensor
    y: Tensor
    seen: dict  # {features: matrix (N, features)}
    look: Callable[[Tensor], dict]  # what it does with other images


def _learned(
    net: nn.Module, setting: Setting, seed: int, loaded: data.Data, theta: float
) -> tuple[Watched, dict[str, "DecisionTreeClassifier"]]:  # fmt: skip
    """A tree for each kind of features, learned from normal training images; and the normal test images."""
    means = nnslicer.profile(net, loaded.x_train.to(training.device()))

    def look(x: Tensor) -> dict:
        return detection.reactions(net, x, means, theta)

    sizes = IMAGES[setting.preset]
    x, y = _recognised(net, loaded.x_train, loaded.y_train, sizes["normal"] // setting.n_classes)
    trees = {kind: detection.class_tree(seen, y, seed) for kind, seen in look(x).items()}
    x, y = _recognised(net, loaded.x_test, loaded.y_test, sizes["attacked"] // setting.n_classes)
    return Watched(x, y, look(x), look), trees


def _recognised(net: nn.Module, x: Tensor, y: Tensor, each: int) -> tuple[Tensor, Tensor]:
    """The first `each` images of every class that the network recognises."""
    right = training.correct(net, x, y)
    few = data.first_per_class(y[right], each)
    return x[right][few], y[right][few]


def _described(watched: Watched, trees: dict[str, "DecisionTreeClassifier"]) -> list[dict]:
    return [
        {"features": kind, "normal": int(tree.tree_.n_node_samples[0]), "nodes": int(tree.tree_.node_count)}
        | {"wrong": float((tree.predict(watched.seen[kind]) != watched.y.numpy()).mean())}
        for kind, tree in trees.items()
    ]


def _met(
    net: nn.Module, watched: Watched, trees: dict[str, "DecisionTreeClassifier"], attack: str, seed: int
) -> dict:  # fmt: skip
    """How each tree judges the misleading images of an attack and their normal counterparts."""
    start, given = common.clock(), slice(MOST.get(attack))
    places, moved = attacks.misleading(net, watched.x[given], watched.y[given], attack, seed)
    row = {"attack": attack, "images": len(watched.x[given]), "misled": len(places)}
    found = {"attacks": [row | {"seconds": round(common.clock() - start, 1)}], "detection": []}
    if not len(places):
        return found
    taken = training.logits(net, moved).argmax(1).cpu().numpy()
    for kind, seen in watched.look(moved).items():
        labels = watched.y[places].numpy()
        normal = trees[kind].predict(watched.seen[kind][places.numpy()]) != labels  # the network answers these
        told = trees[kind].predict(seen)
        found["detection"] += [
            {"attack": attack, "features": kind, "against": against, "misled": len(places)}
            | detection.balanced(told != wanted, normal)
            for against, wanted in (("answer", taken), ("label", labels))
        ]
    return found
