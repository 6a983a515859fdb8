"""Images and labels as tensors: where each dataset comes from, and proof that it is the one meant.

`NSS_DATA` names a folder holding `MNIST/raw` and `FashionMNIST/raw` (idx files, torchvision's layout),
`cifar-10-batches-py` (the official one) or `cifar10.npz` (uint8 arrays train_images, train_labels, test_images,
test_labels), and `imagenet10/{train,val}/<synset>/*.JPEG`. Unset, it is `data/cache`, filled by torchvision's own
download. Preset smoke needs neither: its handwritten digits come with scikit-learn.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torchvision import datasets

from nssutils import files, settings
from nssutils.errors import NssError, near_miss

CACHE = files.ROOT / "data" / "cache"


class DataError(NssError):
    """A dataset that is missing, truncated, altered, or cannot serve the setting."""


@dataclass(frozen=True)
class Data:
    """One setting's images, float32 (N, C, H, W) in [0, 1], and labels, int64 (N,)."""

    x_train: torch.Tensor
    y_train: torch.Tensor
    x_held: torch.Tensor  # of the training set too, but no network is trained on them: what is chosen is chosen by them
    y_held: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    sha256: str  # over the dataset's decoded uint8 arrays, before any resizing or sub-sampling


# SHA-256 of the original files, as published by their authors.
_IDX = {
    "MNIST": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}

# SHA-256 of the arrays of `cifar10.npz`: the official images, 98 of them decoded from JPEG copies.
_CIFAR_NPZ = {
    "train_images": "c7c6557433f8d7c52900e0fc5549bd21bf6f33fefee1f478f5adbc5499bb11c7",
    "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test_images": "25a508aee148b4ccf689df271258bb61c79db1edd6c7bdc2d32e0f748c0bf68c",
    "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}


def root() -> Path:
    """The folder that holds the datasets."""
    return Path(os.environ.get("NSS_DATA") or CACHE)


def load(setting: settings.Setting | str, preset: str = "paper") -> Data:
    """The data of a setting, sub-sampled and resized as it says.

    Raises DataError naming the file at fault, what was expected and what was found, and the mend.
    """
    if isinstance(setting, str):
        setting = settings.get(setting, preset)
    if setting.dataset not in SOURCES:
        raise DataError(
            f"unknown dataset {setting.dataset!r}; known: {', '.join(SOURCES)}.{near_miss(setting.dataset, SOURCES)}"
        )
    x_train, y_train, x_test, y_test = SOURCES[setting.dataset](setting.image_size)
    sha256 = hashlib.sha256()
    for array in (x_train, y_train, x_test, y_test):
        sha256.update(np.ascontiguousarray(array).tobytes())
    train, held = _held_out(x_train, y_train, setting)
    parts = [
        _balanced(*train, setting.train_size, setting, "train"),
        held,
        _balanced(x_test, y_test, setting.test_size, setting, "test"),
    ]
    return Data(*(tensor for part in parts for tensor in _tensors(*part, setting)), sha256.hexdigest())


def first_per_class(labels: torch.Tensor, count: int) -> torch.Tensor:
    """Indices, ascending, of the first `count` samples of each class in labels (N,); all of a class that has fewer."""
    picks = [(labels == c).nonzero()[:count, 0] for c in labels.unique()]
    return torch.cat(picks).sort().values


def _held_out(images: np.ndarray, labels: np.ndarray, setting: settings.Setting):
    """Images and labels to train on, and those held out: the last `held_size` / n_classes of each class."""
    count, counts = setting.held_size // setting.n_classes, np.bincount(labels, minlength=setting.n_classes)
    if not 0 < count < counts.min():
        raise DataError(
            f"{setting.name} at preset {setting.preset} holds out {setting.held_size} training images, {count} a "
            f"class, expected from 1 to {counts.min() - 1}: {setting.dataset} has {counts.min()} of its rarest class."
        )
    held = np.zeros(len(labels), dtype=bool)
    for label in range(setting.n_classes):
        held[np.flatnonzero(labels == label)[-count:]] = True
    return (images[~held], labels[~held]), (images[held], labels[held])


def _balanced(images: np.ndarray, labels: np.ndarray, size: int, setting: settings.Setting, split: str):
    """The first `size` / n_classes images of each class, in the dataset's order; all for size 0."""
    if size == 0:
        return images, labels
    count = size // setting.n_classes
    fewest = np.bincount(labels, minlength=setting.n_classes).min()
    if not 0 < count <= fewest:
        raise DataError(
            f"{setting.name} at preset {setting.preset} asks for {size} {split} images, {count} a class; "
            f"{setting.dataset} has {fewest} of its rarest class. Set {split}_size to 0 (all) or to at most "
            f"{fewest * setting.n_classes}."
        )
    keep = first_per_class(torch.from_numpy(labels.astype(np.int64)), count).numpy()
    return images[keep], labels[keep]


def _tensors(images: np.ndarray, labels: np.ndarray, setting: settings.Setting):
    """uint8 (N, H, W, C) images as float32 (N, C, size, size) in [0, 1], labels as int64."""
    x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float().div_(255)
    if x.shape[-1] != setting.image_size:
        x = F.interpolate(x, size=(setting.image_size,) * 2, mode="bilinear", antialias=True).clamp_(0, 1)
    if x.shape[1] != setting.channels:
        x = x.expand(-1, setting.channels, -1, -1).contiguous()
    return x, torch.from_numpy(labels.astype(np.int64))


def _expect(found: str, expected: str, what: str) -> None:
    if found != expected:
        raise DataError(
            f"{what} has SHA-256 {found}, expected {expected}: it is truncated or altered. "
            "Delete it and fetch it again."
        )


def _idx(folder: str, dataset: type) -> tuple[np.ndarray, ...]:
    raw = root() / folder / "raw"
    _fetch(lambda: dataset(root(), download=True), raw, [raw / name for name in _IDX[folder]])
    for name, sha256 in _IDX[folder].items():
        _expect(hashlib.sha256((raw / name).read_bytes()).hexdigest(), sha256, str(raw / name))
    train, test = dataset(root(), train=True), dataset(root(), train=False)
    return tuple(
        array
        for split in (train, test)
        for array in (split.data.numpy()[..., None], split.targets.numpy().astype(np.uint8))
    )


def _cifar10(image_size: int) -> tuple[np.ndarray, ...]:
    npz, batches = root() / "cifar10.npz", root() / "cifar-10-batches-py"
    if npz.exists() and not batches.exists():
        try:
            arrays = dict(np.load(npz))
        except Exception as error:  # zipfile, zlib and numpy each have their own words for a truncated archive
            raise DataError(f"{npz} cannot be read ({error}): delete it and fetch it again.") from error
        if missing := _CIFAR_NPZ.keys() - arrays.keys():
            raise DataError(f"{npz} lacks {', '.join(sorted(missing))}; it has {', '.join(sorted(arrays))}.")
        for name, sha256 in _CIFAR_NPZ.items():
            _expect(
                hashlib.sha256(np.ascontiguousarray(arrays[name]).tobytes()).hexdigest(), sha256, f"{name} of {npz}"
            )
        return tuple(arrays[name] for name in _CIFAR_NPZ)
    _fetch(lambda: datasets.CIFAR10(root(), download=True), batches, [batches])
    try:  # torchvision holds the MD5 of each official batch against the file
        splits = [datasets.CIFAR10(root(), train=train) for train in (True, False)]
    except (RuntimeError, EOFError, OSError) as error:
        raise DataError(
            f"{batches}: a batch is missing, or its MD5 is not the official one ({error}). "
            "Delete the folder and fetch it again from https://www.cs.toronto.edu/~kriz/cifar.html."
        ) from error
    return tuple(array for split in splits for array in (split.data, np.array(split.targets, dtype=np.uint8)))


def _imagenet10(image_size: int) -> tuple[np.ndarray, ...]:
    folder = root() / "imagenet10"
    _fetch(lambda: _imagenette(folder), folder, [folder / "train", folder / "val"])
    arrays = []
    for split in ("train", "val"):
        found = datasets.ImageFolder(folder / split)
        if len(found.classes) != 10:
            raise DataError(f"{folder / split} has {len(found.classes)} class folders, expected 10.")
        images = [_photograph(path, image_size) for path, _ in found.samples]
        arrays += [np.stack(images), np.array(found.targets, dtype=np.uint8)]
    return tuple(arrays)


def _photograph(path: str, size: int) -> np.ndarray:
    """One photograph as uint8 (size, size, 3); the shorter side is scaled to `size`, the middle cut out."""
    try:
        with Image.open(path) as image:
            image = image.convert("RGB")
    except OSError as error:
        raise DataError(f"{path} is no whole image ({error}): delete it and fetch it again.") from error
    scale = size / min(image.size)
    image = image.resize(
        (max(size, round(image.width * scale)), max(size, round(image.height * scale))), Image.BILINEAR
    )
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _imagenette(folder: Path) -> None:
    """Imagenette by torchvision's download, laid out as `imagenet10/{train,val}`."""
    datasets.Imagenette(folder.parent, size="320px", download=True)
    (folder.parent / "imagenette2-320").rename(folder)


def _digits(image_size: int) -> tuple[np.ndarray, ...]:
    """Scikit-learn's 8x8 handwritten digits; every fifth image of each class is for testing."""
    images, labels = load_digits(return_X_y=True)
    images = np.round(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    rank = np.array([(labels[:i] == label).sum() for i, label in enumerate(labels)])
    test = rank % 5 == 4
    labels = labels.astype(np.uint8)
    return images[~test], labels[~test], images[test], labels[test]


def _fetch(download, folder: Path, files: list[Path]) -> None:
    """Download what is missing into data/cache; into a folder that the user named, never."""
    missing = [path for path in files if not path.exists()]
    if not missing:
        return
    if os.environ.get("NSS_DATA"):
        raise DataError(
            f"NSS_DATA={root()} has no {missing[0].relative_to(root())}, expected there. "
            "Put the dataset there, or unset NSS_DATA to have it downloaded into data/cache."
        )
    root().mkdir(parents=True, exist_ok=True)
    try:
        download()
    except Exception as error:  # urllib, ssl and torchvision raise many kinds for one cause: it did not come
        raise DataError(
            f"{missing[0]} is missing and could not be downloaded ({type(error).__name__}: {error}). With a network, "
            f"run this again; without one, set NSS_DATA to a folder that holds {folder.relative_to(root())}, "
            "or use preset=smoke, which needs no download."
        ) from error


SOURCES = {
    "mnist": lambda image_size: _idx("MNIST", datasets.MNIST),
    "fashion-mnist": lambda image_size: _idx("FashionMNIST", datasets.FashionMNIST),
    "cifar10": _cifar10,
    "imagenet10": _imagenet10,
    "digits": _digits,
}
