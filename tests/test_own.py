"""`nss slice`: a network in a file of one's own, its data, what is written, and what is refused."""

import re
import sys

import pytest
import torch
from PIL import Image

from nssutils import NssError, restructuring
from nssutils.companion import own, runner
from nssutils.companion.chapters import BOOK

MINE = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.SiLU(), nn.Conv2d(16, 16, 3, groups=16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2),
    )


def data():
    torch.manual_seed(1)
    return torch.rand(40, 3, 12, 12), torch.arange(40) % 2


def loader():
    return DataLoader(TensorDataset(*data()), batch_size=16)


def nothing():
    return 7
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "own_of_a_test.py").write_text(MINE)
    for label in ("cat", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(3):
            pixels = torch.randint(255, (20, 20, 3), dtype=torch.uint8).numpy()
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{i}.png")
    for label in ("cat", "dog"):
        (tmp_path / "broken" / label).mkdir(parents=True)
        (tmp_path / "broken" / label / f"{label}.png").write_text("no image")
    (tmp_path / "folder.py").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NSS_FROM", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("own_of_a_test", None)


@pytest.mark.parametrize("network", ["own_of_a_test:network", "own_of_a_test.py:network"])
@pytest.mark.parametrize("data", ["own_of_a_test:data", "own_of_a_test.py:loader", "images"])
def test_a_network_of_one_s_own_is_sliced_and_written(folder, capsys, network, data):
    assert runner.main(["slice", network, "--data", data, "--metric", "avg", "--out", "small.safetensors"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("layer") and "parameters" in printed and "accuracy" in printed
    mine = sys.modules["own_of_a_test"]
    small = restructuring.load("small.safetensors", mine.network())
    x = mine.data()[0]
    assert small(x).shape == (40, 2)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in mine.network().parameters())


def test_a_tour_of_the_chapter_s_own_file_shows_all_that_can_be_done(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NSS_FROM", str(BOOK))
    mine = f"{BOOK / 'mine.py'}"
    out = tmp_path / "small.safetensors"
    own.tour("mine.py:network", f"{mine}:data", "mine.py:more", "taylor", 0.95, out=str(out))
    lines = [re.split(r"\s{2,}", line) for line in capsys.readouterr().out.splitlines()]
    shares = {line[0]: [float(each) for each in line[1:]] for line in lines if line[0] in own.WAYS.values()}
    before, repaired = shares["as it was"], shares["critical ones trained"]
    assert repaired[0] < 50 and repaired[2] > before[2] and repaired[1] > 90
    trained, _, new, told = shares["those outside the slice trained"]
    assert trained < 100 and told == 100 and new > 50
    small = restructuring.load(out, sys.modules["mine"].network())
    assert sum(p.numel() for p in small.parameters()) < 2_000


def test_what_a_tour_cannot_do_is_named(folder):
    scaled = folder / "scaled.py"
    scaled.write_text(MINE + "\n\ndef scaled():\n    return 2 * data()[0] - 1, data()[1]\n")
    with pytest.raises(NssError, match=r"images from -.* to .* given, expected \[0, 1\]"):
        own.tour("scaled.py:network", "scaled.py:scaled")
    with pytest.raises(NssError, match="labels from 0 to 1 given for new classes, expected 2 and up"):
        own.tour("scaled.py:network", "scaled.py:data", "scaled.py:data", repair=False)


@pytest.mark.parametrize(
    "given, message",
    [
        (["own_of_a_test:net", "--data", "own_of_a_test:data"], "has no function 'net'; it has .*network"),
        (["own_of_a_test", "--data", "own_of_a_test:data"], "expected MODULE:FUNCTION or FILE.py:FUNCTION"),
        (["no_such.py:net", "--data", "own_of_a_test:data"], "there is no file .*no_such.py"),
        (["no_such:net", "--data", "own_of_a_test:data"], "no_such cannot be read"),
        (["own_of_a_test:nothing", "--data", "own_of_a_test:data"], "returns a int, expected a torch.nn.Module"),
        (["own_of_a_test:network", "--data", "own_of_a_test:nothing"], "returns a int, expected samples and labels"),
        (["own_of_a_test:network", "--data", "images/cat"], "Expected a folder for each class"),
        (["own_of_a_test:network", "--data", "own_of_a_test.py"], "is a file, expected a folder for each class"),
        (["..own:network", "--data", "own_of_a_test:data"], "..own cannot be read"),
        (["folder.py:network", "--data", "own_of_a_test:data"], "folder.py cannot be read"),
        (["own_of_a_test:network", "--data", "broken"], "cat.png is no image that can be read"),
        (["own_of_a_test:network", "--data", ""], "no data given, expected FILE.py:FUNCTION"),
        (["math:sqrt", "--data", "own_of_a_test:data"], "called without arguments: missing a required argument"),
        (["own_of_a_test:network", "--data", "own_of_a_test:data", "--metric", "tailor"], "Did you mean 'taylor'"),
        (["own_of_a_test:network", "--data", "own_of_a_test:data", "--theta", "2"], "expected a similarity in"),
    ],
)
def test_what_cannot_be_sliced_is_named_and_nothing_is_written(folder, capsys, given, message):
    assert runner.main(["slice", *given, "--out", "small.safetensors"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("nss: ") and re.search(message, said)
    assert not (folder / "small.safetensors").exists()
