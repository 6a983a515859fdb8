"""What the paper grid takes on a GPU. `python bench/gpu.py > bench/gpu.md`

An estimate from what each chapter computes: passes of one image, counted from the studies' own constants, times what a
pass costs, counted on the networks. What a GPU makes of that is assumed (see below), not measured; where the published
results hold what a GPU measured, its seconds stand beside the estimate.
"""

import torch
from torch.utils.flop_counter import FlopCounterMode

from nssutils import models, neurons, results, settings, workflow
from nssutils.studies import common, nnslicer, nnslicer_detection, nnslicer_protection, nnslicer_pruning, rq1, rq3, rq4

# Assumed of one H200 (its peak is 989e12 in bf16, half that in TF32): an eighth and a tenth of the peak.
TRAINING, INFERENCE = 120e12, 50e12
SORTED = 1e9  # terms of weighted sums that NNSlicer sorts a second
LAUNCH = 15e-6  # seconds for the kernels of one operation in one batch, forward: what small networks wait for
EVALUATED = 1000  # images in a batch that is evaluated
TARGET = 2.5  # hours

BACK = 3  # a forward and a backward pass, in forward passes
ALL_METRICS, BEST_METRICS, EACH_METRIC = (
    5.6,
    7,
    10,
)  # forward passes an image: one sweep; DeepLIFT and Taylor; one by one
STEPS = 120  # of pruning, over the eight courses of RQ2: about as many as at quick
SIZES = {"mnist": (60_000, 10_000), "fashion-mnist": (60_000, 10_000), "cifar10": (50_000, 10_000)}
SIZES["imagenet10"] = (9_469, 3_925)


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
    launch = LAUNCH * len(neurons.trace(net).graph.nodes)
    return {
        chapter: max(trained * flops / TRAINING, trained / setting.batch_size * launch)
        + max(seen * flops / INFERENCE, seen / EVALUATED * launch)
        + sliced * flops / 2 / SORTED
        for chapter, (trained, seen, sliced) in passes(setting, flops).items()
    }


def measured(chapter: str, name: str) -> str:
    """Mean seconds of a GPU's published results, with the device; a dash where there are none."""
    found = [one for one in results.published(chapter, [name]) if "CPU" not in str(one.provenance["device"])]
    if not found or found[0].preset != "paper":
        return "–"
    return f"{sum(one.provenance['seconds'] for one in found) / len(found):.0f} ({found[0].provenance['device']})"


wanted = {(job.chapter, job.setting): 0 for job in workflow.jobs("paper")}
for job in workflow.jobs("paper"):
    wanted[job.chapter, job.setting] += 1
rows, hours = [], dict.fromkeys(settings.NAMES, 0.0)
for name in settings.NAMES:
    setting = settings.get(name)
    estimate = seconds(setting)
    for chapter, value in estimate.items():
        seeds = len(setting.seeds) if chapter == "training" else wanted.get((chapter, name), 0)
        if seeds:
            hours[name] += seeds * value / 3600
            rows.append(
                f"| {chapter} | {name} | {value:.0f} | {seeds} | {seeds * value / 60:.1f} | {measured(chapter, name)} |"
            )

print("# What the paper grid takes on one H200\n")
print("Printed by `python bench/gpu.py`, whose constants say what is assumed. Training is done once for all chapters; "
      "RQ4 trains two networks of its own.\n")  # fmt: skip
print("| chapter | setting | estimated seconds a seed | seeds | minutes | measured seconds a seed |")
print("|:---|:---|---:|---:|---:|---:|")
print("\n".join(rows))
total = sum(hours.values())
by_setting = ", ".join(f"{name} {value:.1f}" for name, value in hours.items())
print(
    f"\nEstimated in all: {total:.1f} hours ({by_setting}); target: {TARGET}, {'met' if total <= TARGET else 'missed'}."
)
