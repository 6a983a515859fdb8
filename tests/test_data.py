"""Datasets: what is loaded, and that what is missing, cut short or altered is named."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nssutils import data, settings

REAL = os.environ.get("NSS_DATA")
needs_data = pytest.mark.skipif(not REAL, reason="needs the real datasets: set NSS_DATA to their folder")


def quick(name, **changes):
    return settings.get(name, "quick", **changes)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder that NSS_DATA names."""
    monkeypatch.setenv("NSS_DATA", str(tmp_path))
    return tmp_path


def test_embedded_digits_serve_every_setting():
    for name in settings.NAMES:
        setting = settings.get(name, "smoke")
        loaded = data.load(setting)
        assert loaded.x_train.shape[1:] == (setting.channels, setting.image_size, setting.image_size)
        assert loaded.x_train.dtype == torch.float32 and loaded.y_train.dtype == torch.int64
        assert 0 <= loaded.x_train.min() and loaded.x_train.max() <= 1
        assert loaded.y_test.bincount().tolist() == [20] * 10
        assert loaded.sha256.startswith("9f66296b")


def test_first_per_class_is_balanced_and_in_order():
    labels = torch.tensor([1, 0, 1, 1, 0, 0])
    assert data.first_per_class(labels, 2).tolist() == [0, 1, 2, 4]


def test_what_is_held_out_is_the_end_of_each_class_and_nothing_is_lost():
    whole = data.load(settings.get("mlp-mnist", "smoke", held_size=10))
    most = data.load(settings.get("mlp-mnist", "smoke", held_size=1_000))
    assert most.y_held.bincount().tolist() == [100] * 10
    assert len(whole.x_train) + len(whole.x_held) == len(most.x_train) + len(most.x_held)
    for c in range(10):
        of_class = torch.cat([most.x_train[most.y_train == c], most.x_held[most.y_held == c]])
        assert torch.equal(of_class, torch.cat([whole.x_train[whole.y_train == c], whole.x_held[whole.y_held == c]]))


@pytest.mark.parametrize("held_size", [0, 2_000])
def test_holding_out_nothing_or_too_much_is_refused(held_size):
    with pytest.raises(data.DataError, match=rf"holds out {held_size} training images.*expected from 1 to 13\d"):
        data.load(settings.get("mlp-mnist", "smoke", held_size=held_size))


def test_a_subset_larger_than_the_data_is_refused():
    with pytest.raises(data.DataError, match=r"asks for 5000 test images, 500 a class; digits has 3\d"):
        data.load(settings.get("mlp-mnist", "smoke", test_size=5000))


@pytest.mark.parametrize(
    "name, missing",
    [
        ("mlp-mnist", "MNIST/raw/train-images"),
        ("vgg16-cifar10", "cifar-10-batches-py"),
        ("vgg19-imagenet10", "imagenet10/train"),
    ],
)
def test_what_is_missing_is_named_with_the_mend(folder, name, missing):
    with pytest.raises(data.DataError, match=f"has no {missing}.*unset NSS_DATA"):
        data.load(quick(name))


def test_a_download_that_fails_is_explained(tmp_path, monkeypatch):
    monkeypatch.delenv("NSS_DATA", raising=False)
    monkeypatch.setattr(data, "CACHE", tmp_path)

    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(data.datasets, "MNIST", refuse)
    with pytest.raises(data.DataError, match=r"could not be downloaded \(OSError: no network\).*preset=smoke"):
        data.load(quick("mlp-mnist"))


def test_a_damaged_archive_is_named(folder):
    (folder / "cifar10.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(data.DataError, match=r"cifar10.npz cannot be read .*fetch it again"):
        data.load(quick("vgg16-cifar10"))


def test_altered_arrays_are_named_with_both_checksums(folder):
    arrays = {name: np.zeros(3, np.uint8) for name in data._CIFAR_NPZ}
    np.savez(folder / "cifar10.npz", **arrays)
    with pytest.raises(data.DataError, match=r"train_images of .*cifar10.npz has SHA-256 .*, expected c7c65574"):
        data.load(quick("vgg16-cifar10"))
    np.savez(folder / "cifar10.npz", train_images=arrays["train_images"])
    with pytest.raises(data.DataError, match="lacks test_images, test_labels, train_labels"):
        data.load(quick("vgg16-cifar10"))


def test_a_photograph_cut_short_is_named(folder):
    for split in ("train", "val"):
        for c in range(10):
            (folder / "imagenet10" / split / f"n{c}").mkdir(parents=True)
            for name in ("a", "b"):
                noise = np.random.default_rng(c).integers(0, 255, (90, 70, 3), dtype=np.uint8)
                Image.fromarray(noise).save(folder / "imagenet10" / split / f"n{c}" / f"{name}.JPEG")
    setting = quick("vgg19-imagenet10", test_size=0, held_size=10)
    assert data.load(setting).x_train.shape == (10, 3, 64, 64)
    victim = folder / "imagenet10" / "val" / "n7" / "a.JPEG"
    victim.write_bytes(victim.read_bytes()[:600])
    with pytest.raises(data.DataError, match=r"n7.*a.JPEG is no whole image"):
        data.load(setting)
    shutil.rmtree(folder / "imagenet10" / "val" / "n7")
    with pytest.raises(data.DataError, match="has 9 class folders, expected 10"):
        data.load(setting)


@needs_data
@pytest.mark.parametrize("name, whole", [("mlp-mnist", 60_000), ("mlp-fmnist", 60_000), ("alexnet-cifar10", 50_000)])
def test_real_data_is_whole(name, whole):
    loaded = data.load(settings.get(name))
    assert (len(loaded.x_train), len(loaded.x_held), len(loaded.x_test)) == (whole - 2_000, 2_000, 10_000)


@needs_data
def test_a_real_file_cut_short_is_named(folder):
    source = Path(REAL) / "MNIST" / "raw"
    shutil.copytree(source, folder / "MNIST" / "raw")
    victim = folder / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    victim.write_bytes(victim.read_bytes()[:-100])
    with pytest.raises(data.DataError, match=r"t10k-images-idx3-ubyte has SHA-256 .*truncated or altered"):
        data.load(settings.get("mlp-mnist"))


@needs_data
def test_cifar_and_photographs_load_at_their_size():
    assert data.load(quick("vgg16-cifar10", train_size=500)).x_train.shape == (500, 3, 32, 32)
    assert data.load(quick("vgg19-imagenet10")).x_test.shape == (1000, 3, 64, 64)
