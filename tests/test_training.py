"""Training: resumed is uninterrupted, checkpoints are reused, nothing is left behind."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from nssutils import NssError, data, files, incremental, models, readaptation, reports, sealed, settings, training

SETTING = settings.get("mlp-mnist", "smoke", width=0.03, epochs=4)


@pytest.fixture(scope="module")
def loaded():
    return data.load(SETTING)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "CACHE", tmp_path)
    return tmp_path


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


class Cut(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_training_cut_short_ends_as_an_uninterrupted_one(loaded, monkeypatch, tmp_path, optimizer):
    setting = settings.get("vgg16-cifar10", "smoke", epochs=3, optimizer=optimizer, train_size=200, augment=True)
    images = data.load(setting)
    whole = training.trained(setting, 0, images)
    for file in (tmp_path / "checkpoints").iterdir():
        file.unlink()
    save = training._save

    def save_and_cut(*args):
        save(*args)
        if args[-2] == 2:
            raise Cut

    monkeypatch.setattr(training, "_save", save_and_cut)
    with pytest.raises(Cut):
        training.trained(setting, 0, images)
    monkeypatch.setattr(training, "_save", save)
    assert same(training.trained(setting, 0, images), whole)


def test_a_finished_training_is_not_done_again(loaded, monkeypatch):
    first = training.trained(SETTING, 0, loaded)
    monkeypatch.setattr(training.F, "cross_entropy", None)  # no further step is possible
    assert same(training.trained(SETTING, 0, loaded), first)


def test_whatever_shapes_the_weights_makes_another_checkpoint(loaded, own_cache):
    training.trained(SETTING, 0, loaded)
    training.trained(SETTING, 1, loaded)
    training.trained(settings.get("mlp-mnist", "smoke", width=0.03, epochs=4, lr=0.001), 0, loaded)
    assert len(list((own_cache / "checkpoints").iterdir())) == 3


def test_it_learns_and_is_evaluated_in_eval_mode(loaded):
    net = training.trained(settings.get("mlp-mnist", "smoke", width=0.1), 0, loaded)
    net.train()
    assert training.evaluate(net, loaded.x_test, loaded.y_test) > 0.8
    assert net.training


def test_a_module_that_is_frozen_in_eval_mode_stays_so():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 36, 10)).train()
    net[1].eval()
    training.evaluate(net, torch.rand(4, 1, 8, 8), torch.arange(4))
    assert [module.training for module in net] == [True, False, True, True]


def test_the_random_generator_is_left_as_it_was(loaded):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    training.fit(net, loaded.x_train[:64], loaded.y_train[:64], epochs=1, batch_size=32, lr=0.01)
    assert torch.equal(torch.rand(1), expected)


def test_a_diverging_training_stops_with_its_name(loaded):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with pytest.raises(training.TrainingError, match=r"digits: the loss is nan.*lr=1e\+38 is too high"):
        images, labels = loaded.x_train[:64] * 1e30, loaded.y_train[:64]
        training.fit(net, images, labels, epochs=2, batch_size=32, lr=1e38, optimizer="sgd", label="digits")


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(training.TrainingError, match="optimizer 'adam' given"):
        images, labels = torch.rand(4, 2), torch.zeros(4, dtype=torch.int64)
        training.fit(nn.Linear(2, 2), images, labels, epochs=1, batch_size=2, lr=0.1, optimizer="adam")


def test_augmentation_flips_and_shifts_within_the_padding():
    torch.manual_seed(0)
    x = torch.arange(1.0, 65).view(1, 1, 8, 8).expand(200, 3, 8, 8)
    out = training._augmented(x)
    assert out.shape == x.shape
    flipped = (out[:, 0, 4, 4] < out[:, 0, 4, 3]).float().mean()
    assert 0.35 < flipped < 0.65
    # The middle pixel moves by at most one row and column, mirrored or not.
    assert set(out[:, 0, 4, 4].tolist()) <= {x[0, 0, r, c].item() for r in (3, 4, 5) for c in (2, 3, 4, 5)}
    assert len(set(out[:, 0, 4, 4].tolist())) > 6


def test_images_grow_in_equal_stretches_of_the_epochs():
    seen = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 10))

        def forward(self, x):
            seen.append(x.shape[-1])
            return self.net(x)

    x, y = torch.rand(20, 3, 32, 32), torch.arange(20) % 10
    training.fit(Watched(), x, y, epochs=6, batch_size=20, lr=0.01, sizes=(16, 24, 32))
    assert seen == [16, 16, 24, 24, 32, 32]


def test_every_network_that_is_trained_on_small_images_first_takes_them():
    for preset in settings.PRESETS:
        for name in settings.NAMES:
            setting = settings.get(name, preset)
            assert setting.sizes == () or setting.sizes[-1] == setting.image_size
            if setting.sizes:
                net = models.build(setting, width=0.05).eval()
                for size in setting.sizes:
                    assert net(torch.rand(1, setting.channels, size, size)).shape == (1, 10)


def test_smoothed_labels_leave_the_network_less_sure(loaded):
    sure = {}
    for smoothing in (0.0, 0.3):
        torch.manual_seed(0)
        net = models.build("mlp-mnist", width=0.1)
        training.fit(
            net, loaded.x_train, loaded.y_train, epochs=4, batch_size=64, lr=0.005, label_smoothing=smoothing
        )  # fmt: skip
        sure[smoothing] = training.logits(net, loaded.x_test).softmax(1).amax(1).mean().item()
    assert sure[0.3] < sure[0.0] - 0.1


def test_reduced_evaluation_is_the_exact_one_rounded():
    setting = settings.get("alexnet-cifar10", "smoke")
    images = data.load(setting)
    net = training.trained(setting, 0, images)
    exact, rounded = (training.logits(net, images.x_test, reduced=reduced) for reduced in (False, True))
    assert rounded.dtype == exact.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.1)
    right = training.correct(net, images.x_test, images.y_test, reduced=True)
    assert right.double().mean().item() == training.evaluate(net, images.x_test, images.y_test, reduced=True)


@pytest.fixture
def kept(loaded, own_cache):
    """A checkpoint's file, with the network that is in it."""
    net = training.trained(SETTING, 0, loaded)
    (file,) = (own_cache / "checkpoints").iterdir()
    return file, net


def flipped(file, at):
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def rewritten(file, change=lambda name, tensor: tensor, **told):
    """The file as the code of before there were digests would have written it, with changes."""
    with safe_open(file, "pt") as one:
        tensors = {name: change(name, one.get_tensor(name)) for name in one.keys()}
        progress = json.loads(one.metadata()["progress"]) | told
    save_file(tensors, file, metadata={"progress": json.dumps(progress)})


def with_nan(name, tensor):
    return torch.full_like(tensor, torch.nan) if name == "net.2.bias" else tensor


DAMAGES = {
    "cut short": (lambda file: file.write_bytes(file.read_bytes()[:-9]), "cannot be read"),
    "empty": (lambda file: file.write_bytes(b""), "cannot be read"),
    "a weight's bit": (lambda file: flipped(file, -5), "it is not what was written"),
    "a bit of its names": (lambda file: flipped(file, 12), "cannot be read|not what was written"),
    "no number": (lambda file: rewritten(file, with_nan), "net.2.bias that are no finite numbers"),
    "other shapes": (lambda file: rewritten(file, lambda name, each: each[:1]), r"has net.0.bias .*expected"),
    "too many epochs": (lambda file: rewritten(file, epoch=5), "says 5 epochs, expected 1 to 4"),
    "no epoch": (lambda file: rewritten(file, epoch=None), "does not say its epoch"),
    "no optimiser": (lambda file: rewritten(file, epoch=2), "does not say how far its optimiser"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_trained_again(kept, loaded, capsys, damage):
    (file, net), (do, why) = kept, DAMAGES[damage]
    do(file)
    spoilt = file.read_bytes()
    assert same(training.trained(SETTING, 0, loaded), net)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "made again" in line]
    assert re.search(why, line) and str(file) in line
    assert file.with_name(f"{file.name}.damaged").read_bytes() == spoilt
    assert same(training.trained(SETTING, 0, loaded), net) and "made again" not in capsys.readouterr().err


def test_a_checkpoint_under_the_name_of_another_seed_is_not_taken_for_it(kept, loaded, own_cache, capsys):
    (file, net), other = kept, training._file(training._checkpoint(SETTING, 1, loaded))
    shutil.copy(file, other)
    assert training.origin(SETTING, 1, loaded) == {}
    assert f"is the checkpoint of {file.stem}" in capsys.readouterr().err
    assert not same(training.trained(SETTING, 1, loaded), net)


def test_a_checkpoint_of_before_there_were_digests_is_read_and_gets_one(kept, loaded, monkeypatch):
    file, net = kept
    rewritten(file)
    monkeypatch.setattr(training.F, "cross_entropy", None)  # no further step is possible
    assert same(training.trained(SETTING, 0, loaded), net)
    assert sealed.DIGEST in sealed.read(file)[1]
    assert same(training.trained(SETTING, 0, loaded), net)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_training_that_was_cut_short_before_there_were_digests_goes_on(loaded, own_cache, monkeypatch, optimizer):
    setting = settings.get("mlp-mnist", "smoke", width=0.03, epochs=4, optimizer=optimizer)
    whole = training.trained(setting, 0, loaded)
    (file,) = (own_cache / "checkpoints").iterdir()
    file.unlink()
    save = training._save

    def save_and_cut(*args):
        save(*args)
        if args[-2] == 3:
            raise Cut

    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(training, "_save", save_and_cut)
        training.trained(setting, 0, loaded)
    rewritten(file)
    steps, step = [], torch.optim.lr_scheduler.OneCycleLR.step
    monkeypatch.setattr(torch.optim.lr_scheduler.OneCycleLR, "step", lambda self: (steps.append(1), step(self)))
    assert same(training.trained(setting, 0, loaded), whole)
    assert len(steps) == 1 + -(-len(loaded.x_train) // setting.batch_size)  # one epoch of four, and the schedule's own


def test_weights_that_are_no_numbers_are_no_network(loaded):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with pytest.raises(training.TrainingError, match="or a weight is no finite number"):
        images = loaded.x_train[:64] * 1e30  # the loss is a number, what its one step makes is none
        training.fit(net, images, loaded.y_train[:64], epochs=1, batch_size=64, lr=1e38, optimizer="sgd")


ANY_THREADS = """
from pathlib import Path
from nssutils import data, digests, settings, training
from nssutils.companion import store
import sys
data.CACHE = Path(sys.argv[1])
setting = settings.get("resnet14-cifar10", "smoke", epochs=1)
loaded = data.load(setting)
tables = store._measured("pilot_global", setting, 0, loaded, {}).tables
print(digests.of_tensors(training.trained(setting, 0, loaded).state_dict().values()), digests.of(tables))
"""


def test_the_environments_number_of_threads_changes_no_bit(tmp_path):
    found = {
        subprocess.run(
            [sys.executable, "-c", ANY_THREADS, tmp_path / threads], cwd=files.ROOT, capture_output=True, text=True,
            check=True, env=os.environ | {name: threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")},
        ).stdout
        for threads in ("1", "3")
    }  # fmt: skip
    assert len(found) == 1


@pytest.mark.parametrize("wrong", [3, -1])
def test_a_label_that_is_no_output_is_no_error_of_the_network(wrong):
    net, y = nn.Linear(4, 3), torch.tensor([0, wrong])
    with pytest.raises(NssError, match=f"label {wrong} given, expected 0 to 2"):
        training.evaluate(net, torch.rand(2, 4), y)
    with pytest.raises(NssError, match=f"label {wrong} given, expected 0 to 2"):
        readaptation.fgsm(net, torch.rand(2, 4), y, 0.1)


def test_networks_of_tokens_are_judged_by_their_logits():
    """They were cast to the samples' type, whole numbers."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Embedding(20, 6), nn.Flatten(), nn.Linear(24, 3)).eval(), torch.randint(0, 20, (50, 4))
    y = net(x).argmax(1)
    assert torch.equal(training.logits(net, x), net(x)) and len(y.unique()) > 1
    assert training.evaluate(net, x, y) == incremental.accuracy(net, x, y) == 1


def test_what_cannot_be_judged_is_named():
    """`incremental` and reports gave a number."""
    net, x, y = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4)), torch.rand(20, 5), torch.arange(20) % 4
    one = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))
    half = {"0": torch.arange(8) < 4}
    for judge in (
        training.evaluate, incremental.accuracy, lambda net, x, y: reports.report(net, half, x, y).accuracy,
    ):  # fmt: skip
        assert judge(net, x.numpy(), y) == judge(net, x, y)
        for of, samples, labels, message in (
            (net, x, y + 9, "label 9 given, expected 0 to 3"),
            (one, x, y % 2, r"gives \(20, 1\), expected logits"),
            (net, x * torch.nan, y, "sample 0 has a value that is not finite"),
            (net, x[:0], y[:0], "expected at least one"),
        ):
            with pytest.raises(NssError, match=message):
                judge(of, samples, labels)
    for classes in ([1, 9], [-5]):
        with pytest.raises(NssError, match="expected some of 0 to 3"):
            incremental.accuracy(net, x, y, classes)
        with pytest.raises(NssError, match="expected some of 0 to 3"):
            incremental.trainable(net, half, classes, 4)
