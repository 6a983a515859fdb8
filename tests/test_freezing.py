"""Training some parameters: the ones that count, exactly, and every other bit as it was."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from written_networks import Written

from nssutils import NssError, freezing, models, neurons, settings

OPTIMISERS = {
    "sgd": lambda some: torch.optim.SGD(some, 0.05, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adamw": lambda some: torch.optim.AdamW(some, 1e-3, weight_decay=0.1),
}


def random_masks(net: nn.Module, seed: int = 0, share: float = 0.6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    masks = {name: torch.rand(layer.width, generator=generator) < share for name, layer in neurons.layers(net).items()}
    for mask in masks.values():
        mask[0] = True
    return masks


def conv_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1),
        nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(8, 4),
    )  # fmt: skip


def tuned(net, trainable, optimiser="sgd", n=24, epochs=3, **options):
    x = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    y = torch.arange(n) % 4
    loss = lambda batch: F.cross_entropy(net(x[batch]), y[batch])  # noqa: E731
    return freezing.tune(net, trainable, loss, n, OPTIMISERS[optimiser], epochs=epochs, batch_size=8, **options)


@pytest.mark.parametrize("name", settings.NAMES)
def test_connecting_elements_are_those_that_are_counted(name):
    net = models.build(settings.get(name, "smoke"))
    masks = random_masks(net)
    assert freezing.count(freezing.connecting(net, masks)) == neurons.count_kept(net, masks)


@given(st.integers(1, 512), st.integers(1, 256))
def test_the_mlp_s_count_in_closed_form(a, b):
    net = models.build("mlp-mnist")
    masks = {"0": torch.arange(512) < a, "2": torch.arange(256) < b}
    assert freezing.count(freezing.connecting(net, masks)) == 785 * a + b * (a + 1) + 10 * (b + 1)


def test_tpr_of_table_5_from_the_neurons_it_stands_for():
    """26.74% and 24.17% for (165, 78) critical neurons, 49.26% and 40.29% for (275, 168)."""
    net = models.build("mlp-mnist")
    for a, b, whole, first in ((165, 78, 0.2674, 0.2417), (275, 168, 0.4926, 0.4029)):
        elements = freezing.connecting(net, {"0": torch.arange(512) < a, "2": torch.arange(256) < b})
        assert freezing.count(elements) / models.count_parameters(net) == pytest.approx(whole, abs=5e-5)
        first_layer = {name: mask for name, mask in elements.items() if name.startswith("0.")}
        assert freezing.count(first_layer) / models.count_parameters(net) == pytest.approx(first, abs=5e-5)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_only_the_trainable_elements_move_with_momentum_and_weight_decay_on(optimiser):
    net = conv_net()
    before = copy.deepcopy(net.state_dict())
    trainable = freezing.connecting(net, random_masks(net))
    tuned(net, trainable, optimiser)
    for name, tensor in net.state_dict().items():
        moved = tensor != before[name]
        assert not (moved & ~trainable.get(name, torch.tensor(False))).any(), name  # statistics are in no mask
        if name in trainable and trainable[name].any():
            assert moved[trainable[name]].any(), name


def test_all_of_a_parameter_may_move_and_of_another_none():
    net = conv_net()
    before = copy.deepcopy(net.state_dict())
    tuned(net, freezing.whole(net, ["4", "10"]), "adamw")
    moved = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"4.weight", "4.bias", "10.weight", "10.bias"}


def test_trained_elements_go_where_plain_training_takes_them():
    """With everything trainable, tune is the loop one would write by hand, in eval mode."""
    net, plain = conv_net(), conv_net().eval()
    tuned(net, freezing.whole(net), epochs=2)
    x = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    y, optimiser = torch.arange(24) % 4, OPTIMISERS["sgd"](plain.parameters())
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        for batch in torch.randperm(24, generator=generator).split(8):
            optimiser.zero_grad()
            F.cross_entropy(plain(x[batch]), y[batch]).backward()
            optimiser.step()
    for mine, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_only_the_given_channels_move_their_statistics():
    net = conv_net()
    trainable = freezing.complement(net, freezing.determining(net, random_masks(net), torch.arange(4) < 2))
    moving = freezing.norms(net, trainable)
    assert 0 < sum(int(mask.sum()) for mask in moving.values()) < 14
    before = copy.deepcopy(net.state_dict())
    tuned(net, trainable, statistics=moving)
    for name in ("1", "5"):
        for buffer in ("running_mean", "running_var"):
            moved = net.state_dict()[f"{name}.{buffer}"] != before[f"{name}.{buffer}"]
            assert torch.equal(moved, moving.get(name, torch.zeros_like(moved)))


def test_held_channels_give_what_they_give_in_eval_mode():
    norm, x = nn.BatchNorm2d(6), torch.rand(8, 6, 4, 4) * 3
    norm(torch.randn(32, 6, 4, 4) + 1)
    moving = torch.tensor([True, False, True, False, False, True])
    expected = copy.deepcopy(norm)
    in_eval, in_training = copy.deepcopy(norm).eval()(x), expected.train()(x)
    with freezing._normalising(nn.ModuleDict({"norm": norm}), {"norm": moving}):
        given = norm(x)
    assert torch.equal(given[:, ~moving], in_eval[:, ~moving])
    assert torch.equal(given[:, moving], in_training[:, moving])
    assert not norm._forward_hooks


def test_nothing_else_of_the_network_or_of_torch_is_touched():
    net = conv_net().train()
    net[0].weight.requires_grad_(False)
    net[5].eval()
    state = torch.get_rng_state()
    tuned(net, freezing.whole(net), statistics={"1": torch.ones(6, dtype=torch.bool)})
    assert torch.equal(torch.get_rng_state(), state)
    assert [name for name, p in net.named_parameters() if not p.requires_grad] == ["0.weight"]
    assert [name for name, module in net.named_modules() if not module.training] == ["5"]
    assert all(p.grad is None for p in net.parameters()) and not net[1]._forward_hooks


def test_nothing_trainable_is_nothing_done():
    net = conv_net()
    before = copy.deepcopy(net.state_dict())
    tuned(net, {"0.weight": torch.zeros(6, 1, 3, 3, dtype=torch.bool)})
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_unknown_elements_and_a_loss_that_is_not_finite_are_refused():
    net = conv_net()
    with pytest.raises(freezing.FreezingError, match=r"'0\.gain': the network has no such one"):
        tuned(net, {"0.gain": torch.ones(6, dtype=torch.bool)})
    with pytest.raises(freezing.FreezingError, match=r"elements \(5,\) of parameter '0.bias'"):
        tuned(net, {"0.bias": torch.ones(5, dtype=torch.bool)})
    with pytest.raises(freezing.FreezingError, match="the loss is nan"):
        freezing.tune(
            net, freezing.whole(net), lambda batch: net(torch.full((1, 1, 8, 8), torch.nan)).sum(), 4,
            OPTIMISERS["sgd"], epochs=1, batch_size=4,
        )  # fmt: skip
    assert all(p.requires_grad for p in net.parameters())


def test_complement_and_elements_make_the_whole():
    net = models.build(settings.get("resnet101-cifar10", "smoke"))
    some = freezing.determining(net, random_masks(net), torch.arange(10) < 5)
    assert freezing.count(some) + freezing.count(freezing.complement(net, some)) == models.count_parameters(net)
    assert freezing.head(net) == "fc"


def test_a_wrapped_network_has_the_elements_of_the_one_within():
    net = conv_net().eval()
    masks, a = random_masks(net), torch.arange(4) < 2
    wanted = freezing.connecting(net, masks), freezing.determining(net, masks, a), freezing.whole(net, ["0", "10"])
    compiled = torch.compile(net, backend="eager")
    for wrapped, prefix in ((nn.DataParallel(net), "module."), (compiled, "_orig_mod.")):
        found = freezing.connecting(wrapped, masks), freezing.determining(wrapped, masks, a)
        found += (freezing.whole(wrapped, ["0", "10"]),)
        for one, other in zip(found, wanted, strict=True):
            assert one.keys() == {prefix + name for name in other}
            assert all(torch.equal(one[prefix + name], mask) for name, mask in other.items())
        assert freezing.head(wrapped) == f"{prefix}10"
        assert wrapped.get_submodule(freezing.head(wrapped)) is net[10]
        assert neurons.count_kept(wrapped, masks) == neurons.count_kept(net, masks)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
def test_computed_weights_connect_what_they_are_computed_for(norm):
    """A weight norm has as many directions as there are weights, and a length for each output."""
    net = nn.Sequential(norm(nn.Linear(3, 8)), nn.ReLU(), norm(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 2)).eval()
    masks = {"0": torch.arange(8) < 4, "2": torch.arange(6) < 3}
    elements = freezing.connecting(net, masks)
    assert freezing.count(elements) == 4 * (3 + 1 + 1) + 3 * (4 + 1 + 1) + 2 * (3 + 1) == neurons.count_kept(net, masks)
    before, x = net[2].weight.detach().clone(), torch.rand(6, 3)
    freezing.tune(net, elements, lambda i: net(x[i]).square().sum(), 6, OPTIMISERS["sgd"], epochs=1, batch_size=3)
    assert torch.equal(net[2].weight[3:], before[3:]) and not torch.equal(net[2].weight[:3], before[:3])


def test_a_spectral_norm_is_one_of_all_rows():
    net = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 8)), nn.ReLU(), nn.Linear(8, 2)).train()
    state, masks = copy.deepcopy(net.state_dict()), {"0": torch.arange(8) < 4}
    assert freezing.determining(net, masks, torch.tensor([True, False]))["0.parametrizations.weight.original"].all()
    assert freezing.count(freezing.connecting(net, masks)) == 4 * (3 + 1) + 2 * (4 + 1)
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())  # nor did it step on


def ending(forward, **parts):
    return Written(lambda n, x: forward(n, n.fc(n.a(x).relu())), a=nn.Linear(3, 8), fc=nn.Linear(8, 4), **parts)


SOME = torch.tensor([True, True, False, False])


@pytest.mark.parametrize(
    ("forward", "parts", "message"),
    [
        (lambda n, h: h[:, [3, 2, 1, 0]], {}, "'fc' is followed by getitem: .*Expected a network that returns the log"),
        (lambda n, h: h.flip(1), {}, "'fc' is followed by flip"),
        (lambda n, h: h - h.mean(1, keepdim=True), {}, "comes from sub, of 2 values"),
        (lambda n, h: h + n.b(h), {"b": nn.Linear(4, 4)}, "comes from add, of 2 values"),
        (lambda n, h: h @ n.w, {"w": nn.Parameter(torch.rand(4, 4))}, "comes from matmul, expected a layer"),
        (lambda n, h: n.b(h), {"b": nn.LayerNorm(4)}, "'fc' is followed by b: LayerNorm"),
        (lambda n, h: n.b(h), {"b": nn.Bilinear(4, 4, 4)}, "cannot be traced|comes from"),
        (lambda n, h: torch.cat([h, n.fc(h.repeat(1, 2))], 1), {}, "comes from cat, of 2 values"),
    ],
)
def test_outputs_that_others_rows_reach_are_refused(forward, parts, message):
    net = ending(forward, **parts)
    with pytest.raises(NssError, match=message):
        freezing.determining(net, {"a": torch.arange(8) < 4}, SOME)


@pytest.mark.parametrize(
    ("forward", "parts"),
    [
        (lambda n, h: (h.tanh() / 2 + n.b) * n.c, {"b": nn.Parameter(torch.rand(4)), "c": nn.Parameter(torch.rand(4))}),
        (lambda n, h: F.log_softmax(h, 1), {}),
        (lambda n, h: n.b(h[:, None].flatten(1)), {"b": nn.BatchNorm1d(4)}),
    ],
)
def test_outputs_that_stay_apart_behind_the_head_have_their_rows(forward, parts):
    found = freezing.determining(ending(forward, **parts), {"a": torch.arange(8) < 4}, SOME)
    assert torch.equal(found["fc.bias"], SOME) and torch.equal(found["fc.weight"], SOME[:, None].expand(4, 8))


def test_a_head_that_is_called_more_than_once_is_frozen_whole():
    net = ending(lambda n, h: n.fc(h.repeat(1, 2).relu()))
    assert freezing.determining(net, {"a": torch.arange(8) < 4}, SOME)["fc.weight"].all()


def test_as_many_outputs_as_the_head_has_rows():
    with pytest.raises(freezing.FreezingError, match=r"torch.bool \(2,\) given, expected torch.bool \(4,\)"):
        freezing.determining(ending(lambda n, h: h), {"a": torch.arange(8) < 4}, SOME[:2])


def test_modules_that_the_network_lacks_are_refused():
    net = conv_net()
    with pytest.raises(freezing.FreezingError, match="module 'nope': the network has no such one"):
        freezing.whole(net, ["0", "nope"])
    with pytest.raises(freezing.FreezingError, match=r"modules='10' given, expected several names, as \['10'\]"):
        freezing.whole(net, "10")
    assert freezing.whole(net, ["2"]) == {}  # a ReLU


def test_normalisations_that_keep_statistics():
    net = nn.Sequential(
        nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.BatchNorm3d(4, track_running_stats=False), nn.Flatten()
    )
    assert list(freezing.norms(net, freezing.whole(net))) == ["1"]


def test_a_loss_that_fails_leaves_frozen_statistics():
    net = conv_net()
    moving, x = torch.arange(6) < 3, torch.rand(4, 1, 8, 8)
    before = net[1].running_mean.clone()

    def loss(batch):
        net(x[batch])
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        freezing.tune(
            net, {"1.weight": moving}, loss, 4, OPTIMISERS["sgd"], epochs=1, batch_size=4, statistics={"1": moving}
        )
    assert torch.equal(net[1].running_mean[3:], before[3:])


def test_an_optimiser_that_computes_the_loss_itself_is_refused():
    net = conv_net()
    with pytest.raises(freezing.FreezingError, match="the optimiser LBFGS computes the loss several times"):
        freezing.tune(net, freezing.whole(net), lambda i: 0, 4, torch.optim.LBFGS, epochs=1, batch_size=4)


def test_what_forward_itself_moves_stays_where_it_is_frozen():
    """Rows of an embedding that are kept below a norm, and buffers that forward() counts in."""

    def forward(n, x):
        n.seen += 1
        return n.head(n.table(x).mean(1))

    net = Written(forward, table=nn.Embedding(9, 5, max_norm=0.5), head=nn.Linear(5, 3))
    net.register_buffer("seen", torch.zeros(3))
    x, y, before = torch.randint(0, 9, (8, 4)), torch.arange(8) % 3, copy.deepcopy(net.state_dict())
    elements = {"head.weight": torch.ones(3, 5, dtype=torch.bool)}
    freezing.tune(
        net, elements, lambda batch: F.cross_entropy(net(x[batch]), y[batch]), 8,
        lambda some: torch.optim.SGD(some, 0.1), epochs=2, batch_size=4,
    )  # fmt: skip
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"head.weight"}
    for table in ("part", "whole"):  # trained, it is another
        rows = torch.ones(9, 5, dtype=torch.bool)
        rows[3:] = table == "whole"
        before = net.table.weight.detach().clone()
        freezing.tune(
            net, {"table.weight": rows}, lambda batch: F.cross_entropy(net(x[batch]), y[batch]), 8,
            lambda some: torch.optim.SGD(some, 0.1), epochs=1, batch_size=4,
        )  # fmt: skip
        stays = ~rows
        assert torch.equal(net.table.weight[stays], before[stays]) and not torch.equal(net.table.weight, before)


def test_weights_and_statistics_that_do_not_fit_are_named():
    """Of too few weights the first samples alone were drawn."""
    net, x, y = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)), torch.rand(12, 5), torch.arange(12) % 4
    how = dict(epochs=1, batch_size=4)

    def tuned(**given):
        def loss(batch):
            return F.cross_entropy(net(x[batch]), y[batch])

        freezing.tune(net, freezing.whole(net), loss, 12, lambda some: torch.optim.SGD(some, 0.1), **how, **given)

    for weights in (torch.ones(5), -torch.ones(12), torch.zeros(12)):
        with pytest.raises(freezing.FreezingError, match="for 12 samples, expected one of each, not below 0"):
            tuned(weights=weights)
    for name, channels in (
        ("9", torch.ones(4) > 0),
        ("0", torch.ones(4) > 0),
        ("1", torch.ones(3) > 0),
        ("1", torch.ones(4)),
    ):
        with pytest.raises(freezing.FreezingError, match=r"expected bool, one for each channel of a batch .*: 1"):
            tuned(statistics={name: channels})
    tuned(weights=torch.ones(12), statistics={"1": torch.arange(4) < 2})
