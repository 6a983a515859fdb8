"""Networks that overwrite, share, keep, hook or fold what others do not: right, or refused by name."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from written_networks import Written

from nssutils import archive, contribution, neurons, operations, reports, restructuring, slicing


def test_samples_that_forward_changes_in_place_stay_as_they_are():
    a, head = nn.Linear(5, 6), nn.Linear(6, 3)
    moves = Written(lambda n, x: n.head(n.a(x.sub_(0.5)).relu()), a=a, head=head)
    makes = Written(lambda n, x: n.head(n.a(x - 0.5).relu()), a=a, head=head)
    x, y = torch.rand(9, 5), torch.arange(9) % 3
    given = x.clone()
    found, wanted = contribution.score(moves, given, y), contribution.score(makes, x, y)
    assert torch.equal(given, x)
    for metric in wanted:
        torch.testing.assert_close(found[metric]["a"], wanted[metric]["a"])
    masks = {"a": torch.arange(6) < 3}
    small = restructuring.extract(moves, masks)
    with neurons.masked(makes, masks):
        torch.testing.assert_close(small(x.clone()), makes(x))
    assert reports.supports(moves, given) and torch.equal(given, x)


@pytest.mark.parametrize(
    "forward, t",
    [
        (lambda n, x: n.head(n.a(x.reshape(-1, 5)).relu().view(-1, 7, 6).mean(1)), 7),
        (lambda n, x: n.head(n.a(x.transpose(0, 1)).relu().mean(0)), 7),
        (lambda n, x: n.head(n.a(x[:, :2].transpose(0, 1)).relu().mean(0)), 2),
    ],
)
@pytest.mark.parametrize("metric", ["var", "taylor", "deeplift"])
def test_rows_that_are_no_samples_are_refused_by_every_metric(forward, t, metric):
    """Also where there are as many of them as samples."""
    net, x = Written(forward, a=nn.Linear(5, 6), head=nn.Linear(6, 3)), torch.rand(t, 7, 5)
    with pytest.raises(operations.UnsupportedNetwork, match="which rows are whose cannot be told"):
        contribution.score(net, x, torch.arange(len(x)) % 2, [metric], taylor="gate")
    with pytest.raises(operations.UnsupportedNetwork, match="which rows are whose cannot be told"):
        neurons.record(net, x)


def test_samples_that_look_at_each_other_have_no_deeplift():
    net = Written(lambda n, x: n.head((y := n.a(x).relu()) - y.mean(0)), a=nn.Linear(5, 6), head=nn.Linear(6, 3))
    x, y = torch.rand(6, 5), torch.arange(6) % 3
    with pytest.raises(contribution.ContributionError, match="depend on the other samples"):
        contribution.deeplift(net, x, y)
    with pytest.raises(contribution.ContributionError, match="depend on the other samples"):
        contribution.score(net, x, y)
    contribution.score(net, x, y, ["avg", "taylor"])


def test_what_is_infinite_is_masked_and_compared():
    hidden = Written(lambda n, x: n.head(torch.log(n.a(x).relu())), a=nn.Linear(5, 6), head=nn.Linear(6, 3))
    x, masks = torch.rand(4, 5), {"a": torch.arange(6) < 3}
    with torch.no_grad():
        hidden.a.bias[:3].fill_(9)
        hidden.a.bias[3:].fill_(-9)
    small = restructuring.extract(hidden, masks)
    with neurons.masked(hidden, masks):
        assert hidden(x).isfinite().all()
        torch.testing.assert_close(small(x), hidden(x))
    never = torch.tensor([False, False, True])
    closed = Written(lambda n, x: n.head(n.a(x).relu()).masked_fill(never, -torch.inf),
                     a=nn.Linear(5, 6), head=nn.Linear(6, 3))  # fmt: skip
    assert restructuring.extract(closed, masks)(x)[:, 2].isinf().all()


def test_extraction_leaves_a_spectral_norm_of_a_network_in_training_as_it_is():
    net = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(40, 50)), nn.ReLU(), nn.Linear(50, 3)).train()
    before, masks, x = copy.deepcopy(net.state_dict()), {"0": torch.arange(50) % 2 == 0}, torch.rand(6, 40)
    small = restructuring.extract(net, masks)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items()) and net.training
    with neurons.masked(net.eval(), masks):
        torch.testing.assert_close(small(x), net(x))


def test_tied_weights_are_not_untied():
    net = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    net[2].weight = net[0].weight
    masks, x = {"0": torch.arange(6) < 5}, torch.rand(4, 6)
    with pytest.raises(operations.UnsupportedNetwork, match="'0' and '2' share a parameter"):
        restructuring.extract(net, masks)
    small = restructuring.extract(net, masks, fold=True)
    with neurons.masked(net, masks):
        torch.testing.assert_close(small(x), net(x))
    whole = restructuring.extract(net, {"0": torch.ones(6, dtype=torch.bool)})
    assert whole[2].weight is whole[0].weight


@pytest.mark.parametrize("check", [True, False])
def test_numbers_that_forward_reads_off_its_modules_stay_the_whole_network_s(check):
    net = Written(
        lambda n, x: n.head(n.b(n.a(x * n.a.gain).relu()).relu() * n.b.in_features**-0.5),
        a=nn.Linear(5, 6), b=nn.Linear(6, 6), head=nn.Linear(6, 3),
    )  # fmt: skip
    net.a.gain = 2.0
    masks, x = {"a": torch.arange(6) < 3}, torch.rand(4, 5)
    small = restructuring.extract(net, masks, check=check)
    with neurons.masked(net, masks):
        torch.testing.assert_close(small(x), net(x))


def test_one_neuron_that_is_left_is_not_squeezed_away():
    net = Written(lambda n, x: n.head(F.adaptive_avg_pool2d(n.a(x).relu(), 1).squeeze()),
                  a=nn.Conv2d(3, 6, 3), head=nn.Linear(6, 3))  # fmt: skip
    x, masks = torch.rand(4, 3, 8, 8), {"a": torch.arange(6) == 2}
    small = restructuring.extract(net, masks)
    with neurons.masked(net, masks):
        torch.testing.assert_close(small(x), net(x))


def test_a_sum_that_is_called_an_average_is_none_of_constants():
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(6),
        nn.AvgPool2d(2, divisor_override=1), nn.Flatten(), nn.Linear(24, 3),
    ).eval()  # fmt: skip
    nn.init.ones_(net[3].bias)
    x, masks = torch.rand(2, 3, 8, 8), {"0": torch.arange(6) < 3}
    small = restructuring.extract(net, masks, x=x, check=False)
    with neurons.masked(net, masks):
        torch.testing.assert_close(small(x), net(x))


def test_folding_passes_over_what_it_cannot_fold():
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))
    computed = nn.Sequential(
        nn.Linear(5, 6), nn.ReLU(), normed, nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)
    ).eval()
    tokens = nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)
    ).eval()
    tokens[1].running_mean.normal_()
    for net, name, x in ((computed, "5", torch.rand(4, 5)), (tokens, "3", torch.rand(4, 6, 5))):
        masks = {name: torch.arange(6) < 3}
        small = restructuring.extract(net, masks, fold=True, x=x, check=False)
        with neurons.masked(net, masks):
            torch.testing.assert_close(small(x), net(x))


def test_what_a_network_keeps_of_its_last_call_is_copied():
    def keeping(n, x):
        n.seen = n.a(x).relu()
        return n.head(n.seen)

    net, masks, x = (
        Written(keeping, a=nn.Linear(5, 6), head=nn.Linear(6, 3)),
        {"a": torch.arange(6) < 3},
        torch.rand(4, 5),
    )
    net(x)
    small = restructuring.extract(net, masks)
    with neurons.masked(net, masks):
        torch.testing.assert_close(small(x), net(x))


def test_attention_weights_that_are_read_have_no_deeplift():
    net = Written(
        lambda n, x: (lambda y: n.head((y[1] @ y[0]).mean(1)))(n.at(t := n.a(x).relu(), t, t)), a=nn.Linear(5, 6),
        at=nn.MultiheadAttention(6, 2, batch_first=True), head=nn.Linear(6, 3),
    )  # fmt: skip
    assert "whose weights are read" in reports.supports(net, torch.rand(2, 4, 5))["deeplift"]


def test_an_addition_under_autocast_is_extracted():
    net = Written(lambda n, x: n.head((t := F.softplus(n.a(x)).float()) + n.b(t).relu()),
                  a=nn.Linear(5, 6), b=nn.Linear(6, 6), head=nn.Linear(6, 3)).eval()  # fmt: skip
    small, x = restructuring.extract(net, {"a": torch.arange(6) < 5, "b": torch.arange(6) < 3}), torch.rand(4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert small(x).shape == (4, 3)


def test_a_file_brings_back_hooks_and_keys_and_draws_nothing(tmp_path):
    def made():
        net = nn.Sequential(
            nn.Linear(5, 6), nn.ReLU(), nn.Dropout(0.1), nn.utils.spectral_norm(nn.Linear(6, 6)), nn.ReLU(),
            nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3),
        )  # fmt: skip
        net[2].register_forward_hook(lambda module, given, y: 2 * y)
        return net.eval()

    net, x, masks = made(), torch.rand(4, 5), {"5": torch.arange(6) < 3}
    small = restructuring.extract(net, masks)
    restructuring.save(small, tmp_path / "hooked")
    state = torch.get_rng_state()
    torch.testing.assert_close(restructuring.load(tmp_path / "hooked", net)(x), small(x))
    assert torch.equal(torch.get_rng_state(), state)
    net = Written(
        lambda n, x: {0: n.head((y := n.a(x).relu()).cumsum(1)), "y": y}, a=nn.Linear(5, 6), head=nn.Linear(6, 3)
    )
    restructuring.save(restructuring.extract(net, {"a": torch.arange(6) < 3}), tmp_path / "keys")
    assert list(restructuring.load(tmp_path / "keys", net)(x)) == [0, "y"]
    net = Written(lambda n, x: n.head(n.d["conv-1"](x).relu().cumsum(1)), d=nn.ModuleDict({"conv-1": nn.Linear(5, 6)}),
                  head=nn.Linear(6, 3))  # fmt: skip
    with pytest.raises(archive.ArchiveError, match=r"'d\.conv-1', which a file cannot"):
        restructuring.save(restructuring.extract(net, {"d.conv-1": torch.arange(6) < 3}), tmp_path / "names")


class Auxiliary(nn.Module):
    """Two outputs, of which the network around takes one, as of torchvision's segmentation."""

    def __init__(self):
        super().__init__()
        self.conv, self.deep, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 4)
        self.aux, self.aux_head = nn.Conv2d(6, 5, 1), nn.Linear(5, 4)

    def forward(self, x):
        y = self.conv(x).relu()
        aux = self.aux_head(self.aux(y).relu().mean((2, 3)))
        return {"out": self.head(self.deep(y).relu().mean((2, 3))), "aux": aux}


def test_a_branch_that_the_output_does_not_need_has_no_neurons():
    """DeepLIFT and NNSlicer ended in torch's words, and so did supports()."""
    torch.manual_seed(0)
    net, x, y = (
        Written(lambda n, x: n.net(x)["out"], net=Auxiliary()).eval(),
        torch.rand(8, 3, 9, 9),
        torch.arange(8) % 4,
    )
    assert list(neurons.layers(net, x)) == ["net.conv", "net.deep"]
    assert set(reports.supports(net, x).values()) == {True}
    sliced = slicing.semantic_slice(net, x, y)
    with neurons.masked(net, sliced):
        masked = net(x)
    torch.testing.assert_close(restructuring.extract(net, sliced, x=x)(x), masked)


def test_what_takes_no_gradient_has_taylor_scores_by_the_gate():
    torch.manual_seed(0)
    net = Written(lambda n, x: n.b(n.a(n.table(x)).relu().mean(1)), table=nn.Embedding(9, 5), a=nn.Linear(5, 6),
                  b=nn.Linear(6, 3))  # fmt: skip
    x, y = torch.randint(0, 9, (8, 4)), torch.arange(8) % 3
    value = net.a(net.table(x)).relu()
    (gradient,) = torch.autograd.grad(F.cross_entropy(net.b(value.mean(1)), y, reduction="sum"), value)
    each = (value * gradient).sum(1).double().square()
    expected = torch.stack([each[y == c].mean(0) for c in range(3)]).detach()
    torch.testing.assert_close(contribution.score(net, x, y, "taylor", taylor="gate")["taylor"]["a"].double(), expected)


@pytest.mark.parametrize("other", [lambda n, y: F.adaptive_avg_pool2d(n.b(y), 1), lambda n, y: n.one(y)])
def test_nnslicer_names_an_addition_that_broadcasts(other):
    net = Written(lambda n, x: n.head(((y := n.a(x).relu()) + other(n, y)).relu().mean((2, 3))),
                  a=nn.Conv2d(2, 6, 3), b=nn.Conv2d(6, 6, 1), one=nn.Conv2d(6, 1, 1), head=nn.Linear(6, 3))  # fmt: skip
    assert "no rule for the addition" in reports.supports(net.eval(), torch.rand(4, 2, 8, 8))["nnslicer"]
