"""Results of every chapter whose numbers are all different, so that each that is shown says where it comes from."""

import csv
import random
from dataclasses import replace
from itertools import product
from math import sqrt
from pathlib import Path
from statistics import stdev

from written import result

PAPER = Path(__file__).parents[1] / "data" / "paper"
TITLES = {"mlp-mnist": "MLP-MNIST", "mlp-fmnist": "MLP-FMNIST", "vgg16-cifar10": "VGG16-CIFAR10"}
SEEDS = {"mlp-fmnist": range(3), "vgg16-cifar10": range(2)}  # two networks have no interval
ATTACKS = {"fgsm": "FGSM", "pgd": "PGD"}


def some(*what):
    """A share, another one for whatever it is of."""
    return random.Random(repr(what)).uniform(0.2, 0.8)


def half(values):
    """Half of the 95% interval of three networks' mean, by Student's t."""
    return 4.302652729911275 * stdev(values) / sqrt(3)


def paper(number, **cell):
    """The value that a table of the paper prints for a cell."""
    with (PAPER / f"table{number}.csv").open(newline="") as file:
        (found,) = [row["value"] for row in csv.DictReader(file) if cell.items() <= row.items()]
    return float(found)


# RQ2

PRUNERS = {"lamp": "LAMP", "glob": "Glob", "unif": "Unif+", "erk": "ERK"}


def prunings(setting, seed):
    """Of three steps at 10%, 30% and 60%; one network's are tested no further than the second. It stops at the second
    by one rule, which is taken, at the third by another."""
    steps, pruned = [], []
    for method in (prefix + pruner for pruner in PRUNERS for prefix in ("", "nss+")):
        course = [
            {"method": method, "step": i, "compression_rate": rate, "accuracy": some(setting, seed, method, i)}
            for i, rate in enumerate((0.1, 0.3, 0.6))
        ]
        for row in course[2:] if seed == 1 else ():
            row["accuracy"] = None
        steps += course
        for tau, rate in ((0.01, 0.3), (0.002, 0.1)):
            stop = {"method": method, "tau": tau, "iterations": 4, "compression_rate": rate}
            pruned.append(stop | {"accuracy": some(setting, seed, method, tau)})
    content = {"base": [{"accuracy": 0.9}], "slices": [{"tolerance": 0.005}], "steps": steps, "pruned": pruned}
    return result("rq2_restructuring", content, seed, setting, "paper")


# RQ3

REPAIRS = {"full": "full training", "deeparc": "DeepArc", "nss": "NeuSemSlice", "nss+deeparc": "NeuSemSlice + DeepArc"}
RATES = {0: 0.001, 1: 0.002, 2: 0.001}


def repairs(setting, seed):
    rows = [
        {"attack": attack, "method": method, "lr": RATES[seed], "units": None}
        | {column: some(setting, seed, attack, method, column) for column in ("tpr", "ra", "raa", "clean", "robust")}
        for attack in ATTACKS for method in REPAIRS
    ]  # fmt: skip
    attacks = [
        {"attack": attack} | {column: some(setting, seed, attack, column) for column in ("eps", "left", "robust")}
        for attack in ATTACKS
    ]
    times = [
        {"method": method, "steps": 5, "seconds": some(setting, seed, method, turn)}
        for method in REPAIRS for turn in range(3)
    ]  # fmt: skip
    effort = [
        {"attack": attack, "method": method, "lr": 0.003, "epoch": epoch,
         "ra": some(setting, seed, attack, method, epoch)}
        for attack in ATTACKS for method in REPAIRS for epoch in range(1, 25)
    ]  # fmt: skip
    base = [{"accuracy": some(setting, seed, "base"), "parameters": 1000}]
    content = {"base": base, "attacks": attacks, "repairs": rows, "times": times, "effort": effort}
    return result("rq3_readaptation", content, seed, setting, "paper")


# RQ4

TASKS = {
    "original": "Original", "retrain": "Retrain", "replay5": "Replay 5%", "replay10": "Replay 10%",
    "replay100": "Replay 100%", "deeparc": "DeepArc", "nss": "NeuSemSlice",
    "nss+replay10": "NeuSemSlice + Replay 10%", "random": "a random slice instead",
}  # fmt: skip
SHARES = ("a", "b", "a_told", "b_told", "a_untold", "b_untold", "trained")
NEARER = {"mlp-fmnist": "last", "vgg16-cifar10": "first"}


def task(setting, seed, task_a, method, column):
    """What is measured: in the half that is to be taken the first rows are the paper's."""
    measure = {("original", "a"): "A", ("retrain", "b"): "B"}.get((method, column))
    if measure and task_a == NEARER[setting]:
        return paper(6, method=method, setting=setting, measure=measure) / 100
    value = some(setting, seed, task_a, method, column)
    return value if column in SHARES else round(100_000 * value) if column != "seconds" else value


def taught(setting, seed):
    rows = [
        {"task_a": task_a, "method": method}
        | {column: task(setting, seed, task_a, method, column) for column in (*SHARES, "images", "stored", "seconds")}
        for task_a in ("first", "last")
        for method in TASKS
        if not (method == "deeparc" and setting == "mlp-fmnist")  # nothing is redundant there
    ]
    content = {"base": [{"accuracy": 0.9, "parameters": 10}], "methods": rows}
    return result("rq4_incremental", content, seed, setting, "paper")


# The pilot studies

BANDS = {f"{low}-{low + 10}": f"{low}% → {low + 10}%" for low in range(0, 50, 10)}
METRICS = {"avg": "Avg", "var": "Var", "ens": "Ens", "deeplift": "DeepLIFT", "taylor": "Taylor"}
CATEGORIES = (1, 4, 7, 10)
PILOTS = ("mlp-mnist", "vgg16-cifar10")  # the paper's tables are of the second


def masked(setting, seed, categories=(None,)):
    rows = [
        {"metric": metric, "band": band, "accuracy": some(setting, seed, metric, band, category)}
        | ({} if category is None else {"category": category})
        for category in categories for metric in METRICS for band in BANDS
    ]  # fmt: skip
    base = [
        {"accuracy": some(setting, seed, "base", category)} | ({} if category is None else {"category": category})
        for category in categories
    ]
    chapter = "pilot_global" if categories == (None,) else "pilot_categorywise"
    return result(chapter, {"base": base, "masking": rows}, seed, setting, "paper")


# RQ1

SELECTIONS = ("semantic", "global", "category-wise")
LAYERS = ("b", "a", "c", "d")  # by depth, not by name


def curves(setting, seed):
    """Points at 5%, 15% ... 85%: at 10% is the mean of the first two."""
    return [
        {"method": method, "metric": metric, "at": i, "compression_rate": (2 * i + 1) / 20,
         "accuracy": some(setting, seed, method, metric, i)}
        for method in SELECTIONS for metric in METRICS for i in range(9)
    ]  # fmt: skip


def sliced(setting, seed):
    layers = [
        {"metric": metric, "layer": layer, "share": some(setting, seed, metric, layer)}
        for metric in METRICS for layer in LAYERS
    ]  # fmt: skip
    seconds = [{"metric": metric, "seconds": some(setting, seed, metric, "seconds")} for metric in METRICS]
    deeparc = [{"unit": unit, "similarity": some(setting, seed, unit)} for unit in "bcd"]
    # Of three networks the second loses nothing at 0.99.
    removed = [
        {"threshold": threshold, "units": units, "compression_rate": 0.3 * (units > 0),
         "accuracy": some(setting, seed, "removed", threshold)}
        for threshold, units in ((0.99, (2, 0, 1)[seed]), (0.95, 3))
    ]  # fmt: skip
    content = {
        "base": [{"accuracy": some(setting, seed, "base"), "parameters": 1_234_567}],
        "points": curves(setting, seed), "layers": layers, "seconds": seconds, "deeparc": deeparc, "removed": removed,
    }  # fmt: skip
    return result("rq1_slicing", content, seed, setting, "paper")


# DeepArc

ARCS = {"resnet44-cifar10": "ResNet44-CIFAR10", "resnet110-cifar10": "ResNet110-CIFAR10"}
TRAINED = {"full": "everything", "threshold": "changed and not redundant", "drop": "largest falls, DeepArc's loss"}


def arc(setting, seed):
    modularity = [
        {"blocks": 54, "n_classes": classes, "images": images, "accuracy": some(setting, seed, classes, images),
         "kind": kind, "threshold": threshold, "share": some(setting, seed, classes, images, threshold, kind)}
        for classes, images in ((10, 48_000), (2, 9_600)) for threshold in (0.95, 0.99)
        for kind in ("biased", "debiased")
    ]  # fmt: skip
    edited = [
        {"what": what, "blocks": count, "units": "x", "accuracy": some(setting, seed, what, count),
         "parameters": round(1e6 * some(setting, seed, what, count, "parameters"))}
        for what in ("removed", "added") for count in (1, 2)
    ]  # fmt: skip
    search = [
        {"size": size, "draw": draw, "units": "", "held": some(setting, seed, size, draw, "held"),
         "accuracy": some(setting, seed, size, draw)}
        for size in (1, 4) for draw in range(5)
    ]  # fmt: skip
    repair = [
        {"attack": attack, "method": method, "eps": 0.03, "lr": 0.01, "names": "",
         "units": None if method == "full" else 5 + seed}
        | {column: some(setting, seed, attack, method, column)
           for column in ("left", "repaired", "mix_before", "mix", "clean")}
        for attack in ATTACKS for method in TRAINED
    ]  # fmt: skip
    base = [
        {"accuracy": some(setting, seed, "base"), "images": 10_000, "blocks": 54,
         "parameters": round(1e6 * some(setting, seed, "parameters"))}
    ]  # fmt: skip
    similarities = [
        {"unit": unit, "block": block, "kind": kind, "cka": some(setting, seed, unit, kind)}
        for block, unit in enumerate(("layer1.1", "layer2.0", "layer2.1"), 1) for kind in ("biased", "debiased")
    ]  # fmt: skip
    content = {"base": base, "similarities": similarities, "modularity": modularity, "edited": edited, "search": search}
    return result("deeparc", content | {"repair": repair}, seed, setting, "paper")


# A network of one's own

OWN = {"resnet18-cifar10": "ResNet18-CIFAR10", "vit-cifar10": "ViT-CIFAR10"}
WAYS = {
    "repaired": {"before": "none", "all": "all parameters", "critical": "those that connect critical neurons"},
    "extended": {"all": "all parameters", "outside": "those that the slice does not need"},
}
TOLD = {"repaired": ("trained", "accuracy", "attacked"), "extended": ("trained", "old_told", "old", "new")}


def own(setting, seed):
    def shares(names, *what):
        return {name: some(setting, seed, *what, name) for name in names}

    shrunk = {"metric": "taylor", "theta": 0.9, "parameters": 10**9, "operations": 10**10}
    shrunk |= {f"{what}_left": round(some(setting, seed, what) * shrunk[what]) for what in ("parameters", "operations")}
    content = {"base": [{"accuracy": 0.5}], "shrunk": [shrunk | shares(("accuracy", "accuracy_left"))]}
    content |= {which: [{"way": way} | shares(TOLD[which], which, way) for way in ways] for which, ways in WAYS.items()}
    content["points"] = curves(setting, seed)
    return result("your_model", content, seed, setting, "quick")


# What the readings of slicing change

READINGS = {
    ("this book", ""): METRICS, ("step", "2"): METRICS, ("sum", "square"): ("avg", "var"), ("Ens", "layer"): ("ens",),
    ("scan", "last"): ("var",),
}  # fmt: skip
TOLERANCES = (0.005, 0.03)  # of the slices for Table 4 and for Table 5


def reached(seed, key, method, metric):
    """Which of nine points a curve has that ends early, or begins late."""
    if (seed, method) == (1, "global"):
        return range(7)
    if key == ("step", "2") and method == "semantic":
        return {(0, "avg"): range(4, 9), (2, "var"): range(1)}.get((seed, metric), range(9))
    return range(9)


def read(setting, seed, points=lambda *_: range(9)):
    points = [
        {"reading": reading, "value": value, "method": method, "metric": metric, "at": 0.5,
         "compression_rate": (2 * i + 1) / 20, "accuracy": some(setting, seed, reading, value, method, metric, i)}
        for (reading, value), metrics in READINGS.items() for metric in metrics for method in SELECTIONS
        if reading != "scan" or method == "semantic" for i in points(seed, (reading, value), method, metric)
    ]  # fmt: skip
    slices = [
        {"reading": reading, "value": value, "tolerance": tolerance, "metric": "taylor", "at": 0.9, "accuracy": 0.9,
         "compression_rate": some(setting, seed, reading, value, tolerance)}
        for reading, value in READINGS for tolerance in TOLERANCES
    ]  # fmt: skip
    return result("sensitivity", {"points": points, "slices": slices}, seed, setting, "paper")


VARIANTS = {"deeplift": ("zeros, this book", "mean image, captum"), "taylor": ("weights, 256", "gate")}
SCANS = (("centred", "256", "1", "first"), ("centred", "64", "4", "first"), ("as printed", "256", "1", "last"))


def combined(setting, seed):
    rows = []
    for (metric, variants), scan, tolerance in product(VARIANTS.items(), SCANS, TOLERANCES):
        for variant in variants:
            what = (setting, seed, metric, variant, *scan, tolerance)
            row = {"metric": metric, "variant": variant, "tolerance": tolerance, "at": 0.9}
            row |= dict(zip(("CKA", "images for the CKA", "step", "crossing"), scan, strict=True))
            row |= {"compression_rate": some(*what, "left out"), "loss": 2 * tolerance * some(*what, "loss")}
            rows.append(row)
    return result("sensitivity", {"combined": rows}, seed, setting, "paper")


# NNSlicer

KEPT = ("kept", "measured again")
PRUNED = {"nnslicer": "NNSlicer, these classes", "all classes": "NNSlicer, all classes", "weight": "weight",
          "channel": "channel"}  # fmt: skip
SEEN = ("synapses", "inner synapses", "synapses, all outputs", "neurons", "feature map")


def peer(name):
    """A number that is read off NNSlicer's figures."""
    with (PAPER / "nnslicer_numbers.csv").open(newline="") as file:
        return next((f"{float(row['value']):g}" for row in csv.DictReader(file) if row["id"] == name), None)


def applied(seed):
    pruned = [
        {"classes": classes, "n_classes": 2, "method": method, "statistics": kept, "share": share,
         "accuracy": some(seed, classes, method, kept, share)}
        for classes in ("0+1", "2+3") for method in PRUNED for kept in KEPT for share in (0.3, 0.5, 0.55, 0.8)
    ]  # fmt: skip
    pruned += [  # two thetas, whose slices are of another size for each subset
        {"classes": classes, "n_classes": 2, "method": "semantic", "statistics": kept,
         "share": some(seed, classes, theta), "accuracy": some(seed, classes, "semantic", kept, theta)}
        for classes in ("0+1", "2+3") for kept in KEPT for theta in (0.9, 0.8)
    ]  # fmt: skip
    tuned = [
        {"method": method, "share": share, "before": some(seed, method, share, "before"),
         "accuracy": some(seed, method, share)}
        for method in ("nnslicer", "all classes", "weight") for share in (0.8, 0.5)
    ]  # fmt: skip
    protection = [
        {"method": method, "images": images, "before": 0.1, "before_target": 0.1,
         "accuracy": some(seed, method, images, "all"), "target": some(seed, method, images)}
        for method in ("nnslicer", "all classes", "weight", "random", "everything") for images in (48_000, 10_000)
    ]  # fmt: skip
    detection = [
        {"attack": attack, "features": kind, "against": against, "misled": 40}
        | {measure: some(seed, attack, kind, against, measure) for measure in ("precision", "recall", "f1")}
        for attack in ("FGSM_8", "FGSM_2") for kind in SEEN for against in ("answer", "label")
    ]  # fmt: skip
    attacks = [
        {"attack": attack, "images": 50, "misled": 10 + 10 * seed, "seconds": 1.0} for attack in ("FGSM_8", "FGSM_2")
    ]
    trees = [
        {"features": kind, "normal": 1000, "nodes": round(100 * some(seed, kind, "nodes")), "wrong": some(seed, kind)}
        for kind in SEEN
    ]
    rows = {
        "nnslicer_pruning": {"pruned": pruned, "tuned": tuned},
        "nnslicer_protection": {"protection": protection},
        "nnslicer_detection": {"detection": detection, "attacks": attacks, "trees": trees, "failed": []},
    }
    return {chapter: result(chapter, one, seed, "resnet10-cifar10", "paper") for chapter, one in rows.items()}


RULES = {("filter", 0.1, "sign"): "0.1", ("filter", 0.1, "size"): "0.1", ("activation", 0.5, "sign"): "0.5"}


def ruled(seed, share):
    pruned, zeros = [], []
    for classes in ("0+1", "2+3"):
        for unit, theta, summed in [("", 0.0, ""), *RULES]:
            rule = {"unit": unit, "theta": theta, "summed": summed, "classes": classes}
            pruned += [
                rule | {"method": "nnslicer" if unit else "weight", "statistics": kept}
                | {"accuracy": some(seed, classes, unit, theta, summed, kept)}
                for kept in KEPT
            ]  # fmt: skip
            zeros += [rule | {"share": some(seed, classes, unit, theta, summed)}] * bool(unit)
    one = result("nnslicer_rules", {"pruned": pruned, "zeros": zeros}, seed, "resnet10-cifar10", "paper")
    return replace(one, readings={"share": share})
