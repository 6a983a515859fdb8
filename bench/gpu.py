"""What the paper grid takes on a GPU. `python bench/gpu.py > bench/gpu.md`

An estimate from what each chapter computes: passes of one image, counted from the studies' own constants, times what a
pass costs, counted on the networks. What an H200 makes of that is scaled from what a smaller GPU was measured at (see
below); where the published results hold what a GPU measured, its seconds stand beside the estimate.
"""

from collections import Counter

import torch
from torch.utils.flop_counter import FlopCounterMode

from nssutils import models, neurons, settings
from nssutils.companion import results, workflow
from nssutils.studies import common, nnslicer, nnslicer_detection, nnslicer_protection, nnslicer_pruning, rq1, rq3, rq4

# Images a second (training, inference) that one RTX 3090 was measured at, at 224 pixels, half precision, channels last,
# and the operations of a forward pass at that size. Source: github.com/huggingface/pytorch-image-models, vgg19_bn and
# resnet101 of results/benchmark-{train,infer}-amp-nhwc-pt112-cu113-rtx3090.csv. AlexNet, VGG-16: as VGG-19.
RTX3090 = {"vgg": (398.5, 1265.8, 39.3e9), "resnet": (747.9, 2246.1, 15.6e9)}
# An H200 moves 5.1 times the bytes a second of an RTX 3090 (4.8 to 0.94 TB/s) and has 14 times its half-precision peak
# (989 to 71e12 operations a second): 4 times as fast is a cautious guess. Evaluation is in TF32: half of that.
FASTER = {"training": 4, "inference": 2}
SORTED = 1e9  # terms of weighted sums that NNSlicer sorts a second
LAUNCH = 15e-6  # seconds for the kernels of one operation in one batch, forward: what small networks wait for
EVALUATED = 1000  # images in a batch that is evaluated
TARGET = 2.5  # hours

BACK = 3  # a forward and a backward pass, in forward passes
# Forward passes an image: all five in one sweep; DeepLIFT and Taylor; the five one by one.
ALL_METRICS, BEST_METRICS, EACH_METRIC = 5.6, 7, 10
STEPS = 120  # of pruning, over the eight courses of RQ2: about as many as at quick
SIZES = {"mnist": (60_000, 10_000), "fashion-mnist": (60_000, 10_000), "cifar10": (50_000, 10_000)}
SIZES["imagenet10"] = (9_469, 3_925)  # all of Imagenette
SUBSET = (4_000, 1_000)  # what the published VGG-19 saw of it


def passes(setting: settings.Setting, flops: float) -> dict[str, tuple[float, float, float]]:
    """{chapter: (forward passes while training, forward passes otherwise, images that NNSlicer slices)}; one pass
    takes `flops`."""
    train, test = SIZES[setting.dataset]
    chosen = BEST_METRICS * train + 26 * common.CHOSEN_ON["paper"]  # 2 metrics, 13 thetas
    parts, learned = rq3.IMAGES["paper"], rq4.EPOCHS["paper"]
    attacked = sum(parts.values()) * 12 + 8 * parts["test"]  # to find eps and, after each repair, again
    sizes = nnslicer_detection.IMAGES["paper"]
    if setting.model != "mlp":
        sizes = sizes | nnslicer_detection.CONV_MOST
    sliced = 3.8 * sizes["train"] + 5.2 * sizes["test"] + nnslicer.RANKING["paper"] * setting.n_classes
    pruned = sum(k / 10 for k in nnslicer_pruning.CLASSES) * 25
    afforded = max(1, min(rq1.SLICED["paper"], int(rq1.TERMS // (flops / 2 * setting.n_classes))))
    return {
        "training": (BACK * setting.epochs * train, 0, 0),
        "pilot_global": (0, ALL_METRICS * train + 25 * test, 0),
        "pilot_categorywise": (0, ALL_METRICS * train + 25 * test, 0),
        "rq1_slicing": (0, (ALL_METRICS + EACH_METRIC) * train + 160 * test, 10 * afforded),
        "rq2_restructuring": (8 * BACK * train, chosen + STEPS * (test + common.CHOSEN_ON["paper"]), 0),
        "rq3_readaptation": (
            8 * len(rq3.RATES["paper"]) * rq3.EPOCHS["paper"] * 2 * parts["repair"] * BACK,
            chosen + attacked * 11 * BACK / 2 + 20 * test,
            0,
        ),
        # Two halves as task A, each trained anew; then task B in eight ways, five of them with images of task A.
        "rq4_incremental": (BACK * train * (setting.epochs + learned * (8 + 1.35)), 2 * chosen + 32 * test, 0),
        "nnslicer": (
            16 * nnslicer_protection.EPOCHS["paper"] * nnslicer_protection.IMAGES["paper"] * BACK,
            4 * train + (pruned + 34) * test,
            sliced,
        ),
    }


def seconds(setting: settings.Setting) -> dict[str, float]:
    """Estimated seconds of each chapter for one seed, its share of the training apart."""
    with torch.device("meta"):
        net = models.build(setting).eval()
        with FlopCounterMode(display=False) as counter:
            net(torch.empty(1, setting.channels, setting.image_size, setting.image_size))
    flops = counter.get_total_flops()
    training, inference, operations = RTX3090["resnet" if setting.model.startswith("resnet") else "vgg"]
    training *= BACK * operations * FASTER["training"]
    inference *= operations * FASTER["inference"]
    launch = LAUNCH * len(neurons.trace(net).graph.nodes)
    return {
        chapter: max(trained * flops / training, trained / setting.batch_size * launch)
        + max(seen * flops / inference, seen / EVALUATED * launch)
        + sliced * flops / 2 / SORTED
        for chapter, (trained, seen, sliced) in passes(setting, flops).items()
    }


def measured(chapter: str, name: str) -> str:
    """Mean seconds of a GPU's published results, with the device; a dash where there are none."""
    found = [one for one in results.published(chapter, [name]) if "CPU" not in str(one.provenance["device"])]
    if not found or found[0].preset != "paper":
        return "–"
    return f"{sum(one.provenance['seconds'] for one in found) / len(found):.0f} ({found[0].provenance['device']})"


def grid() -> tuple[list[str], dict[str, float]]:
    """A row of the table for each chapter and setting, and the hours of each setting."""
    wanted = Counter((job.chapter, job.setting) for job in workflow.jobs("paper"))
    rows, hours = [], dict.fromkeys(settings.NAMES, 0.0)
    for name in settings.NAMES:
        setting = settings.get(name)
        for chapter, value in seconds(setting).items():
            seeds = len(setting.seeds) if chapter == "training" else wanted[chapter, name]
            if seeds:
                hours[name] += seeds * value / 3600
                cells = chapter, name, f"{value:.0f}", seeds, f"{seeds * value / 60:.1f}", measured(chapter, name)
                rows.append(f"| {' | '.join(map(str, cells))} |")
    return rows, hours


def said(what: str, hours: dict[str, float]) -> str:
    """The sentence on the sum."""
    total = sum(hours.values())
    parts = ", ".join(f"{name} {value:.1f}" for name, value in hours.items())
    return f"{what}: {total:.1f} hours ({parts}); target: {TARGET}, {'met' if total <= TARGET else 'missed'}."


rows, hours = grid()
print("# What the paper grid takes on one H200\n")
print("Printed by `python bench/gpu.py`, whose constants say what the estimate rests on. Training is done once for all "
      "chapters; RQ4 trains two networks of its own.\n")  # fmt: skip
print("| chapter | setting | estimated seconds a seed | seeds | minutes | measured seconds a seed |")
print("|:---|:---|---:|---:|---:|---:|")
print("\n".join(rows))
print("\n" + said("Estimated in all", hours))
SIZES["imagenet10"] = SUBSET
print("\n" + said("With the 400 + 100 photographs a class of Imagenette that the published VGG-19 saw", grid()[1]))
