"""Datasets: what is loaded, and that what is missing, cut short or altered is named."""

import gzip
import hashlib
import io
import os
import pickle
import shutil
import tarfile
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
    """An empty folder that NSS_DATA names, and an empty cache."""
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("NSS_DATA", str(tmp_path))
    return tmp_path


def test_embedded_digits_serve_every_setting():
    for name in settings.NAMES:
        setting = settings.get(name, "smoke")
        loaded = data.load(setting)
        assert loaded.x_train.shape[1:] == (setting.channels, setting.image_size, setting.image_size)
        assert loaded.x_train.dtype == torch.float32 and loaded.y_train.dtype == torch.int64
        assert 0 <= loaded.x_train.min() and loaded.x_train.max() <= 1
        assert loaded.y_test.bincount().tolist() == [setting.test_size // 10] * 10
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

    monkeypatch.setattr(data, "download_url", refuse)
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


@pytest.fixture
def photographs(folder, monkeypatch):
    """Two photographs of each of ten classes for training and testing, and the setting that takes them."""
    for split in ("train", "val"):
        for c in range(10):
            (folder / "imagenet10" / split / f"n{c}").mkdir(parents=True)
            for name in ("a", "b"):
                noise = np.random.default_rng(c).integers(0, 255, (90, 70, 3), dtype=np.uint8)
                Image.fromarray(noise).save(folder / "imagenet10" / split / f"n{c}" / f"{name}.JPEG")
    return folder / "imagenet10", quick("vgg19-imagenet10", test_size=0, held_size=10)


def test_a_photograph_cut_short_is_named(photographs):
    folder, setting = photographs
    assert data.load(setting).x_train.shape == (10, 3, 64, 64)
    victim = folder / "val" / "n7" / "a.JPEG"
    victim.write_bytes(victim.read_bytes()[:600])
    with pytest.raises(data.DataError, match=r"n7.*a.JPEG is no whole image"):
        data.load(setting)
    victim.unlink()
    (victim.parent / "b.JPEG").unlink()
    with pytest.raises(data.DataError, match=r"val: Found no valid file for the classes n7.*Expected 10 folders"):
        data.load(setting)
    shutil.rmtree(victim.parent)
    with pytest.raises(data.DataError, match="has 9 class folders, expected 10"):
        data.load(setting)
    shutil.copytree(folder / "val" / "n6", folder / "val" / "n77")
    with pytest.raises(data.DataError, match=r"trains on classes .*'n7'.* tests on .*'n77'"):
        data.load(setting)


def test_a_photograph_that_changes_is_named(photographs, capsys):
    folder, setting = photographs
    data.load(setting)
    assert "other photographs than the published results" in capsys.readouterr().err
    data.load(setting)
    assert capsys.readouterr().err == ""
    victim, other = folder / "train" / "n3" / "a.JPEG", folder / "train" / "n4" / "a.JPEG"
    whole = victim.read_bytes()
    victim.write_bytes(other.read_bytes())
    with pytest.raises(data.DataError, match=r"n3/a.JPEG has SHA-256 \w{64}, expected \w{64} .*if the change is meant"):
        data.load(setting)
    victim.unlink()
    with pytest.raises(data.DataError, match=r"n3/a.JPEG has SHA-256 none, it is gone"):
        data.load(setting)
    victim.write_bytes(whole)
    data.load(setting)
    (record,) = data.CACHE.glob("photographs-*.json")
    record.write_text(record.read_text()[:-30])
    data.load(setting)
    assert "photographs-" in capsys.readouterr().err and record.with_name(f"{record.name}.damaged").exists()


def test_an_image_that_would_fill_the_memory_is_refused(photographs, monkeypatch):
    _, setting = photographs
    monkeypatch.setattr(data, "LARGEST_IMAGE", 6_000)
    with pytest.raises(data.DataError, match=r"n0/a.JPEG is no whole image \(70 x 90 pixels, expected 6000 at most"):
        data.load(setting)
    monkeypatch.setattr(data, "LARGEST_FILE", 600)
    with pytest.raises(data.DataError, match=r"n0/a.JPEG has \d+ bytes, expected at most 600"):
        data.load(setting)


def test_a_relative_folder_is_refused(monkeypatch):
    monkeypatch.setenv("NSS_DATA", "data")
    with pytest.raises(data.DataError, match=r"NSS_DATA=data given, expected a whole path: NSS_DATA=/.*/data\."):
        data.load(quick("mlp-mnist"))
    monkeypatch.setenv("NSS_DATA", "/nowhere/at all")
    with pytest.raises(data.DataError, match="NSS_DATA=/nowhere/at all given, expected the folder"):
        data.load(quick("mlp-mnist"))


def written_idx(values) -> bytes:
    shape = np.array(values.shape, ">i4").tobytes()
    return bytes([0, 0, 8, values.ndim]) + shape + values.tobytes()


@pytest.fixture
def mnist(folder, monkeypatch):
    """An MNIST of 40 and 20 images, whose files are the official ones for once."""
    draw, arrays = np.random.default_rng(0), {}
    for name, n in (("train", 40), ("t10k", 20)):
        arrays[f"{name}-images-idx3-ubyte"] = draw.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        arrays[f"{name}-labels-idx1-ubyte"] = np.arange(n, dtype=np.uint8) % 10
    written = {name: written_idx(values) for name, values in arrays.items()}
    monkeypatch.setitem(data._IDX, "MNIST", {name: hashlib.sha256(each).hexdigest() for name, each in written.items()})
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in written.items():
        (raw / name).write_bytes(content)
    return raw, arrays, quick("mlp-mnist", held_size=10, score_size=0)


def test_the_files_that_were_checked_are_the_ones_that_are_read(mnist):
    """torchvision would take the tensors of an earlier version that lie beside them, whatever they hold."""
    raw, arrays, setting = mnist
    old = raw.parent / "processed"
    old.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(20, 28, 28, dtype=torch.uint8), torch.arange(20) % 10), old / name)
    loaded = data.load(setting)
    assert torch.equal(loaded.x_test[:, 0], torch.from_numpy(arrays["t10k-images-idx3-ubyte"]).float() / 255)
    assert loaded.y_test.tolist() == arrays["t10k-labels-idx1-ubyte"].tolist()
    assert len(loaded.x_train) == 30
    victim = raw / "t10k-labels-idx1-ubyte"
    victim.write_bytes(victim.read_bytes()[:-1] + b"\x00")
    with pytest.raises(data.DataError, match=r"t10k-labels-idx1-ubyte has SHA-256 .*fetch it again"):
        data.load(setting)


def test_a_download_is_unpacked_within_bounds(mnist, folder, monkeypatch):
    raw, _, setting = mnist
    packed = {path.name: gzip.compress(path.read_bytes()) for path in raw.iterdir()}
    shutil.rmtree(folder / "MNIST")
    monkeypatch.delenv("NSS_DATA")
    asked = []

    def fetched(url, to, md5):
        asked.append(url)
        to.mkdir(parents=True, exist_ok=True)
        name = url.rpartition("/")[2]
        (to / name).write_bytes(packed[name.removesuffix(".gz")])

    monkeypatch.setattr(data, "download_url", fetched)
    assert len(data.load(setting).x_train) == 30 and len(asked) == 4
    assert len(data.load(setting).x_train) == 30 and len(asked) == 4
    shutil.rmtree(data.CACHE / "MNIST")
    monkeypatch.setattr(data, "LARGEST_FILE", 1_000)
    with pytest.raises(data.DataError, match="truncated or altered"):
        data.load(setting)
    assert max(path.stat().st_size for path in data.CACHE.rglob("*ubyte")) == 1_000


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("harm"),))


@pytest.fixture
def batches(folder, monkeypatch):
    """The official batches' form, with ten images in each; a function that writes one and makes it the official one."""
    place = folder / "cifar-10-batches-py"
    place.mkdir()
    names = {"train_list": [f"data_batch_{k}" for k in range(1, 6)], "test_list": ["test_batch"]}
    lists = {key: [[name, ""] for name in of_key] for key, of_key in names.items()}
    for key, rows in lists.items():
        monkeypatch.setattr(data.datasets.CIFAR10, key, rows)

    def write(name, entry):
        (place / name).write_bytes(pickle.dumps(entry, protocol=4))
        row = next(row for rows in lists.values() for row in rows if row[0] == name)
        row[1] = hashlib.md5((place / name).read_bytes()).hexdigest()

    for k, name in enumerate([*names["train_list"], "test_batch"]):
        images = np.random.default_rng(k).integers(0, 256, (10, 3072), dtype=np.uint8)
        write(name, {"data": images, "labels": list(range(10)), "batch_label": "of images"})
    return place, write


def test_official_batches_are_read_and_run_nothing(batches, here):
    place, write = batches
    setting = quick("vgg16-cifar10", train_size=0, test_size=0, held_size=10)
    loaded = data.load(setting)
    images = np.random.default_rng(5).integers(0, 256, (10, 3072), dtype=np.uint8)
    assert torch.equal(loaded.x_test, torch.from_numpy(images).view(10, 3, 32, 32).float() / 255)
    assert len(loaded.x_train) == 40 and loaded.y_test.tolist() == list(range(10))
    write("data_batch_2", {"data": Harmful(), "labels": []})
    with pytest.raises(data.DataError, match=r"data_batch_2 is no batch of images \(it asks for .*expected arrays"):
        data.load(setting)
    assert not Path("harm").exists()
    (place / "data_batch_2").write_bytes(b"cut short")
    with pytest.raises(data.DataError, match=r"data_batch_2 has MD5 \w+, expected the official .*fetch it again"):
        data.load(setting)
    (place / "data_batch_2").unlink()
    with pytest.raises(data.DataError, match=r"data_batch_2 cannot be read \(No such file"):
        data.load(setting)


def test_arrays_of_objects_and_bombs_are_refused(folder, monkeypatch, here):
    arrays = {name: np.zeros(3, np.uint8) for name in data._CIFAR_NPZ}
    np.savez(folder / "cifar10.npz", **arrays | {"train_labels": np.array([Harmful()], dtype=object)})
    with pytest.raises(data.DataError, match="Object arrays cannot be loaded"):
        data.load(quick("vgg16-cifar10"))
    assert not Path("harm").exists()
    monkeypatch.setattr(data, "LARGEST_ARRAY", 10_000)
    np.savez_compressed(folder / "cifar10.npz", **arrays | {"train_images": np.zeros(20_000, np.uint8)})
    with pytest.raises(data.DataError, match=r"train_images of .*cifar10.npz has 20128 bytes, expected 10000 at most"):
        data.load(quick("vgg16-cifar10"))


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside of it", "imagenette2-320/../../outside"])
def test_an_archive_writes_nowhere_else(folder, monkeypatch, name):
    monkeypatch.delenv("NSS_DATA")

    def fetched(url, to, md5):
        with tarfile.open(to / url.rpartition("/")[2], "w:gz") as archive:
            archive.addfile(tarfile.TarInfo(name))

    monkeypatch.setattr(data, "download_url", fetched)
    with pytest.raises(data.DataError, match="could not be downloaded"):
        data.load(quick("vgg19-imagenet10"))
    assert [path.name for path in data.CACHE.rglob("*")] == ["imagenette2-320.tgz"]
    assert not list(folder.glob("outside*"))


def test_an_archive_is_bounded_and_becomes_the_folder(folder, monkeypatch):
    monkeypatch.delenv("NSS_DATA")

    def fetched(url, to, md5):
        with tarfile.open(to / url.rpartition("/")[2], "w:gz") as archive:
            member = tarfile.TarInfo("imagenette2-320/train/a.JPEG")
            member.size = 2_000
            archive.addfile(member, io.BytesIO(bytes(2_000)))

    monkeypatch.setattr(data, "download_url", fetched)
    with (
        monkeypatch.context() as patch,
        pytest.raises(data.DataError, match="unpacks to 2000 bytes, expected at most 9"),
    ):
        patch.setattr(data, "LARGEST_ARCHIVE", 9)
        data.load(quick("vgg19-imagenet10"))
    with pytest.raises(data.DataError, match="Expected 10 folders, one for each class"):
        data.load(quick("vgg19-imagenet10"))
    assert (data.CACHE / "imagenet10" / "train" / "a.JPEG").stat().st_size == 2_000


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
