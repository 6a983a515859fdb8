"""What a user is told of a network of his own."""

import pytest
import torch
from torch import nn
from written_networks import written

import nssutils
from nssutils import costs, models, neurons, restructuring


def test_a_report_counts_what_extraction_leaves():
    net, x = written("squeeze and excite")
    y = torch.arange(len(x)) % 4
    masks = {name: torch.arange(layer.width) % 2 == 0 for name, layer in neurons.layers(net).items()}
    found, small = nssutils.report(net, masks, x, y), restructuring.extract(net, masks)
    assert found.parameters == (models.count_parameters(net), models.count_parameters(small))
    assert found.flops == (costs.flops(net, x[:1]), costs.flops(small, x[:1]))
    assert found.layers["down"] == (4, 2, 8 * 4 + 4, 4 * 2 + 2)
    right = [(one(x).argmax(1) == y).double().mean().item() for one in (net, small)]
    assert found.accuracy == pytest.approx(right)
    lines = str(found).splitlines()
    assert lines[0].split() == ["layer", "neurons", "kept", "parameters", "kept"]
    assert any(line.startswith("down") and "2 (50%)" in line for line in lines)
    assert nssutils.report(net, masks, x).accuracy is None
    assert nssutils.report(net, masks, x.numpy()).accuracy is None  # without labels there is none to tell
    assert nssutils.report(net, masks, x.numpy(), y.tolist()) == found == nssutils.report(net, masks, [(x, y)])


def test_what_a_network_can_do_is_said_beforehand():
    net, x = written("depthwise")
    found = nssutils.supports(net, x)
    assert {what for what, value in found.items() if value is True} == found.keys() - {"nnslicer"}
    assert "NNSlicer has no rule for '_2' (ReLU6" in found["nnslicer"]
    net, x = written("something else")
    assert "no rule for 'sort'" in nssutils.supports(net, x)["deeplift"]
    assert "no hidden layer" in nssutils.supports(nn.Sequential(nn.Linear(3, 2)), torch.rand(2, 3))["layers"]


def test_the_package_has_no_other_names():
    with pytest.raises(AttributeError, match="no attribute 'reprot'"):
        getattr(nssutils, "reprot")  # noqa: B009, what is asked for is the name
