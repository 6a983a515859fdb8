"""Adversarial inputs told by their slices, our way: by detectors that are trained on some of them."""

import sys

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nssutils import data, detection, nnslicer, readaptation, training
from nssutils.settings import Setting

# By preset: training images to find eps by; those to train detectors with; test images to judge them on.
IMAGES = {
    "smoke": {"calibration": 20, "train": 20, "test": 20},
    "quick": {"calibration": 200, "train": 200, "test": 200},
    "overnight": {"calibration": 200, "train": 200, "test": 200},
    "paper": {"calibration": 300, "train": 500, "test": 500},
}
LEFT = {"weak": 0.5, "strong": 0.1}  # accuracy that an attack of each strength leaves on training images
KNOWN = tuple(readaptation.ATTACKS)  # by which detectors are trained
ATTACKS = readaptation.ATTACKS | {"pgd-l2": detection.pgd_l2}


def measure(
    net: nn.Module, setting: Setting, seed: int, loaded: data.Data, means: nnslicer.Profile, theta: float
) -> dict:
    """Train one detector for each kind of features, on FGSM and PGD at two strengths; meet each attack with it, and
    one that no detector has seen.

    Only images count that are recognised, and are no longer once attacked. Tables: attacks (attack, strength, eps,
    left: accuracy on the test images, fooled: test images that count); detection (features, attack, strength,
    precision, recall, auc), for attacks that fooled the network at least once.
    """
    attacks, moved = [], {}
    cases = [(attack, strength) for attack in ATTACKS for strength in LEFT]
    images = _images(IMAGES[setting.preset], setting.n_classes, loaded)
    for attack, strength in tqdm(cases, desc="attacks", unit="attack", file=sys.stderr, mininterval=2):
        eps = readaptation.calibrate(ATTACKS[attack], net, *images["calibration"], LEFT[strength])
        for part in ("train", "test") if attack in KNOWN else ("test",):
            x, y = images[part]
            adversarial = ATTACKS[attack](net, x, y, eps)
            still = _recognised(net, adversarial, y)
            fooled = _recognised(net, x, y) & ~still
            if fooled.any():
                moved[part, attack, strength] = (fooled.cpu(), adversarial[fooled])
        left = still.double().mean().item()  # of the last part, the test images
        attacks.append(
            {"attack": attack, "strength": strength, "eps": eps, "left": left, "fooled": int(fooled.sum())}
        )  # fmt: skip
    rows = []
    for kind in tqdm(detection.FEATURES, desc="detectors", unit="detector", file=sys.stderr, mininterval=2):

        def seen(x: Tensor, kind=kind) -> Tensor:
            return detection.features(net, x, means, theta, kind)

        clean = {part: seen(images[part][0]) for part in ("train", "test")}
        pairs = {case: (clean[case[0]][fooled], seen(adversarial)) for case, (fooled, adversarial) in moved.items()}
        known = [case for case in moved if case[0] == "train"]
        # Each clean image once: a forest learns by heart what it is shown four times, and takes all else for an attack.
        used = torch.stack([moved[case][0] for case in known]).any(0) if known else torch.tensor([], dtype=torch.int64)
        adversarial = torch.cat([pairs[case][1] for case in known] or [torch.empty(0)])  # none: the detector refuses
        model = detection.detector(clean["train"][used], adversarial, seed)
        rows += [
            {"features": kind, "attack": attack, "strength": strength} | detection.judge(model, *pair)
            for (part, attack, strength), pair in pairs.items()
            if part == "test"
        ]
    return {"attacks": attacks, "detection": rows}


def _recognised(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return training.logits(net, x).argmax(1) == y.to(training.device())


def _images(sizes: dict[str, int], n_classes: int, loaded: data.Data) -> dict[str, tuple[Tensor, Tensor]]:
    """Images and labels of each part, class-balanced and disjoint, on the device."""
    each = {part: size // n_classes for part, size in sizes.items()}
    both = data.first_per_class(loaded.y_train, each["calibration"] + each["train"])
    rank = data.first_per_class(loaded.y_train[both], each["calibration"])
    others = torch.ones(len(both), dtype=torch.bool)
    others[rank] = False
    test = data.first_per_class(loaded.y_test, each["test"])
    where = training.device()
    return {
        "calibration": (loaded.x_train[both[rank]].to(where), loaded.y_train[both[rank]].to(where)),
        "train": (loaded.x_train[both[others]].to(where), loaded.y_train[both[others]].to(where)),
        "test": (loaded.x_test[test].to(where), loaded.y_test[test].to(where)),
    }
