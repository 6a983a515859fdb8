"""The six settings of the paper (Section 5.1) and the presets they run at."""

from dataclasses import dataclass, fields, replace

from nssutils.errors import NssError, near_miss

PRESETS = ("smoke", "quick", "paper")


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
    train_size: int  # training images, class-balanced; 0 = all
    test_size: int  # test images, class-balanced; 0 = all
    score_size: int  # training images on which contributions are computed; 0 = all that were trained on
    epochs: int
    batch_size: int
    optimizer: str  # "adamw" or "sgd" (momentum 0.9, Nesterov)
    lr: float  # the peak of the one-cycle schedule
    weight_decay: float
    augment: bool  # random flip and crop; handwritten digits have a handedness, so not for them
    reduced: bool  # bf16 autocast and channels_last while training, where the device gains by it
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
    model="mlp", image_size=28, channels=1, epochs=15, batch_size=128,
    optimizer="adamw", lr=2e-3, weight_decay=0.01, augment=False, reduced=False,
)  # fmt: skip
_CONV = dict(
    image_size=32, channels=3, epochs=50, batch_size=256,
    optimizer="sgd", lr=0.1, weight_decay=5e-4, augment=True, reduced=True,
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
    "vgg16-cifar10": Setting("vgg16-cifar10", model="vgg16", dataset="cifar10", **_CONV, **_WHOLE),
    "resnet101-cifar10": Setting("resnet101-cifar10", model="resnet101", dataset="cifar10", **_CONV, **_WHOLE),
    "vgg19-imagenet10": Setting(
        "vgg19-imagenet10",
        model="vgg19",
        dataset="imagenet10",
        **(_CONV | {"image_size": 224, "epochs": 80, "batch_size": 64, "lr": 0.02}),
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
        epochs=10,
        batch_size=64,
        lr=0.05,
        train_size=20_000,
        score_size=2_560,
        test_size=1_000,
    ),
    "vgg19-imagenet10": dict(width=0.25, image_size=64, epochs=30, score_size=2_560, test_size=1_000),
}

# Scikit-learn's 1,797 handwritten digits, on thin networks: the whole path in minutes, no number worth quoting.
_SMOKE = {
    "mlp-mnist": dict(width=0.125, epochs=8),
    "mlp-fmnist": dict(width=0.125, epochs=8),
    "alexnet-cifar10": dict(width=0.125, epochs=4),
    "vgg16-cifar10": dict(width=0.125, epochs=4),
    "resnet101-cifar10": dict(width=0.125, image_size=16, epochs=4),
    "vgg19-imagenet10": dict(width=0.125, epochs=5),
}

NAMES = tuple(_PAPER)


def get(name: str, preset: str = "paper", **changes) -> Setting:
    """The setting `name` at `preset`, with single fields changed by keyword.

    Raises SettingError, naming the known names, for an unknown setting, preset or field, and for a value of the wrong
    type.
    """
    if name not in _PAPER:
        raise SettingError(f"unknown setting {name!r}; known: {', '.join(NAMES)}.{near_miss(name, NAMES)}")
    if preset not in PRESETS:
        raise SettingError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}.{near_miss(preset, PRESETS)}")
    known = [field.name for field in fields(Setting)]
    for change in changes:
        if change not in known:
            raise SettingError(f"unknown field {change!r}; known: {', '.join(known)}.{near_miss(change, known)}")
    setting = _PAPER[name]
    if preset == "quick":
        setting = replace(setting, preset="quick", seeds=(0, 1, 2), **_QUICK[name])
    if preset == "smoke":
        size = dict(image_size=28 if setting.model == "mlp" else 32)
        small = dict(preset="smoke", dataset="digits", seeds=(0,), test_size=200, score_size=400)
        small |= dict(batch_size=64, augment=False, reduced=False)
        setting = replace(setting, **(small | size | _SMOKE[name]))
    return replace(setting, **changes)
