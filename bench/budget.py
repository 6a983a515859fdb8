"""What the grids of presets overnight and paper take. `python bench/budget.py > bench/budget.md`

Counted from what each chapter computes, by the studies' own constants: images trained on, images evaluated, images that
contributions are computed on, images that NNSlicer slices. What a core makes of an image was measured; what an H200
makes of one is scaled from what a smaller GPU was measured at (see below). Where published results hold what was
measured, the hours stand beside.
"""

from collections import Counter
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from nssutils import models, readaptation, settings
from nssutils.companion import results, workflow
from nssutils.studies import STUDIES, common, nnslicer, nnslicer_supervised, rq1, rq3, rq4

# Images a second of one core that multiplies bf16 numbers, at a setting's size: trained on in bf16 (by AMX), evaluated
# in bf16, evaluated in fp32; VGG-16 is trained as its whole trainings, 45 to 60 minutes, say. With AVX2 alone, in fp32,
# AlexNet is trained on 38, VGG-16 on 21, ResNet-101 on 2.2.
CORE = {
    "alexnet-cifar10": (237, 596, 235), "vgg16-cifar10": (216, 367, 158), "resnet101-cifar10": (16, 36, 17),
    "vgg19-imagenet10": (20, 22, 10),
}  # fmt: skip
CORE |= dict.fromkeys(("mlp-mnist", "mlp-fmnist"), (10_000, 100_000, 50_000))
# Images a second (training, inference) that one RTX 3090 was measured at, at 224 pixels, half precision, channels last,
# and the operations of a forward pass at that size. Source: github.com/huggingface/pytorch-image-models, vgg19_bn and
# resnet101 of results/benchmark-{train,infer}-amp-nhwc-pt112-cu113-rtx3090.csv. AlexNet, VGG-16: as VGG-19.
RTX3090 = {"vgg": (398.5, 1265.8, 39.3e9), "resnet": (747.9, 2246.1, 15.6e9)}
# An H200 moves 5.1 times the bytes a second of an RTX 3090 (4.8 to 0.94 TB/s) and has 14 times its half-precision peak
# (989 to 71e12 operations a second): 4 times as fast is a cautious guess. Exact evaluation is in TF32: half of that.
FASTER, EXACT = 4, 0.5
SORTED = {"core": 1.2e8, "H200": 1e9}  # terms of weighted sums that NNSlicer sorts a second
LEAST = 20e-6  # seconds of an image of a small network on a GPU, which waits for kernels to start
TARGETS = {"alexnet-cifar10": 3, "vgg16-cifar10": 5, "resnet101-cifar10": 20, "vgg19-imagenet10": 12}  # core-hours
TARGET = 2.5  # hours of the H200
SIZES = {"mnist": (60_000, 10_000), "fashion-mnist": (60_000, 10_000), "cifar10": (50_000, 10_000)}
SIZES["imagenet10"] = (4_000, 1_000)  # of Imagenette, as the published VGG-19 sees it

METRICS = 5.6  # forward passes an image: all five contributions in one sweep, backward passes included
SLICED = 0.45  # of the whole network, that the slices of RQ1 have to compute on average
STEPS, TESTS = 20, 6  # steps looked at and steps tested of each of RQ2's eight courses
CANDIDATES = len(common.CANDIDATE_METRICS) * len(common.CANDIDATE_THETAS)


@dataclass
class Work:
    """Images, in passes of the whole network at its full size."""

    trained: float = 0
    evaluated: float = 0
    exact: float = 0  # evaluated in fp32, whatever the preset
    sliced: float = 0  # by NNSlicer


def work(setting: settings.Setting) -> dict[str, Work]:
    """What training and each chapter compute for one seed."""
    whole, test = SIZES[setting.dataset]
    train = setting.train_size or whole - setting.held_size
    test, scored, preset = setting.test_size or test, setting.score_size or train, setting.preset
    sizes = setting.sizes or (setting.image_size,)
    fitted = setting.epochs * train * sum((size / setting.image_size) ** 2 for size in sizes) / len(sizes)
    judged = common.sized(common.CHOSEN_ON, setting)
    chosen = SLICED * CANDIDATES * judged
    parts, epochs = common.sized(rq3.IMAGES, setting), common.sized(rq3.EPOCHS, setting)
    rungs, steps = list(rq3.RUNGS), epochs * parts["repair"] // readaptation.BATCH
    searched = len(rq3.RATES[preset]) * rungs[0] + rq3.RUNGS[rungs[0]] * (rungs[1] - rungs[0]) + steps - rungs[1]
    attacked = (sum(parts.values()) + 4 * parts["test"] + 12 * parts["calibration"]) * 11  # FGSM and ten steps of PGD
    learned, few = common.sized(rq4.EPOCHS, setting), common.sized(rq4.IMAGES, setting) or train / 2
    halves = 2 if preset == "paper" else 1
    slices = nnslicer_supervised.IMAGES[preset]
    return {
        "training": Work(trained=fitted),
        "pilot_global": Work(evaluated=25 * 0.9 * test, exact=METRICS * scored),  # the first to ask for the scores
        "pilot_categorywise": Work(evaluated=25 * 0.9 * test),
        "rq1_slicing": Work(
            evaluated=SLICED * 5 * (len(common.THETAS) + 2 * len(rq1.SHARES)) * test,
            exact=2 * METRICS * (rq1.TIMED if setting.model != "mlp" else scored),
        ),
        "rq2_restructuring": Work(
            trained=8 * scored, evaluated=chosen + 8 * (STEPS * judged + TESTS * test)
        ),
        "rq3_readaptation": Work(
            trained=8 * (searched + steps / 2) * 2 * readaptation.BATCH + attacked,
            evaluated=chosen + 8 * (test + (epochs + 11) * (parts["repair"] + 2 * parts["validation"])),
        ),
        "rq4_incremental": Work(
            trained=halves * (fitted / (4 if preset in rq4.HALF else 2) + learned * few * (8 + 1.15)),
            evaluated=halves * (chosen + 9 * 2.5 * test),
        ),
        "nnslicer": Work(
            evaluated=SLICED * len(rq1.SHARES) * test, exact=scored,
            sliced=3.8 * slices["train"] + 5.2 * slices["test"] + nnslicer.RANKING[preset] * setting.n_classes,
        ),
    }  # fmt: skip


def flops(setting: settings.Setting) -> float:
    """Of one image's forward pass."""
    with torch.device("meta"):
        net = models.build(setting).eval()
        with FlopCounterMode(display=False) as counter:
            net(torch.empty(1, setting.channels, setting.image_size, setting.image_size))
    return counter.get_total_flops()


def core_seconds(setting: settings.Setting, done: Work) -> float:
    """On one core."""
    trained, reduced, exact = CORE[setting.name]
    evaluated = reduced if setting.reduced_evaluation else exact
    slow = done.sliced * flops(setting) / 2 / SORTED["core"]
    return done.trained / trained + done.evaluated / evaluated + done.exact / exact + slow


def gpu_seconds(setting: settings.Setting, done: Work) -> float:
    """On one H200."""
    trained, evaluated, operations = RTX3090["resnet" if setting.model.startswith("resnet") else "vgg"]
    cost = flops(setting) / operations / FASTER
    slow = done.sliced * flops(setting) / 2 / SORTED["H200"]
    exact = done.exact + (0 if setting.reduced_evaluation else done.evaluated)
    reduced = done.evaluated if setting.reduced_evaluation else 0
    return (
        done.trained * max(cost / trained, LEAST) + slow
        + reduced * max(cost / evaluated, LEAST / 3) + exact * max(cost / evaluated / EXACT, LEAST / 3)
    )  # fmt: skip


def measured(chapter: str, preset: str, name: str) -> float | None:
    """Mean hours of a chapter's published results, training included where it was the first to need the network."""
    files = sorted((results.PUBLISHED / chapter / preset / name).glob("seed*.json"))
    seconds = [results.read(file).provenance["seconds"] for file in files]
    return sum(seconds) / len(seconds) / 3600 if seconds else None


def table(preset: str, seconds) -> dict[str, float]:
    """Print hours a seed by chapter and setting; returns the hours of all seeds by setting."""
    wanted = Counter((job.chapter, job.setting) for job in workflow.jobs(preset))
    took = {(chapter, name): measured(chapter, preset, name) for chapter in STUDIES for name in settings.NAMES}
    estimated = work(settings.get(settings.NAMES[0], preset))
    columns = [one for one in STUDIES if one in estimated or any(took[one, name] for name in settings.NAMES)]
    print("| setting | training | " + " | ".join(columns) + " | a seed | seeds | all |")
    print("|:---|" + "---:|" * (len(columns) + 4))
    total = {}
    for name in settings.NAMES:
        setting = settings.get(name, preset)
        hours = {chapter: seconds(setting, done) / 3600 for chapter, done in work(setting).items()}
        hours = {chapter: value for chapter, value in hours.items() if chapter == "training" or wanted[chapter, name]}
        cells = []
        for chapter in ("training", *columns):
            found = took.get((chapter, name))
            text = f"{hours[chapter]:.2f}" if chapter in hours else "–"
            cells.append(text + (f" ({found:.2f})" if found else ""))
        one = sum(hours.values())
        total[name] = one * len(setting.seeds)
        print(f"| {name} | " + " | ".join(cells) + f" | {one:.2f} | {len(setting.seeds)} | {total[name]:.1f} |")
    return total


def main() -> None:
    settings.multiplies_bf16 = lambda: True  # whatever machine this is
    print("# What the grids take\n")
    print("Printed by `python bench/budget.py`, whose constants say what the estimate rests on. Hours for one seed; in")
    print("parentheses what published results took, training included where a chapter was the first to need it.\n")
    print("## Preset overnight, one core\n")
    overnight = table("overnight", core_seconds)
    print()
    for name, target in TARGETS.items():
        one = overnight[name] / len(settings.get(name, "overnight").seeds)
        print(f"- {name}: {one:.1f} core-hours a seed, target {target}: {'met' if one <= target else 'missed'}.")
    print("\n## Preset paper, one H200\n")
    total = sum(table("paper", gpu_seconds).values())
    print(f"\n{total:.1f} hours in all, target {TARGET}: {'met' if total <= TARGET else 'missed'}.")


if __name__ == "__main__":
    main()
