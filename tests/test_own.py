"""`nss slice`: a network in a file of one's own, its data, what is written, and what is refused."""

import re
import sys

import pytest
import torch
from PIL import Image

from nssutils import restructuring
from nssutils.companion import runner

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
    monkeypatch.chdir(tmp_path)
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


@pytest.mark.parametrize(
    "given, message",
    [
        (["own_of_a_test:net", "--data", "own_of_a_test:data"], "has no function 'net'; it has .*network"),
        (["own_of_a_test", "--data", "own_of_a_test:data"], "expected MODULE:FUNCTION or FILE.py:FUNCTION"),
        (["no_such.py:net", "--data", "own_of_a_test:data"], "there is no file no_such.py"),
        (["no_such:net", "--data", "own_of_a_test:data"], "no_such cannot be read"),
        (["own_of_a_test:nothing", "--data", "own_of_a_test:data"], "returns a int, expected a torch.nn.Module"),
        (["own_of_a_test:network", "--data", "own_of_a_test:nothing"], "returns a int, expected samples and labels"),
        (["own_of_a_test:network", "--data", "images/cat"], "Expected a folder for each class"),
        (["own_of_a_test:network", "--data", "own_of_a_test:data", "--metric", "tailor"], "Did you mean 'taylor'"),
        (["own_of_a_test:network", "--data", "own_of_a_test:data", "--theta", "2"], "expected a similarity in"),
    ],
)
def test_what_cannot_be_sliced_is_named_and_nothing_is_written(folder, capsys, given, message):
    assert runner.main(["slice", *given, "--out", "small.safetensors"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("nss: ") and re.search(message, said)
    assert not (folder / "small.safetensors").exists()
