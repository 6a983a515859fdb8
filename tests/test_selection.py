"""Equal numbers, whatever the ranking."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from nssutils import NssError, models, selection


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.data())
def test_exactly_as_many_and_the_highest(values, data):
    count = data.draw(st.integers(0, len(values)))
    ties = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=len(values), max_size=len(values))))
    worth = torch.tensor(values)
    chosen = selection.top(worth, count, ties)
    assert chosen.sum() == count
    ranked = sorted(range(len(values)), key=lambda i: (-values[i], -ties[i].item(), i))
    assert chosen.nonzero().flatten().tolist() == sorted(ranked[:count])
    untied = sorted(range(len(values)), key=lambda i: (-values[i], i))
    assert selection.top(worth, count).nonzero().flatten().tolist() == sorted(untied[:count])


def test_without_zeroes_a_copy():
    net = models.build("mlp-mnist", width=0.05)
    before = net[1].weight.clone()
    gone = torch.zeros_like(before, dtype=torch.bool)
    gone[0] = True
    other = selection.without(net, {"0": gone})
    assert (other[1].weight[0] == 0).all() and torch.equal(other[1].weight[1:], before[1:])
    assert torch.equal(net[1].weight, before)
    assert selection.top(torch.ones(2, 3), 4).shape == (2, 3)


@pytest.mark.parametrize(
    "computed", [nn.utils.parametrizations.weight_norm, lambda net: prune.l1_unstructured(net, "weight", 1)]
)
def test_weights_that_are_computed_are_refused(computed):
    net = nn.Sequential(computed(nn.Linear(4, 2)))
    with pytest.raises(NssError, match="the weights of '0' are computed from others"):
        selection.without(net, {"0": torch.ones(2, 4, dtype=torch.bool)})


def test_a_mask_is_as_large_as_the_weight():
    with pytest.raises(NssError, match=r"\(4,\) given for the weight \(2, 4\) of module '0'"):
        selection.without(nn.Sequential(nn.Linear(4, 2)), {"0": torch.ones(4, dtype=torch.bool)})


def test_a_network_that_keeps_its_last_activation_is_copied():
    net = nn.Sequential(nn.Linear(4, 3))
    net.kept = net(torch.rand(2, 4))
    assert not selection.without(net, {"0": torch.ones(3, 4, dtype=torch.bool)})[0].weight.any()
