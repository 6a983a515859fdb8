"""What a user does with a network of his own, one thing after another: nothing is lost, moved or counted wrong on the
way."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from written_networks import Written

from nssutils import (
    NssError,
    attacks,
    contribution,
    costs,
    deeparc,
    detection,
    freezing,
    graphs,
    heads,
    incremental,
    neurons,
    nnslicer,
    readaptation,
    reports,
    restructuring,
    samples,
    slicing,
    training,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def sgd(some):
    return torch.optim.SGD(some, 0.05, momentum=0.9, weight_decay=0.01)


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.n1, self.n2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x):
        return (x + self.n2(self.c2(self.n1(self.c1(x)).relu()))).relu()


def residual() -> nn.Sequential:
    stem = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
    return nn.Sequential(*stem, Block(8), Block(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()


IMAGES, LABELS = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(24) % 3


def test_an_extracted_network_is_sliced_again():
    """Its second convolutions once had no neurons, and DeepLIFT no rule: branches that keep other channels are added by
    index."""
    net = residual()
    kept = {name: torch.rand(layer.width) < 0.6 for name, layer in neurons.layers(net).items()}
    kept = {name: mask | (torch.arange(len(mask)) == 0) for name, mask in kept.items()}
    small = restructuring.extract(net, kept)
    assert any(node.target is torch.index_add for node in small.graph.nodes)
    assert neurons.layers(small).keys() == neurons.layers(net).keys()
    again = slicing.semantic_slice(small, IMAGES, LABELS, theta=0.8)
    smaller = restructuring.extract(small, again)
    with torch.no_grad(), neurons.masked(small, again):
        assert torch.allclose(small(IMAGES), smaller(IMAGES), atol=1e-5)
    target = torch.zeros(len(IMAGES), dtype=torch.int64)
    shares = contribution.deeplift(small, IMAGES, target)["3.c1"]
    assert shares.shape == (24, int(kept["3.c1"].sum()))
    first = contribution.deeplift(small, IMAGES, target)["0"].double().sum(1)
    with torch.no_grad():
        change = (small(IMAGES) - small(torch.zeros(1, 1, 8, 8)))[:, 0].double()
    assert torch.allclose(first, change, atol=1e-4)  # complete: all goes through the first layer


@pytest.mark.parametrize(
    ("net", "shape", "expected"),
    [
        (nn.LSTM(4, 6, batch_first=True), (2, 5, 4), 2 * 2 * 5 * (4 + 6) * 24),
        (nn.GRU(4, 6, batch_first=True), (2, 5, 4), 2 * 2 * 5 * (4 + 6) * 18),
        (Written(lambda m, x: F.scaled_dot_product_attention(x, x, x)), (2, 5, 4), 2 * 2 * (2 * 5 * 5 * 4)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (1, 5, 8),
         2 * 5 * (8 * 24 + 8 * 8 + 2 * 8 * 16) + 2 * (2 * 5 * 5 * 8)),
    ],
)  # fmt: skip
def test_operations_within_attention_and_recurrence_count(net, shape, expected):
    fast = torch.backends.mha.get_fastpath_enabled()
    assert costs.flops(net, torch.rand(shape)) == expected
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert costs.flops(net, torch.rand(shape), kernels=False) <= expected


def test_one_output_has_no_taylor_scores_and_no_attack():
    """They were all zero, and the slice went by the neurons' places."""
    net, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)), torch.rand(8, 4)
    with pytest.raises(contribution.ContributionError, match="one output"):
        contribution.score(net, x, None, "taylor")
    assert contribution.score(net, x, None, "deeplift")["deeplift"]["0"].abs().sum() > 0
    for attack in (readaptation.fgsm, readaptation.pgd, detection.pgd_l2):
        with pytest.raises(training.TrainingError, match=r"gives \(8, 1\)"):
            attack(net, x, torch.zeros(8, dtype=torch.int64), 0.1)
    for judged in (lambda: training.evaluate(net, x, torch.zeros(8)), lambda: reports.report(net, {}, x, [0] * 8)):
        with pytest.raises(NssError, match="two classes at least"):
            judged()


def test_task_a_passes_in_eval_mode_whatever_mode_the_network_is_in():
    def dropping(m, x):
        return m.h(F.dropout(m.a(x).relu(), 0.5, m.training))

    start, x, y = Written(dropping, a=nn.Linear(4, 6), h=nn.Linear(6, 4)), torch.rand(16, 4), torch.arange(16) % 4
    found = []
    for training_mode in (True, False):
        net = copy.deepcopy(start).train(training_mode)
        state = torch.get_rng_state()
        elements = freezing.whole(net, ["h"])
        incremental.learn(net, x, y, elements, epochs=2, batch_size=8, critical={}, task_a=torch.arange(2))
        assert torch.equal(torch.get_rng_state(), state)
        found.append(net.h.weight.detach())
    assert torch.equal(*found)


def test_the_elements_of_a_module_are_those_of_its_tied_weights_too():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    assert set(freezing.whole(net, ["2"])) == {"0.weight", "2.bias"}
    net.add_module("again", net[0])
    assert set(freezing.whole(net, ["again"])) == {"0.weight", "0.bias"}


def _loss(net, x):
    return lambda batch: net(x[batch]).square().sum()


def test_a_mask_of_numbers_moves_nothing():
    net, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), torch.rand(8, 4)
    net[0].weight.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(freezing.FreezingError, match=r"torch\.float32, expected torch\.bool"):
        freezing.tune(net, {"0.weight": torch.ones(6, 4)}, _loss(net, x), 8, sgd, epochs=1, batch_size=4)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [p.requires_grad for p in net.parameters()] == [False, True, True, True]


def test_parameters_in_the_same_memory_do_not_move_each_other():
    net, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), torch.rand(8, 4)
    net[2].weight.data = net[0].weight.data
    with pytest.raises(freezing.FreezingError, match="have the same memory"):
        freezing.tune(net, freezing.whole(net, ["2"]), _loss(net, x), 8, sgd, epochs=1, batch_size=4)


def test_a_loss_that_is_not_finite_moves_nothing():
    net, x = nn.Sequential(nn.Linear(4, 3)), torch.rand(8, 4)
    before = net[0].weight.detach().clone()
    with pytest.raises(freezing.DivergedError):
        freezing.tune(
            net, freezing.whole(net), lambda batch: net(x[batch]).sum() * torch.inf, 8, sgd, epochs=1, batch_size=4
        )
    assert torch.equal(net[0].weight, before)


def test_a_normalisation_does_not_count_passes_of_shapes():
    def asks(m, x):
        assert x.shape[1] == 4  # so that it is read off beside an example
        return m.h(m.n(m.a(x)).relu())

    net = Written(asks, a=nn.Linear(4, 6), n=nn.BatchNorm1d(6, momentum=None), h=nn.Linear(6, 3)).train()
    neurons.layers(net, torch.rand(2, 4))
    freezing.head(net, torch.rand(2, 4))
    assert net.n.num_batches_tracked == 0


def test_the_samples_stay_what_a_network_overwrites_its_input():
    net = Written(lambda m, x: m.h(m.a(x.sub_(0.5)).relu()), a=nn.Linear(4, 6), h=nn.Linear(6, 3))
    x, y = torch.rand(8, 4), torch.arange(8) % 3
    before = x.clone()
    training.evaluate(net, x, y)
    costs.flops(net, x)
    reports.report(net, {"a": torch.arange(6) < 4}, x, y)
    readaptation.fgsm(net, x, y, 0.1)
    moved = detection.pgd_l2(net, x, y, 0.1)
    assert torch.equal(x, before) and not torch.equal(moved, x)


def test_a_head_is_given_rows_where_they_are_its_own():
    def head(net):
        return incremental.widened(net, 2, torch.rand(2, 4))

    def behind(what):
        return Written(lambda m, x: what(m.h(m.a(x).relu())), a=nn.Linear(4, 6), h=nn.Linear(6, 3))

    net = behind(lambda logits: logits)
    net.h.weight.requires_grad_(False)
    wide = head(net)
    assert not wide.h.weight.requires_grad and wide.h.bias.requires_grad
    assert torch.allclose(wide(torch.ones(1, 4))[:, :3], net(torch.ones(1, 4)))
    with pytest.raises(freezing.FreezingError, match="they are 3, expected 5"):
        head(behind(lambda logits: logits[:, :3]))
    with pytest.raises(freezing.FreezingError, match="it fails"):
        head(behind(lambda logits: logits * torch.arange(3)))
    computed = behind(lambda logits: logits)
    torch.nn.utils.parametrizations.spectral_norm(computed.h)
    with pytest.raises(NssError, match="computed from others"):
        head(computed)
    tied = Written(lambda m, x: m.h(m.a(x).relu()), a=nn.Linear(6, 6), h=nn.Linear(6, 6))
    tied.h.weight = tied.a.weight
    with pytest.raises(NssError, match="shares its weights with 'a'"):
        incremental.widened(tied, 2, torch.rand(2, 6))
    for count in (-1, 1.5):
        with pytest.raises(NssError, match="expected a whole number"):
            incremental.widened(net, count)


@pytest.mark.parametrize("classes", [[3], [], 1, [0.5], [True, False]])
def test_rows_that_a_head_does_not_have_are_refused(classes):
    with pytest.raises(NssError, match="expected some of 0 to 2"):
        incremental.of_task(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), classes)


def test_an_extracted_network_is_not_read_into_one_that_computes_otherwise(tmp_path):
    def network(slope):
        return nn.Sequential(nn.Linear(4, 6), nn.LeakyReLU(slope), nn.Linear(6, 3))

    net = network(0.3)
    restructuring.save(restructuring.extract(net, {"0": torch.arange(6) < 4}), tmp_path / "a")
    restructuring.load(tmp_path / "a", network(0.3))
    with pytest.raises(NssError, match=r"'1' is LeakyReLU\(negative_slope=0.01\)"):
        restructuring.load(tmp_path / "a", network(0.01))


def test_a_report_counts_computed_and_tied_weights():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    torch.nn.utils.parametrizations.weight_norm(net[0])
    net[4].weight = nn.Parameter(torch.rand(3, 4))
    found = reports.report(net, {"0": torch.ones(4, dtype=torch.bool)}, torch.rand(2, 4))
    assert found.layers["0"][2] == 4 + 4 + 16  # bias, lengths, directions


def test_synapses_of_a_module_that_is_called_twice_add_up():
    a, b, h = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
    twice = Written(lambda m, x: m.h(m.b(m.b(m.a(x).relu()).relu()).relu()), a=a, b=b, h=h)
    apart = Written(
        lambda m, x: m.h(m.c(m.b(m.a(x).relu()).relu()).relu()), a=a, b=b, c=copy.deepcopy(b), h=h
    )  # fmt: skip
    x = torch.rand(6, 4)
    one, two = (nnslicer.contributions(net, x, LABELS[:6], nnslicer.profile(net, x)) for net in (twice, apart))
    assert torch.equal(one.synapses["b"], two.synapses["b"] + two.synapses["c"])


def test_a_masked_network_uses_the_weights_that_it_has():
    net = Written(lambda m, x: m.h(m.a(x).relu()) * m.scale, a=nn.Linear(4, 6), h=nn.Linear(6, 3))
    net.scale = nn.Parameter(torch.ones(3))
    x, mask = torch.rand(2, 4), {"a": torch.arange(6) < 4}
    with torch.no_grad(), neurons.masked(net, mask):
        before = net(x)
        double = {**dict(net.named_parameters()), "scale": torch.full((3,), 2.0)}
        assert torch.allclose(torch.func.functional_call(net, double, (x,)), 2 * before)
        net.scale = nn.Parameter(torch.full((3,), 3.0))
        assert torch.allclose(net(x), 3 * before)


def test_outputs_of_any_kind_are_compared():
    assert graphs.differ(torch.tensor([1, 2]), torch.tensor([1, 3])) == "1 of 2 whole numbers differ"
    assert graphs.differ(torch.tensor([True]), torch.tensor([True])) == ""
    assert "no tensor" in graphs.differ(SimpleNamespace(logits=torch.ones(2)), SimpleNamespace(logits=torch.ones(2)))


def test_an_attention_that_two_places_share_is_opened_in_both():
    shared = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(m, x):
        for attention in (m.one, m.two):
            x = x + attention(x, x, x, need_weights=False)[0]
        return m.h(x.mean(1))

    net, x = Written(forward, one=shared, two=shared, h=nn.Linear(8, 3)).eval(), torch.rand(2, 5, 8)
    opened = heads.opened(net, x)
    assert opened.one is opened.two
    assert sum(p.numel() for p in opened.parameters()) == sum(p.numel() for p in net.parameters())


def test_a_sewing_layer_has_the_network_s_precision_and_draws_nothing():
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    x, state = torch.rand(32, 4, dtype=torch.float64), torch.get_rng_state()
    slim = deeparc.remove(net, deeparc.units(net, x)[1:2], x)
    assert slim(x).dtype == torch.float64 and torch.equal(torch.get_rng_state(), state)


def test_pgd_within_a_distance_takes_vectors():
    net, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), torch.rand(8, 4)
    moved = detection.pgd_l2(net, x, (torch.arange(8) % 3).tolist(), eps=0.05)
    assert moved.shape == x.shape and (moved - x).norm(dim=1).max() <= 0.05 * 2 + 1e-6


def test_batches_of_other_shapes_are_named():
    batches = [(torch.rand(2, 4), torch.tensor([0, 0])), (torch.rand(2, 5), torch.tensor([0, 0]))]
    with pytest.raises(samples.SampleError, match=r"\(4,\) and \(5,\)"):
        list(samples.by_class(batches, None, 1, 3))
    with pytest.raises(samples.SampleError, match=r"\(4,\) and \(5,\)"):
        samples.first(batches, None, 1, 4)


@pytest.mark.parametrize("argument", [{"n_classes": "3"}, {"n_classes": 3.0}, {"batch_size": 2.5}])
def test_a_number_of_another_kind_is_named(argument):
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with pytest.raises(samples.SampleError, match="expected a whole number"):
        contribution.score(net, torch.rand(3, 4), torch.arange(3), "avg", **argument)


def test_outputs_in_a_tuple_are_named():
    net = Written(lambda m, x: (m.h(m.a(x).relu()), x), a=nn.Linear(4, 6), h=nn.Linear(6, 3))
    assert "tuple" in reports.supports(net, torch.rand(2, 4))["nnslicer"]
    with pytest.raises(training.TrainingError, match="tuple"):
        training.evaluate(net, torch.rand(2, 4), torch.zeros(2))


def test_there_is_one_error_of_attacks():
    assert attacks.AttackError is readaptation.AttackError
