"""DeepArc as its own paper and public code have it (Ren et al. 2023): how modular a network is, which blocks it can
spare or take twice, and repair where the effect of an attack grows."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial

import torch
from torch import Tensor, nn

from nssutils import data, deeparc, digests, freezing, incremental, readaptation, training
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import common, parts

# By preset. Passes over the test images for debiased CKA (the public code: 10). Images: held out, to choose a draw of
# the search by; trained on in a repair; held out, to choose the learning rate by; to find eps by.
SIZES = {
    "smoke": {"passes": 1, "held": 100, "repair": 50, "validation": 50, "calibration": 30},
    "quick": {"passes": 2, "held": 1000, "repair": 300, "validation": 200, "calibration": 100},
    "overnight": {"passes": 2, "held": 1000, "repair": 500, "validation": 200, "calibration": 100},
    "paper": {"passes": 10, "held": 2000, "repair": 1000, "validation": 500, "calibration": 300},
}
# Networks of the same depth for fewer classes, or trained on a share of the images: (classes, share). The public code
# has all pairs of the classes and shares of preset paper.
VARIANTS = {
    "smoke": ((5, 1.0),),
    "quick": ((2, 1.0), (5, 1.0), (10, 0.25)),
    "overnight": ((2, 1.0), (5, 1.0), (10, 0.25)),
    "paper": ((2, 1.0), (4, 1.0), (6, 1.0), (8, 1.0), (10, 0.1), (10, 0.25), (10, 0.5), (10, 0.75)),
}
THRESHOLDS = (0.9, 0.95)  # beside the reading: the public code has 0.90 to 0.99
EDITS = (1, 2)  # blocks removed, and added
AMONG = 4  # blocks that the search removes at most
DRAWS = {"smoke": 2, "quick": 5, "overnight": 5, "paper": 5}  # of each size; 5 in the public code
EPOCHS = {"smoke": 2, "quick": 8, "overnight": 8, "paper": 10}  # of a repair
# Learning rates to try, of which a preset takes the first so many.
RATES = {"full": (1e-3, 3e-4, 3e-3), "threshold": (1e-3, 3e-4, 3e-3), "drop": (3e-2, 1e-2, 1e-1)}
TRIED = {"smoke": 1, "quick": 2, "overnight": 2, "paper": 3}
LEFT = 0.12  # accuracy that the attack of the public demonstration leaves


def measure(setting: Setting, seed: int, loaded: data.Data, *, threshold: float = 0.99) -> dict:
    """Modules, blocks removed and added without retraining, a search for what can go, and repair.

    Blocks are removed, and followed by a copy, in the order of their debiased similarity with their predecessor, the
    most alike first; only those that keep the shape of what they are given. A plain network has modules and repairs.
    Tables: base (accuracy, parameters, images, blocks); similarities (kind: biased, of one batch, or debiased; block:
    counted from 1, unit; cka with the block before); modularity (blocks, n_classes, images: trained on, accuracy, kind,
    threshold, share); edited (what, blocks: how many, units, accuracy, parameters); search (size, draw, units, held:
    accuracy on images held out, accuracy); repair (attack, method: full, threshold as in readaptation.critical_units,
    or drop; eps; left, repaired: accuracy on the adversarials trained on; mix_before, mix: on these and their clean
    images; clean: on test images; lr, units: how many, names). Each network, edit and repair is kept as it is done.
    """
    net = training.trained(setting, seed, loaded)
    first = net if seed == setting.seeds[0] else training.trained(setting, setting.seeds[0], loaded)
    x, y = loaded.x_test.to(training.device()), loaded.y_test
    accuracy = training.evaluate(net, x, y, reduced=setting.reduced_evaluation)
    found, shape = deeparc.units(net), {"accuracy": accuracy, "parameters": count_parameters(net)}
    tables: dict[str, list[dict]] = {"base": [shape | {"images": len(y), "blocks": len(found)}]}
    begun = digests.of_tensors(first.state_dict().values())
    key = parts.key(net, setting, seed, loaded, threshold=threshold, first=begun)

    def part(table: str, name: str, compute: Callable[[], list[dict]]) -> None:
        parts.add(tables, "studies.deeparc.measure", [*key, name], lambda: {table: compute()})

    part("similarities", "similarities", lambda: _similarities(found, _alike(net, x, setting, seed)))
    alike = {
        kind: [row["cka"] for row in tables["similarities"] if row["kind"] == kind] for kind in ("biased", "debiased")
    }
    whole = {"blocks": len(found), "n_classes": setting.n_classes, "images": len(loaded.y_train), "accuracy": accuracy}
    tables["modularity"] = _shares(whole, found, alike, threshold)
    for n_classes, share in common.sized(VARIANTS, setting):
        variant = partial(_variant, setting, seed, loaded, n_classes, share, threshold)
        part("modularity", f"{n_classes} classes, {share:g} of the images", variant)
    spare = deeparc.preserving(net, x[:1])
    ranked = sorted(range(1, len(found)), key=lambda i: -alike["debiased"][i - 1])
    ranked = [found[i] for i in ranked if found[i] in spare]
    among = [unit for unit in found if unit in ranked[:AMONG]]
    part("edited", "edited", lambda: _edited(net, ranked, x, y, setting))
    part("search", "search", lambda: _search(net, among, loaded, setting, seed))
    for name, repaired in _repairs(net, first, loaded, setting, seed):
        part("repair", name, repaired)
    return tables


def _similarities(found: list[deeparc.Unit], alike: dict[str, list[float]]) -> list[dict]:
    return [
        {"kind": kind, "block": at, "unit": unit.name, "cka": value}
        for kind, values in alike.items()
        for at, (unit, value) in enumerate(zip(found[1:], values, strict=True), start=2)
    ]


def _alike(net: nn.Module, x: Tensor, setting: Setting, seed: int) -> dict[str, list[float]]:
    """Both kinds of similarity of consecutive units on test images x."""
    passes = common.sized(SIZES, setting)["passes"]
    return {
        "biased": deeparc.similarities(net, x[: deeparc.BATCH]),
        "debiased": deeparc.debiased_similarities(net, _batches(x, passes, seed)),
    }


def _batches(x: Tensor, passes: int, seed: int) -> Iterator[Tensor]:
    """Whole minibatches of the images in a new order each pass; what is left over after the last one is left out."""
    generator, size = torch.Generator().manual_seed(seed), min(deeparc.BATCH, len(x))
    for _ in range(passes):
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x) - size + 1, size):
            yield x[order[start : start + size].to(x.device)]


def _shares(of: dict, found: list[deeparc.Unit], alike: dict[str, list[float]], threshold: float) -> list[dict]:
    """How modular a network is, by kind of similarity and threshold; `of` says which network."""
    return [
        of | {"kind": kind, "threshold": at, "share": deeparc.modularity(deeparc.modules(found, values, at))}
        for kind, values in alike.items()
        for at in sorted({*THRESHOLDS, threshold})
    ]


def _variant(
    setting: Setting, seed: int, loaded: data.Data, n_classes: int, share: float, threshold: float
) -> list[dict]:
    """How modular a network for the first `n_classes` classes, or trained on a share of each class's images, is."""
    if share < 1:
        each = max(1, int(share * len(loaded.y_train) / setting.n_classes))
        few = data.first_per_class(loaded.y_train, each)
        loaded = replace(loaded, x_train=loaded.x_train[few], y_train=loaded.y_train[few])
        setting = replace(setting, train_size=len(few))  # as the data are loaded at that size
    if n_classes < setting.n_classes:
        loaded = incremental.only(loaded, torch.arange(n_classes))
        setting = replace(setting, n_classes=n_classes)
    net = training.trained(setting, seed, loaded)
    among = loaded.y_test < n_classes
    x, y = loaded.x_test[among].to(training.device()), loaded.y_test[among]
    accuracy = training.evaluate(net, x, y, reduced=setting.reduced_evaluation)
    found = deeparc.units(net)
    of = {"blocks": len(found), "n_classes": n_classes, "images": len(loaded.y_train), "accuracy": accuracy}
    return _shares(of, found, _alike(net, x, setting, seed), threshold)


def _edited(net: nn.Module, ranked: list[deeparc.Unit], x: Tensor, y: Tensor, setting: Setting) -> list[dict]:
    """The network with blocks removed, or added, and nothing retrained."""
    rows = []
    for what, edit in (("removed", deeparc.remove), ("added", deeparc.add)):
        for count in EDITS:
            if count > len(ranked):
                continue
            edited = edit(net, ranked[:count], x[:1])
            accuracy = training.evaluate(edited, x, y, reduced=setting.reduced_evaluation)
            row = {"what": what, "blocks": count, "units": _names(ranked[:count]), "accuracy": accuracy}
            rows.append(row | {"parameters": count_parameters(edited)})
    return rows


def _search(
    net: nn.Module, among: list[deeparc.Unit], loaded: data.Data, setting: Setting, seed: int
) -> list[dict]:  # fmt: skip
    """Random subsets of the blocks `among` removed: accuracy on held-out images, to choose by, and on test images."""
    few = data.first_per_class(loaded.y_held, common.sized(SIZES, setting)["held"] // setting.n_classes)
    reduced = setting.reduced_evaluation

    def both(slim: nn.Module) -> dict[str, float]:
        held = training.evaluate(slim, loaded.x_held[few], loaded.y_held[few], reduced=reduced)
        return {"held": held, "accuracy": training.evaluate(slim, loaded.x_test, loaded.y_test, reduced=reduced)}

    rows: list[dict] = []
    sizes = range(1, len(among) + 1)
    for gone, accuracies in deeparc.search(
        net, among, loaded.x_test[:1], both, sizes=sizes, draws=common.sized(DRAWS, setting), seed=seed
    ):  # fmt: skip
        draw = 1 + sum(row["size"] == len(gone) for row in rows)
        rows.append({"size": len(gone), "draw": draw, "units": _names(gone)} | accuracies)
    return rows


def _repairs(
    net: nn.Module, first: nn.Module, loaded: data.Data, setting: Setting, seed: int
) -> Iterator[tuple[str, Callable[[], list[dict]]]]:
    """What repairs the network of each attack on training images, by every method, each at the rate that does best on
    held-out images: its name, and the row that it gives.

    eps is found on the network of the setting's first seed, `first`, so that it is the same for all.
    """
    sizes, reduced = common.sized(SIZES, setting), setting.reduced_evaluation
    x, y = _few(loaded.x_train, loaded.y_train, sizes["repair"] // setting.n_classes)
    x_held, y_held = _few(loaded.x_held, loaded.y_held, sizes["validation"] // setting.n_classes)
    calibration = _few(x, y, sizes["calibration"] // setting.n_classes)

    @cache  # not at all where every repair is kept
    def attacked(attack: str) -> tuple[float, Tensor, Tensor]:
        make = readaptation.ATTACKS[attack]
        eps = readaptation.calibrate(make, first, *calibration, LEFT, reduced)
        return eps, make(net, x, y, eps, reduced=reduced), make(net, x_held, y_held, eps, reduced=reduced)

    def repaired(attack: str, method: str) -> list[dict]:
        eps, moved, moved_held = attacked(attack)
        whole, left = (training.evaluate(net, each, y, reduced=reduced) for each in (x, moved))
        choose = {"threshold": readaptation.critical_units, "drop": readaptation.dropping_units}.get(method)
        units = choose(net, x, moved) if choose else None
        best, merit, rate = net, -1.0, None
        for lr in RATES[method][: common.sized(TRIED, setting)]:
            try:
                mended = _mended(net, method, units, (x, moved, y), setting, lr=lr, seed=seed)
            except freezing.DivergedError:  # too high a rate is what the trials are to find out
                continue
            held = sum(training.evaluate(mended, each, y_held, reduced=reduced) for each in (x_held, moved_held))
            if held > merit:
                best, merit, rate = mended, held, lr
        again = training.evaluate(best, moved, y, reduced=reduced)
        return [
            {"attack": attack, "method": method, "eps": eps, "left": left, "repaired": again}
            | {"mix_before": (whole + left) / 2}
            | {"mix": (training.evaluate(best, x, y, reduced=reduced) + again) / 2}
            | {"clean": training.evaluate(best, loaded.x_test, loaded.y_test, reduced=reduced), "lr": rate}
            | {"units": None if units is None else len(units), "names": _names(units or [])}
        ]

    for attack in readaptation.ATTACKS:
        for method in RATES:
            yield f"{attack}, {method}", partial(repaired, attack, method)


def _mended(
    net: nn.Module, method: str, units: list[deeparc.Unit] | None, images: tuple[Tensor, Tensor, Tensor],
    setting: Setting, **how,
) -> nn.Module:  # fmt: skip
    """A copy of the network, repaired on images, their adversarials and labels."""
    mended, (x, moved, y) = copy.deepcopy(net), images
    how |= {"epochs": common.sized(EPOCHS, setting), "reduced": setting.reduced}
    if method == "drop":
        return readaptation.repair_units(mended, x, moved, y, units, **how)
    trained = "full" if method == "full" else "deeparc"
    return readaptation.repair(mended, x, moved, y, readaptation.trainable(mended, trained, None, units or []), **how)


def _few(x: Tensor, y: Tensor, each: int) -> tuple[Tensor, Tensor]:
    """The first images of each class, on the device, and their labels."""
    few = data.first_per_class(y, each)
    return x[few].to(training.device()), y[few].to(training.device())


def _names(units: list[deeparc.Unit]) -> str:
    return " ".join(unit.name for unit in units)
