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


@pytest.mark.parametrize("spatial", [1, 4])
def test_several_orders_give_a_curve_each(spatial):
    acts, orders = torch.rand(12, 7, spatial), torch.stack([torch.randperm(7) for _ in range(3)])
    curves = torch.stack([similarity.prefix_cka(acts, order) for order in orders])
    assert torch.equal(similarity.prefix_cka(acts, orders), curves)


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


@pytest.mark.parametrize(
    ("acts", "order", "message"),
    [
        (torch.full((4, 3), torch.nan), [0, 1, 2], "not finite"),  # its curve was 0
        (torch.rand(4, 3, 2, 2), [0, 1, 2], r"\(4, 3, 2, 2\) given"),
        (torch.rand(3), [0, 1, 2], r"\(3,\) given"),
        (torch.rand(4, 3), [0.0, 1.0, 2.0], "a permutation of the 3 neurons"),
    ],
)
def test_what_no_curve_can_be_made_of_is_refused(acts, order, message):
    with pytest.raises(similarity.SimilarityError, match=message):
        similarity.prefix_cka(acts, torch.tensor(order))


def test_an_order_that_is_no_permutation_is_refused():
    with pytest.raises(NssError, match="expected a permutation of the 3 neurons"):
        similarity.prefix_cka(torch.rand(5, 3), torch.tensor([0, 1, 1]))


def literal_hsic(k, m):
    """HSIC_1 as a sum over triples of different samples, term by term (Song et al. 2012)."""
    n = len(k)
    trace = sum(k[i, j] * m[i, j] for i in range(n) for j in range(n) if i != j)
    means = sum(k[i, j] for i in range(n) for j in range(n) if i != j)
    means = means * sum(m[i, j] for i in range(n) for j in range(n) if i != j)
    cross = sum(
        k[i, j] * m[j, q] for i in range(n) for j in range(n) for q in range(n) if i != j and j != q
    )  # fmt: skip
    return (trace + means / ((n - 1) * (n - 2)) - 2 / (n - 2) * cross) / (n * (n - 3))


@given(n=st.integers(4, 7), centred=st.booleans(), seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_debiased_cka_equals_the_literal_one(n, centred, seed):
    generator = torch.Generator().manual_seed(seed)
    batches = [
        (
            similarity.gram(torch.randn(n, 3, generator=generator), centred),
            similarity.gram(torch.randn(n, 5, generator=generator), centred),
        )
        for _ in range(2)
    ]
    for k, m in batches:
        torch.testing.assert_close(similarity.hsic(k, m), literal_hsic(k, m))
    both, first, second = (
        sum(literal_hsic(*pair).item() for pair in pairs)
        for pairs in (batches, [(k, k) for k, _ in batches], [(m, m) for _, m in batches])
    )
    assert similarity.minibatch_cka(batches) == pytest.approx(both / (first * second) ** 0.5)
    # Adding a constant to every feature changes a landscape that is not centred, and not the estimate.
    moved = torch.randn(n, 3, generator=generator).double()
    raised = (similarity.gram(moved + 5, False), similarity.gram(moved, False))
    torch.testing.assert_close(*(similarity.hsic(each, batches[0][1]) for each in raised))


def test_debiased_cka_is_one_for_the_same_features_turned_and_scaled():
    features = torch.randn(20, 6)
    turn, _ = torch.linalg.qr(torch.randn(6, 6))
    pair = similarity.gram(features), similarity.gram(3 * features @ turn)
    assert similarity.minibatch_cka([pair]) == pytest.approx(1, abs=1e-6)


def test_debiased_cka_of_independent_features_is_near_zero_where_the_biased_one_is_not():
    generator = torch.Generator().manual_seed(0)
    batches = [tuple(similarity.gram(torch.randn(32, 500, generator=generator)) for _ in range(2)) for _ in range(10)]
    assert abs(similarity.minibatch_cka(batches)) < 0.02
    assert similarity.cka(*batches[0]) > 0.9  # few samples, many features


def test_debiased_cka_of_features_that_do_not_vary_is_zero():
    assert similarity.minibatch_cka([(torch.zeros(5, 5), similarity.gram(torch.rand(5, 2)))]) == 0


def test_landscapes_that_cannot_be_compared_are_refused():
    with pytest.raises(similarity.SimilarityError, match="of 3 samples given, expected at least 4"):
        similarity.hsic(torch.eye(3), torch.eye(3))
    with pytest.raises(similarity.SimilarityError, match=r"\(5, 5\) and \(4, 4\) given, expected both"):
        similarity.hsic(torch.eye(5), torch.eye(4))
    with pytest.raises(similarity.SimilarityError, match=r"\(4, 4\) and \(1, 4\) given, expected both"):
        similarity.cka(torch.eye(4), torch.ones(1, 4))
