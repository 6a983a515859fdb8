"""The closed form of every prefix's CKA against the CKA of that prefix, computed as printed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal import cka, landscape

from nssutils import NssError, similarity


@given(
    n=st.integers(2, 12), width=st.integers(1, 9), spatial=st.integers(1, 4), centred=st.booleans(),
    dead=st.booleans(), seed=st.integers(0, 10_000),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_every_prefix_equals_its_literal_cka(n, width, spatial, centred, dead, seed):
    generator = torch.Generator().manual_seed(seed)
    acts = torch.randn(n, width, spatial, generator=generator).relu()
    if dead:
        acts[:, seed % width] = 0
    order = torch.randperm(width, generator=generator)
    whole = landscape(acts, centred)
    expected = torch.tensor([cka(landscape(acts[:, order[:k]], centred), whole) for k in range(1, width + 1)])
    found = similarity.prefix_cka(acts, order, centred).float()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spatial", [1, 5])
def test_the_size_of_blocks_does_not_change_the_curve(monkeypatch, spatial):
    acts, order = torch.randn(10, 7, spatial), torch.randperm(7)
    whole = similarity.prefix_cka(acts, order)
    monkeypatch.setattr(similarity, "_BLOCK", 1)
    torch.testing.assert_close(similarity.prefix_cka(acts, order), whole)


def test_the_whole_layer_has_cka_one():
    assert similarity.prefix_cka(torch.rand(20, 6), torch.arange(6))[-1].item() == pytest.approx(1)


def test_a_layer_that_does_not_vary_is_represented_by_any_neuron():
    assert similarity.prefix_cka(torch.ones(5, 3), torch.arange(3)).tolist() == [1, 1, 1]


def test_neurons_that_do_not_vary_represent_nothing_of_a_layer_that_does():
    acts = torch.zeros(5, 2)
    acts[:, 1] = torch.arange(5)
    assert similarity.prefix_cka(acts, torch.tensor([0, 1])).tolist() == pytest.approx([0, 1])


def test_centred_cka_ignores_a_constant_and_the_printed_one_does_not():
    acts = torch.rand(30, 4)
    order = torch.arange(4)
    torch.testing.assert_close(similarity.prefix_cka(acts + 3, order), similarity.prefix_cka(acts, order))
    raised = similarity.prefix_cka(acts + 3, order, centred=False)
    assert (raised > similarity.prefix_cka(acts, order, centred=False))[:-1].all()


def test_an_order_that_is_no_permutation_is_refused():
    with pytest.raises(NssError, match="expected a permutation of the 3 neurons"):
        similarity.prefix_cka(torch.rand(5, 3), torch.tensor([0, 1, 1]))
