"""Images and labels as tensors: where each dataset comes from, and proof that it is the one meant.

`NSS_DATA` names a folder holding `MNIST/raw` and `FashionMNIST/raw` (idx files, torchvision's layout),
`cifar-10-batches-py` (the official one) or `cifar10.npz` (uint8 arrays train_images, train_labels, test_images,
test_labels), and `imagenet10/{train,val}/<synset>/*.JPEG`. Unset, it is `data/cache`, filled by downloads from where
torchvision knows them. Preset smoke needs neither: its handwritten digits come with scikit-learn.

What is read is what was checked, byte for byte: MNIST's, Fashion-MNIST's and CIFAR-10's files are held against their
authors' checksums. Whoever has ImageNet may choose other photographs; theirs are held against those that were there
when the folder was first read, and it is said if they are not the ones that the published results were measured on.
"""

import gzip
import hashlib
import io
import json
import os
import pickle  # subclassed by _Plain, which refuses whatever could be called  # nosec B403
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision import datasets
from torchvision.datasets.utils import download_url

from nssutils import digests, files, settings
from nssutils.errors import NssError, near_miss

CACHE = files.ROOT / "data" / "cache"
# More than any of these datasets has; what claims to be larger is not read.
LARGEST_FILE, LARGEST_ARRAY, LARGEST_ARCHIVE, LARGEST_IMAGE = 2**26, 2**28, 2**32, 2**26  # bytes; of an image, pixels


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


# SHA-256 over names and contents of the photographs that the published results were measured on.
_PHOTOGRAPHS = "a136f6df04f4a9b9054cb9cabe4a23cf9da73f01d8d9eda14398794f76d1b412"


def root() -> Path:
    """The folder that holds the datasets. Raises DataError where NSS_DATA names none."""
    named = os.environ.get("NSS_DATA")
    if named and not Path(named).is_absolute():
        # chapters are executed in a folder of their own, where a relative path would mean another one
        raise DataError(f"NSS_DATA={named} given, expected a whole path: NSS_DATA={os.path.abspath(named)}.")
    if named and not Path(named).is_dir():
        raise DataError(f"NSS_DATA={named} given, expected the folder that holds the datasets; it is none.")
    return Path(named or CACHE)


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


def _read(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise DataError(f"{path} has {size} bytes, expected at most {LARGEST_FILE}: fetch it again.")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}), expected a file: fetch it again.") from error


def _idx(folder: str, source: type) -> tuple[np.ndarray, ...]:
    raw = root() / folder / "raw"
    _fetch(lambda: _unzipped(source, raw), raw, [raw / name for name in _IDX[folder]])
    arrays = []
    for name, sha256 in _IDX[folder].items():
        content = _read(raw / name)
        _expect(hashlib.sha256(content).hexdigest(), sha256, str(raw / name))
        # Two bytes of zero, the type (8: bytes), the number of dimensions, each dimension in four bytes, the values.
        shape = np.frombuffer(content, ">i4", content[3], offset=4)
        values = np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape).copy()
        arrays.append(values[..., None] if len(shape) == 3 else values)
    return tuple(arrays)


def _unzipped(source: type, raw: Path) -> None:
    """Download the files of one of torchvision's MNISTs; a dataset that was unpacked before is never looked at."""
    for name, md5 in source.resources:
        download_url(source.mirrors[0] + name, raw, md5=md5)
        with gzip.open(raw / name) as packed, files.atomically(raw / name.removesuffix(".gz")) as partial:
            partial.write_bytes(packed.read(LARGEST_FILE))


def _cifar10(image_size: int) -> tuple[np.ndarray, ...]:
    npz, batches = root() / "cifar10.npz", root() / "cifar-10-batches-py"
    if npz.exists() and not batches.exists():
        return _arrays(npz)
    source = datasets.CIFAR10
    _fetch(lambda: _unpacked(source.url, source.tgz_md5, batches.name, batches), batches, [batches])
    arrays = []
    for split in (source.train_list, source.test_list):
        found = [_batch(batches / name, md5) for name, md5 in split]
        images = np.concatenate([entry["data"] for entry in found]).reshape(-1, 3, 32, 32)
        arrays += [images.transpose(0, 2, 3, 1), np.array([y for entry in found for y in entry["labels"]], np.uint8)]
    return tuple(arrays)


def _arrays(npz: Path) -> tuple[np.ndarray, ...]:
    try:
        with np.load(npz, allow_pickle=False) as archive:
            if missing := _CIFAR_NPZ.keys() - set(archive.files):
                raise DataError(f"{npz} lacks {', '.join(sorted(missing))}; it has {', '.join(sorted(archive.files))}.")
            for name in _CIFAR_NPZ:
                if (size := archive.zip.getinfo(f"{name}.npy").file_size) > LARGEST_ARRAY:
                    raise DataError(
                        f"{name} of {npz} has {size} bytes, expected {LARGEST_ARRAY} at most: fetch it again."
                    )
            arrays = {name: archive[name] for name in _CIFAR_NPZ}
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and numpy each have their own words for a truncated archive
        raise DataError(f"{npz} cannot be read ({error}): delete it and fetch it again.") from error
    for name, sha256 in _CIFAR_NPZ.items():
        found = np.ascontiguousarray(arrays[name])
        _expect(hashlib.sha256(found.tobytes()).hexdigest(), sha256, f"{name} of {npz}")
    return tuple(arrays.values())


def _batch(path: Path, md5: str) -> dict:
    """One official batch of CIFAR-10, whose MD5 is all that its authors give."""
    content = _read(path)
    if (found := hashlib.md5(content).hexdigest()) != md5:  # against accidents; _Plain runs nothing  # nosec B324
        raise DataError(
            f"{path} has MD5 {found}, expected the official {md5}: it is truncated or altered. Delete the folder and "
            "fetch it again from https://www.cs.toronto.edu/~kriz/cifar.html."
        )
    try:
        return _Plain(io.BytesIO(content), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise DataError(f"{path} is no batch of images ({error}): delete the folder and fetch it again.") from error


class _Plain(pickle.Unpickler):
    """Reads the pickles that the batches are: of texts, numbers, lists and arrays, and nothing that could be called."""

    def find_class(self, module: str, name: str):
        if (module, name) not in {
            ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"), ("numpy", "dtype"),
        }:  # fmt: skip
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, expected arrays")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _imagenet10(image_size: int) -> tuple[np.ndarray, ...]:
    folder, source = root() / "imagenet10", datasets.Imagenette
    archive = source._ARCHIVES["320px"]
    _fetch(lambda: _unpacked(*archive, "imagenette2-320", folder), folder, [folder / "train", folder / "val"])
    arrays, sums, classes = [], {}, {}
    for split in ("train", "val"):
        try:
            found = datasets.ImageFolder(folder / split)
        except OSError as error:
            raise DataError(
                f"{folder / split}: {error}. Expected 10 folders, one for each class, with its photographs."
            ) from error
        classes[split] = found.classes
        if len(found.classes) != 10:
            raise DataError(f"{folder / split} has {len(found.classes)} class folders, expected 10.")
        images = []
        for path, _ in found.samples:
            content = _read(Path(path))
            sums[os.path.relpath(path, folder)] = hashlib.sha256(content).hexdigest()
            images.append(_photograph(path, content, image_size))
        arrays += [np.stack(images), np.array(found.targets, dtype=np.uint8)]
    if classes["train"] != classes["val"]:
        raise DataError(f"{folder} trains on classes {classes['train']}, tests on {classes['val']}, expected the same.")
    _recognised(folder, sums)
    return tuple(arrays)


def _photograph(path: str, content: bytes, size: int) -> np.ndarray:
    """One photograph as uint8 (size, size, 3); the shorter side is scaled to `size`, the middle cut out."""
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > LARGEST_IMAGE:
                raise ValueError(f"{image.width} x {image.height} pixels, expected {LARGEST_IMAGE} at most")
            image = image.convert("RGB")
    except Exception as error:  # a decoder's words for what it stumbles upon are of many kinds
        raise DataError(f"{path} is no whole image ({error}): delete it and fetch it again.") from error
    scale = size / min(image.size)
    image = image.resize(
        (max(size, round(image.width * scale)), max(size, round(image.height * scale))), Image.BILINEAR
    )
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _recognised(folder: Path, sums: dict[str, str]) -> None:
    """Hold the photographs' checksums against the pinned ones, else against those of the first time; say which.

    Raises DataError naming a photograph that has changed, is gone or is new since.
    """
    record, pinned = (
        CACHE / f"photographs-{digests.of(str(folder.resolve()))[:12]}.json",
        digests.of(sums) == _PHOTOGRAPHS,
    )
    known = None if pinned else _recorded(record)
    if known is None:
        with files.atomically(record) as partial:
            partial.write_text(json.dumps({"photographs": sums, "sha256": digests.of(sums)}, indent=0))
        if not pinned:
            print(
                f"{folder} has other photographs than the published results were measured on. Their checksums are kept "
                f"in {record}: one that changes from now on is named.",
                file=sys.stderr,
            )
    elif changed := sorted(name for name in known.keys() | sums.keys() if known.get(name) != sums.get(name)):
        first = changed[0]
        raise DataError(
            f"{folder / first} has SHA-256 {sums.get(first, 'none, it is gone')}, expected "
            f"{known.get(first, 'none, it is new')} as when the folder was first read (changed since: {len(changed)}). "
            f"Put back what was there; if the change is meant, delete {record}."
        )


def _recorded(record: Path) -> dict[str, str] | None:
    if not record.exists():
        return None
    try:
        content = json.loads(record.read_bytes())
        if digests.of(content["photographs"]) == content["sha256"]:
            return content["photographs"]
        files.set_aside(record, "is not what was written")
    except (ValueError, TypeError, LookupError) as error:
        files.set_aside(record, f"cannot be read ({error})")
    return None


def _unpacked(url: str, md5: str, name: str, to: Path) -> None:
    """Download an archive and leave its folder `name` at `to`; nothing of it is written elsewhere."""
    download_url(url, root(), md5=md5)
    archive = root() / url.rpartition("/")[2]
    with tempfile.TemporaryDirectory(dir=root(), prefix="_unpacked-") as scratch, tarfile.open(archive) as packed:
        if (size := sum(member.size for member in packed)) > LARGEST_ARCHIVE:
            raise DataError(f"{archive} unpacks to {size} bytes, expected at most {LARGEST_ARCHIVE}.")
        packed.extractall(scratch, filter="data")  # refuses paths and links that lead outside, and devices
        os.replace(Path(scratch) / name, to)


def _digits(image_size: int) -> tuple[np.ndarray, ...]:
    """Scikit-learn's 8x8 handwritten digits; every fifth image of each class is for testing."""
    from sklearn.datasets import load_digits  # seconds, and only smoke needs it

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
