"""The six settings of the paper (Section 5.1), those of its peers' papers and two more, and the presets they run at."""

import platform
from dataclasses import dataclass, fields, replace

import torch

from nssutils.errors import NssError, near_miss

PRESETS = ("smoke", "quick", "overnight", "paper")


class SettingError(NssError, KeyError):
    """An unknown setting, preset or field, or a field of the wrong type."""

    def __str__(self) -> str:  # KeyError would show the message quoted, with its newlines escaped
        return self.args[0]


@dataclass(frozen=True)
class Setting:
    """Everything that shapes one experiment, save the seed and the chapter's own parameters."""

    name: str
    model: str  # one of models.BUILDERS
    dataset: str  # one of data.SOURCES; preset smoke puts "digits" here
    preset: str
    seeds: tuple[int, ...]  # the paper trains at least five models a setting
    width: float  # multiplies every hidden layer's neurons; 1.0 is the paper's network
    image_size: int  # pixels; images of another size are resized when loaded
    channels: int
    held_size: int  # images of the training set, the last of each class, that no network is trained on
    train_size: int  # training images of the others, class-balanced; 0 = all
    test_size: int  # test images, class-balanced; 0 = all
    score_size: int  # training images on which contributions are computed; 0 = all that were trained on
    epochs: int
    batch_size: int
    optimizer: str  # "adamw" or "sgd" (momentum 0.9, Nesterov)
    lr: float  # the peak of the one-cycle schedule
    weight_decay: float
    label_smoothing: float  # share of the target that is spread over all classes
    sizes: tuple[int, ...]  # pixels of the images in equal stretches of the epochs; () = image_size throughout
    augment: bool  # random flip and crop; handwritten digits have a handedness, so not for them
    reduced: bool  # bf16 autocast and channels_last while training
    reduced_evaluation: bool  # the same where the accuracy of many networks is measured; preset paper stays exact
    n_classes: int = 10

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            wanted = {tuple[int, ...]: tuple}.get(field.type, field.type)
            if type(value) is not wanted:
                raise SettingError(
                    f"setting field {field.name!r} got {value!r} of type {type(value).__name__}, "
                    f"expected {wanted.__name__}."
                )


_MLP = dict(
    model="mlp", image_size=28, channels=1, epochs=15, batch_size=128, optimizer="adamw", lr=2e-3, weight_decay=0.01,
    label_smoothing=0.0, sizes=(), augment=False, reduced=False, reduced_evaluation=False, held_size=2_000,
)  # fmt: skip
_CONV = dict(
    image_size=32, channels=3, epochs=20, batch_size=128, optimizer="sgd", lr=0.1, weight_decay=5e-4,
    label_smoothing=0.1, sizes=(), augment=True, reduced=True, reduced_evaluation=False, held_size=2_000,
)  # fmt: skip
_WHOLE = dict(
    preset="paper", seeds=(0, 1, 2, 3, 4), width=1.0, train_size=0, test_size=0, score_size=0,
)  # fmt: skip

_PAPER = {
    "mlp-mnist": Setting("mlp-mnist", dataset="mnist", **_MLP, **_WHOLE),
    "mlp-fmnist": Setting("mlp-fmnist", dataset="fashion-mnist", **_MLP, **_WHOLE),
    "alexnet-cifar10": Setting(
        "alexnet-cifar10", model="alexnet", dataset="cifar10", **(_CONV | {"lr": 0.05}), **_WHOLE
    ),
    "vgg16-cifar10": Setting(
        "vgg16-cifar10", model="vgg16", dataset="cifar10", **(_CONV | {"sizes": (16, 24, 32, 32)}), **_WHOLE
    ),
    "resnet101-cifar10": Setting(
        "resnet101-cifar10", model="resnet101", dataset="cifar10", **(_CONV | {"sizes": (16, 24, 32, 32)}), **_WHOLE
    ),
    "vgg19-imagenet10": Setting(
        "vgg19-imagenet10",
        model="vgg19",
        dataset="imagenet10",
        **(_CONV | dict(image_size=224, sizes=(96, 128, 160, 224), epochs=80, batch_size=64, lr=0.02, held_size=400)),
        **_WHOLE,
    ),
}

# NNSlicer's (Zhang et al. 2020, Section 6), small enough for a processor at preset paper.
_PEERS = {
    "resnet10-cifar10": Setting(
        "resnet10-cifar10",
        model="resnet10",
        dataset="cifar10",
        **(_CONV | {"sizes": (16, 24, 32, 32), "reduced": False}),
        **_WHOLE,
    ),
    "lenet-mnist": Setting("lenet-mnist", dataset="mnist", **(_MLP | {"model": "lenet", "epochs": 10}), **_WHOLE),
}
# DeepArc's (Ren et al. 2023, RQ1) but for the deepest, 152; in fp32, as its public code trains them.
_PEERS |= {
    f"resnet{depth}-cifar10": Setting(
        f"resnet{depth}-cifar10",
        model=f"resnet{depth}",
        dataset="cifar10",
        **(_CONV | dict(epochs=100, label_smoothing=0.0, reduced=False)),
        **_WHOLE,
    )
    for depth in (14, 44, 86, 110)
}
# Beyond the paper, as networks of a reader's own would be: torchvision's, one of them a transformer.
_OWN = {
    "resnet18-cifar10": Setting("resnet18-cifar10", model="resnet18", dataset="cifar10", **_CONV, **_WHOLE),
    "vit-cifar10": Setting(
        "vit-cifar10",
        model="vit",
        dataset="cifar10",
        **(_CONV | dict(epochs=200, optimizer="adamw", lr=1e-3, weight_decay=0.05)),
        **_WHOLE,
    ),
}

# The paper's data, smaller networks, shorter training: all chapters take one core one to two hours a setting and seed.
_QUICK = {
    "mlp-mnist": dict(epochs=5, score_size=10_000),
    "mlp-fmnist": dict(epochs=5, score_size=10_000),
    "alexnet-cifar10": dict(width=0.5, epochs=10, score_size=5_000, test_size=2_000),
    "vgg16-cifar10": dict(width=0.5, epochs=10, score_size=5_000, test_size=2_000),
    # Small batches: a hundred layers learn little in as few steps as there are batches of 256.
    "resnet101-cifar10": dict(
        width=0.25,
        image_size=16,
        sizes=(),
        epochs=10,
        batch_size=64,
        lr=0.05,
        train_size=20_000,
        score_size=2_560,
        test_size=1_000,
    ),
    "vgg19-imagenet10": dict(width=0.25, image_size=64, sizes=(), epochs=30, score_size=2_560, test_size=1_000),
    "resnet10-cifar10": dict(epochs=8, train_size=20_000, test_size=2_000),
    "lenet-mnist": dict(epochs=5),
    "resnet18-cifar10": dict(width=0.25, epochs=10, score_size=5_000, test_size=2_000),
    "vit-cifar10": dict(width=0.5, epochs=20, train_size=20_000, score_size=5_000, test_size=2_000),
}
# The deeper, the fewer images; the deepest are half as wide. A core trains each within a quarter of an hour.
_DEEP = dict(image_size=16, batch_size=64, lr=0.05, test_size=2_000)
_QUICK |= {
    "resnet14-cifar10": _DEEP | dict(epochs=10, train_size=20_000),
    "resnet44-cifar10": _DEEP | dict(epochs=10, train_size=10_000),
    "resnet86-cifar10": _DEEP | dict(epochs=8, train_size=10_000, width=0.5),
    "resnet110-cifar10": _DEEP | dict(epochs=8, train_size=10_000, width=0.5),
}

# The paper's networks on a processor: what a GPU does not decide is as in preset paper.
_OVERNIGHT = {
    "mlp-mnist": dict(),
    "mlp-fmnist": dict(),
    "alexnet-cifar10": dict(epochs=16, score_size=5_000),
    "vgg16-cifar10": dict(epochs=20, score_size=5_000),
    "resnet101-cifar10": dict(seeds=(0,), epochs=12, score_size=2_560, test_size=2_000),
    "vgg19-imagenet10": dict(seeds=(0,), image_size=96, epochs=40, sizes=(48, 64, 96, 96), score_size=2_560),
    "resnet10-cifar10": dict(),
    "lenet-mnist": dict(),
    "resnet18-cifar10": dict(epochs=16, sizes=(16, 24, 32, 32), score_size=5_000),
    "vit-cifar10": dict(epochs=100, score_size=5_000),
    "resnet14-cifar10": dict(epochs=20, sizes=(16, 24, 32, 32)),
    "resnet44-cifar10": dict(seeds=(0,), epochs=16, sizes=(16, 16, 24, 32), test_size=5_000),
    "resnet86-cifar10": dict(seeds=(0,), epochs=12, sizes=(16, 16, 24, 32), test_size=2_000),
    "resnet110-cifar10": dict(seeds=(0,), epochs=12, sizes=(16, 16, 24, 32), test_size=2_000),
}

_FEW = dict(score_size=200, test_size=100)  # images of the convolutional networks at smoke
# Scikit-learn's 1,797 handwritten digits, on thin networks: the whole path in minutes, no number worth quoting. What
# other presets do is done here too by one network at least, so that a change of it shows.
_SMOKE = {
    "mlp-mnist": dict(width=0.125, epochs=8),
    "mlp-fmnist": dict(width=0.125, epochs=8),
    "alexnet-cifar10": dict(width=0.125, epochs=4, augment=True, reduced=True, reduced_evaluation=True) | _FEW,
    "vgg16-cifar10": dict(width=0.125, epochs=8, sizes=(16, 32), train_size=700) | _FEW,
    "resnet101-cifar10": dict(width=0.0625, image_size=8, epochs=5) | _FEW,
    "vgg19-imagenet10": dict(width=0.0625, epochs=10, train_size=700) | _FEW,
    "resnet10-cifar10": dict(width=0.5, image_size=16, epochs=6) | _FEW,
    "lenet-mnist": dict(epochs=8),
    "resnet18-cifar10": dict(width=0.125, image_size=8, epochs=4) | _FEW,
    "vit-cifar10": dict(width=0.125, image_size=8, epochs=20) | _FEW,
    "resnet14-cifar10": dict(width=0.25, image_size=8, epochs=4),
    "resnet44-cifar10": dict(width=0.25, image_size=8, batch_size=128, epochs=4),
    "resnet86-cifar10": dict(width=0.25, image_size=8, epochs=4),
    "resnet110-cifar10": dict(width=0.25, image_size=8, epochs=4),
}

NAMES = tuple(_PAPER)  # the paper's
PEERS = tuple(_PEERS)
OWN = tuple(_OWN)
KNOWN = NAMES + PEERS + OWN

# What the machine decides: a measurement by either arithmetic stands on a machine that has only the other.
MACHINES = ("reduced", "reduced_evaluation")


def get(name: str, preset: str = "paper", **changes) -> Setting:
    """The setting `name` at `preset`, with single fields changed by keyword.

    Where the machine does not multiply bf16 numbers itself, fp32 takes their place, but at smoke: emulated, they take
    ten times as long.
    Raises SettingError, naming the known names, for an unknown setting, preset or field, and for a value of the wrong
    type.
    """
    if name not in KNOWN:
        raise SettingError(f"unknown setting {name!r}; known: {', '.join(KNOWN)}.{near_miss(name, KNOWN)}")
    if preset not in PRESETS:
        raise SettingError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}.{near_miss(preset, PRESETS)}")
    known = [field.name for field in fields(Setting)]
    for change in changes:
        if change not in known:
            raise SettingError(f"unknown field {change!r}; known: {', '.join(known)}.{near_miss(change, known)}")
    setting = (_PAPER | _PEERS | _OWN)[name]
    if preset == "quick":
        fast = dict(reduced_evaluation=setting.reduced)
        setting = replace(setting, preset="quick", seeds=(0, 1, 2), **(fast | _QUICK[name]))
    if preset == "overnight":
        fast = dict(reduced_evaluation=setting.reduced)
        fast |= dict(seeds=(0, 1, 2))
        setting = replace(setting, preset="overnight", **(fast | _OVERNIGHT[name]))
    if preset == "smoke":
        size = dict(image_size=28 if setting.channels == 1 else 32)
        small = dict(preset="smoke", dataset="digits", seeds=(0,), held_size=200, test_size=200, score_size=400)
        small |= dict(batch_size=64, sizes=(), augment=False, reduced=False, reduced_evaluation=False)
        setting = replace(setting, **(small | size | _SMOKE[name]))
    elif not multiplies_bf16():
        setting = replace(setting, **dict.fromkeys(MACHINES, False))
    return replace(setting, **changes)


def multiplies_bf16() -> bool:
    """Whether this machine's GPU, or else its processor, has instructions for bf16 numbers."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if platform.machine() in ("x86_64", "AMD64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()
