"""About a thousand damaged files and wrong parameters: each is refused by name with the mend, is made again with one
line that says so, or is read correctly. Never another exception, a hang, a wrong number, or a good file overwritten."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mutations import DAMAGES, cases, damaged, refused
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from test_any_network import random_masks
from written import ORIGIN
from written_networks import written

from nssutils import archive, data, digests, models, restructuring, sealed, settings, slicing, training
from nssutils.companion import chapters, checksums, ranges, results, runner, workflow

SETTING = settings.get("mlp-mnist", "smoke", width=0.02, epochs=2)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a cache of its own, for all of these tests."""
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "CACHE", folder / "cache")
        patch.setattr(results, "PUBLISHED", folder / "published")
        patch.setattr(workflow, "STAMPS", folder / "stamps")
        patch.setattr(workflow, "BUILD", folder / "build")
        patch.setenv("NSS_RESULTS", str(folder / "results"))
        patch.setenv("NSS_DATA", str(folder))
        yield folder


ODD_VALUES = st.sampled_from([10**400, "../..", "<b>"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=8) | ODD_VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


def places(value, at=()):
    """Where there is something in a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at] + [deeper for key, inner in pairs for deeper in places(inner, (*at, key))]


# Slices


@pytest.fixture(scope="module")
def critical(place):
    draw = torch.Generator().manual_seed(0)
    masks = {c: {name: torch.rand(n, generator=draw) > 0.5 for name, n in (("a", 9), ("b", 5))} for c in range(3)}
    one = slicing.Slice.of_classes(masks)
    one.save(place / "slice.safetensors")
    return one, place / "slice.safetensors", (place / "slice.safetensors").read_bytes()


@given(damages=DAMAGES)
@cases(200)
def test_slices(critical, damages):
    one, file, whole = critical
    file.write_bytes(damaged(whole, damages))
    refused(lambda: slicing.Slice.load(file), one.__eq__, file.name)


# Extracted networks


@pytest.fixture(scope="module")
def extracted(place):
    """A network, the weights of one extracted of it with a graph of its own, and its file and what is in it."""
    net, x = written("depthwise")
    small = restructuring.extract(net, random_masks(net, x, 1), x=x, check=False)
    file = place / "small.safetensors"
    restructuring.save(small, file)
    with safe_open(file, "pt") as one:
        told = {"extracted": one.metadata()["extracted"]}
        tensors = {name: one.get_tensor(name) for name in one.keys()}
    return net, weights(small), file, tensors, told


@given(damages=DAMAGES)
@cases(150)
def test_extracted_networks(extracted, damages):
    net, whole, file, tensors, told = extracted
    sealed.save(file, tensors, told)
    file.write_bytes(damaged(file.read_bytes(), damages))
    refused(lambda: restructuring.load(file, net), lambda found: weights(found) == whole, file.name)


@given(drawn=st.data())
@cases(100)
def test_extracted_networks_of_other_words_under_a_right_digest(extracted, drawn):
    """A graph may be any that the file's words allow; it is built of known functions or refused, and nothing is run."""
    net, _, file, tensors, told = extracted
    content = json.loads(told["extracted"])
    *path, last = drawn.draw(st.sampled_from(places(content)[1:]))
    owner = content
    for key in path:
        owner = owner[key]
    owner[last] = drawn.draw(JSON | st.just("__class__") | st.just({"dtype": "save"}))
    sealed.save(file, tensors, {"extracted": json.dumps(content)})
    refused(lambda: restructuring.load(file, net), lambda found: isinstance(found, torch.nn.Module), file.name)


CODE = "x=__import__('pathlib').Path('ran').touch()"


@pytest.mark.parametrize(
    "kind, node",
    [
        ("placeholder", ["placeholder", "input_1", CODE, {"tuple": []}, {"dict": {}}]),
        ("call_module", ["call_module", "_0", f'0", {CODE[2:]}, "', {"tuple": [{"node": "input_1"}]}, {"dict": {}}]),
        ("call_module", ["call_module", "_0", "0", {"tuple": [{"node": "input_1"}]}, {"dict": {CODE: 1}}]),
        ("call_method", ["call_method", "_0", f"sum({CODE[2:]}) or input_1.sum", {"tuple": []}, {"dict": {}}]),
    ],
)  # fmt: skip
def test_no_name_in_a_network_s_file_is_code(extracted, kind, node, here):
    net, _, file, tensors, told = extracted
    content = json.loads(told["extracted"])
    (at, *_) = [index for index, each in enumerate(content["graph"]) if each[0] in (kind, "call_module")]
    content["graph"][at] = node
    sealed.save(file, tensors, {"extracted": json.dumps(content)})
    with pytest.raises(archive.ArchiveError, match="expected names"):
        restructuring.load(file, net)
    assert not (here / "ran").exists()


def test_an_extracted_network_of_before_there_were_digests_is_read(extracted):
    net, whole, file, tensors, told = extracted
    save_file(tensors, file, metadata=told)
    assert weights(restructuring.load(file, net)) == whole


# Checkpoints


@pytest.fixture(scope="module")
def checkpoint(place):
    """A trained network, its checkpoint and what is in it, as it is and as it was before there were digests."""
    loaded = data.load(SETTING)
    net, kept = training.trained(SETTING, 0, loaded), training._checkpoint(SETTING, 0, loaded)
    file = training._file(kept)
    with safe_open(file, "pt") as one:
        tensors = {name: one.get_tensor(name) for name in one.keys()}
        save_file(tensors, place / "unsealed", metadata={"progress": one.metadata()["progress"]})
    return net, kept, file, file.read_bytes(), (place / "unsealed").read_bytes()


def resumed(checkpoint: Path):
    """How many epochs a checkpoint has, and the network that it gives."""
    torch.manual_seed(1)
    net = models.build(SETTING)
    optimiser = training._optimizer(SETTING.optimizer, net, SETTING.lr, SETTING.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, SETTING.lr, epochs=SETTING.epochs, steps_per_epoch=5)
    return training._resume(checkpoint, net, optimiser, schedule, SETTING.epochs), net


def weights(net) -> str:
    return digests.of_tensors(net.state_dict().values())


@given(damages=DAMAGES)
@cases(150)
def test_checkpoints(checkpoint, damages):
    net, kept, file, whole, _ = checkpoint
    content = damaged(whole, damages)
    file.write_bytes(content)
    epochs, found = resumed(kept)
    assert (epochs == SETTING.epochs and weights(found) == weights(net)) or epochs == 0
    if epochs == 0:  # set aside, as it was
        assert not file.exists() and file.with_name(f"{file.name}.damaged").read_bytes() == content


@given(damages=DAMAGES)
@cases(150)
def test_checkpoints_of_before_there_were_digests(checkpoint, damages):
    """Their header is all that can be checked, and that values are numbers."""
    _, kept, file, _, whole = checkpoint
    header = 8 + int.from_bytes(whole[:8], "little")
    file.write_bytes(damaged(whole[:header], damages) + whole[header:])
    epochs, found = resumed(kept)
    assert epochs in (0, SETTING.epochs) and all(each.isfinite().all() for each in found.state_dict().values())
    for left in file.parent.glob("*.stale"):
        left.unlink()


# Results


def result():
    rows = {
        "base": [{"accuracy": 0.5, "images": 200, "right": "eJzT0g=="}],
        "points": [{"metric": "avg", "at": 0.9, "accuracy": 0.25}, {"metric": None, "at": 1.0, "accuracy": None}],
    }
    return results.Result("rq1_slicing", "quick", "mlp-mnist", 0, {}, ORIGIN, rows)


@given(damages=DAMAGES)
@cases(150)
def test_results(place, damages):
    file = results.save(result())
    file.write_bytes(damaged(file.read_bytes(), damages))
    refused(lambda: results.read(file), result().__eq__, str(file))


@given(drawn=st.data())
@cases(200)
def test_results_with_other_values_under_a_right_digest(place, drawn):
    """What a schema must see: whoever changed the values has changed the digest, too."""
    file = results.save(result())
    content = json.loads(file.read_text())
    del content["sha256"]
    everywhere = places(content)[1:]
    *path, last = drawn.draw(
        st.sampled_from([at for at in everywhere if at[0] == "tables"]) | st.sampled_from(everywhere)
    )
    owner = content
    for key in path:
        owner = owner[key]
    owner[last] = drawn.draw(JSON)
    file.write_text(json.dumps(results.sealed(content)))

    def sound(found):
        shares = [row["accuracy"] for rows in found.tables.values() for row in rows if row.get("accuracy") is not None]
        where = (found.chapter, found.preset, found.setting, found.seed)
        return where == ("rq1_slicing", "quick", "mlp-mnist", 0) and all(0 <= share <= 1 for share in shares)

    refused(lambda: results.read(file), sound, str(file))


# Datasets


@pytest.fixture(scope="module")
def datasets(place):
    """Small ones whose files are the official ones for once: {dataset: (its files, what is loaded)}."""
    draw = np.random.default_rng(0)
    raw, photographs = place / "MNIST" / "raw", place / "imagenet10"
    raw.mkdir(parents=True)
    sums, arrays = {}, {}
    for split, n in (("train", 40), ("t10k", 20)):
        for kind, dims in (("images-idx3", (n, 28, 28)), ("labels-idx1", (n,))):
            values = (
                draw.integers(0, 256, dims, dtype=np.uint8) if len(dims) == 3 else np.arange(n, dtype=np.uint8) % 10
            )
            file = raw / f"{split}-{kind}-ubyte"
            file.write_bytes(bytes([0, 0, 8, len(dims)]) + np.array(dims, ">i4").tobytes() + values.tobytes())
            sums[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    for split, n in (("train", 40), ("test", 20)):
        arrays[f"{split}_images"] = draw.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(n, dtype=np.uint8) % 10
    np.savez_compressed(place / "cifar10.npz", **arrays)
    for split in ("train", "val"):
        for c in range(10):
            (photographs / split / f"n{c}").mkdir(parents=True)
            for name in ("a", "b"):
                image = Image.fromarray(draw.integers(0, 255, (24, 20, 3), dtype=np.uint8))
                image.save(photographs / split / f"n{c}" / f"{name}.JPEG")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(data._IDX, "MNIST", sums)
        patch.setattr(
            data, "_CIFAR_NPZ", {name: hashlib.sha256(each.tobytes()).hexdigest() for name, each in arrays.items()}
        )
        found = {}
        for name, files in (
            ("mlp-mnist", sorted(raw.iterdir())), ("vgg16-cifar10", [place / "cifar10.npz"]),
            ("vgg19-imagenet10", sorted(photographs.rglob("*.JPEG"))[:6]),
        ):  # fmt: skip
            small = dict(image_size=16) if "imagenet" in name else {}
            setting = settings.get(name, "quick", train_size=0, test_size=0, held_size=10, **small)
            found[name] = (setting, [(file, file.read_bytes()) for file in files], data.load(setting))
        yield found


@pytest.mark.parametrize("name, count", [("mlp-mnist", 80), ("vgg16-cifar10", 60), ("vgg19-imagenet10", 60)])
def test_datasets(datasets, name, count):
    setting, files, loaded = datasets[name]

    def same(found):
        return found.sha256 == loaded.sha256 and torch.equal(found.x_test, loaded.x_test)

    @given(which=st.sampled_from(files), damages=DAMAGES)
    @cases(count)
    def one(which, damages):
        file, whole = which
        file.write_bytes(damaged(whole, damages))
        try:
            refused(lambda: data.load(setting), same, str(file))
        finally:
            file.write_bytes(whole)

    one()


@given(damages=DAMAGES)
@cases(40)
def test_records_of_photographs(datasets, damages, place):
    setting, _, loaded = datasets["vgg19-imagenet10"]
    (record,) = (place / "cache").glob("photographs-*.json")
    whole = record.read_bytes()
    record.write_bytes(damaged(whole, damages))
    assert data.load(setting).sha256 == loaded.sha256
    assert json.loads(record.read_bytes()) == json.loads(whole)


# Checksums and stamps


@given(damages=DAMAGES)
@cases(60)
def test_checksums(datasets, damages, place):
    setting, _, loaded = datasets["mlp-mnist"]
    file = place / "cache" / "checksums.json"
    assert checksums.of(setting) == loaded.sha256
    file.write_bytes(damaged(file.read_bytes(), damages))
    assert checksums.of(setting) == loaded.sha256


@given(damages=DAMAGES)
@cases(40)
def test_stamps(place, damages):
    stamp = workflow.executed("method")
    workflow.stamped(stamp, "0123456789abcdef" * 4)
    whole = stamp.read_bytes()
    stamp.write_bytes(damaged(whole, damages))
    assert workflow._says(stamp, whole.decode()) == (stamp.read_bytes() == whole)


@given(damages=DAMAGES)
@cases(40)
def test_certificates(place, damages):
    file = place / "certificates.json"
    known = {"networks": [{"code": "ab", "processor": "AMD", "fingerprint": "cd"}]}
    file.write_bytes(damaged(json.dumps(known).encode(), damages))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "CERTIFICATES", file)
        refused(digests.certificates, lambda found: isinstance(found, dict), file.name)


# Parameters

KNOWN = {name: chapters.Parameter(name, default, "") for name, default in {
    "preset": "smoke", "setting": "all", "seed": "all", "recompute": False, "samples": 256, "taylor_batch": 256,
    "tolerance": 0.01, "epochs": 0, "lr": 0.001, "theta": 0.95, "task_a": "preset", "mix": "shuffled",
    "spatial": "mean",
}.items()}  # fmt: skip
ODD = [
    "-1",
    "-5",
    "0",
    "1e9",
    "nan",
    "inf",
    "2",
    "1_000",
    "٣",
    "",
    "../..",
    "<b>",
    "$(id)",
    "all,all",
    "0,-1",
    "٣,1",
    "0x3",
]


@given(name=st.sampled_from(list(KNOWN)), value=st.sampled_from(ODD) | st.text(max_size=12) | st.floats().map(str))
@cases(150)
def test_parameters(place, name, value):
    def read():
        values = chapters.check([f"{name}={value}"], KNOWN)
        ranges.check(values)
        return values[name]

    def sound(found):
        if isinstance(found, str):
            return (found, *found.split(","))[-1].strip() and "<" not in found and ".." not in found
        return {"samples": 2, "taylor_batch": 1}.get(name, 0) <= found < 10**10

    refused(read, sound, name)


def test_nothing_lies_outside_and_nothing_partial_is_left(place):
    """The last of these tests: what the others have left behind."""
    assert {path.name for path in place.iterdir()} <= {
        "cache", "results", "stamps", "build", "published", "MNIST", "imagenet10", "cifar10.npz", "slice.safetensors",
        "small.safetensors", "unsealed", "certificates.json",
    }  # fmt: skip
    assert not list(place.rglob("*.partial"))
    shutil.rmtree(place / "results", ignore_errors=True)
    assert runner.main(["list", "--preset", "smoke"]) == 0
