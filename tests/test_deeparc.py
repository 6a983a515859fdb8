"""DeepArc: units, similarity, removal, and the parameter counts behind the paper's sentences."""

import pytest
import torch
from torch import nn

from nssutils import deeparc, models, settings


@pytest.mark.parametrize(
    "name, count", [("mlp-mnist", 2), ("alexnet-cifar10", 6), ("vgg16-cifar10", 13), ("resnet101-cifar10", 33)]
)
def test_units_are_layers_or_residual_blocks(name, count):
    assert len(deeparc.units(models.build(settings.get(name, "smoke")))) == count


@pytest.mark.parametrize(
    "name, gone, share",
    [
        ("alexnet-cifar10", ["classifier.1"], 0.8797),
        ("vgg16-cifar10", ["features.37", "features.40"], 0.3206),
        ("resnet101-cifar10", ["layer1.1", "layer3.1", "layer3.2", "layer3.3", "layer3.4"], 0.1068),
    ],
)
def test_removing_what_the_paper_removed_compresses_as_it_says(name, gone, share):
    net = models.build(name)
    found = [unit for unit in deeparc.units(net) if unit.name in gone]
    slim = deeparc.remove(net, found, torch.rand(2, 3, 32, 32))
    assert 1 - models.count_parameters(slim) / models.count_parameters(net) == pytest.approx(share, abs=5e-5)
    assert slim(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_layers_that_do_the_same_are_fully_similar_and_removed():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        net[2].weight.copy_(torch.eye(6))
        net[2].bias.zero_()
    x = torch.rand(20, 4)
    alike = deeparc.similarities(net, x)
    assert alike == pytest.approx([1.0])
    gone = deeparc.redundant(deeparc.units(net), alike)
    assert [unit.name for unit in gone] == ["2"]
    slim = deeparc.remove(net, gone, x)
    torch.testing.assert_close(slim(x), net(x))
    assert isinstance(slim[2], nn.Identity) and isinstance(net[2], nn.Linear)


def test_a_sewing_layer_recovers_a_linear_unit():
    torch.manual_seed(0)
    conv = nn.Sequential(
        nn.Conv2d(3, 5, 1), nn.ReLU(), nn.Conv2d(5, 7, 1, stride=2), nn.BatchNorm2d(7), nn.ReLU(), nn.Flatten(),
        nn.Linear(63, 2),
    ).eval()  # fmt: skip
    x = torch.rand(8, 3, 6, 6)
    slim = deeparc.remove(conv, [deeparc.units(conv)[1]], x)
    torch.testing.assert_close(slim(x), conv(x), rtol=1e-3, atol=1e-4)
    assert isinstance(slim[3], nn.Identity)


def test_an_unknown_unit_is_refused():
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with pytest.raises(deeparc.DeepArcError, match="unit '7' given, expected one of 0"):
        deeparc.remove(net, [deeparc.Unit("7", "", ("7",))], torch.rand(2, 4))
