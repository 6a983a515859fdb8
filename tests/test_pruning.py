"""Pruners against their definitions, written out; the amounts they keep; pruning what a slice keeps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nssutils import models, neurons, pruning, restructuring


def small_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(16 * 4, 32), nn.ReLU(), nn.Linear(32, 5),
    )  # fmt: skip


def all_alive(weights):
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}


def counts(chosen) -> list[int]:
    return [int(mask.sum()) for mask in chosen.values()]


def test_lamp_scores_are_each_square_over_the_sum_of_those_not_smaller():
    weight = torch.randn(4, 3, 2, 2)
    flat = weight.flatten().double()
    literal = torch.stack([w**2 / sum(v**2 for v in flat if v**2 >= w**2) for w in flat]).view_as(weight)
    torch.testing.assert_close(pruning.lamp_scores(weight), literal)
    assert pruning.lamp_scores(weight).max() == 1
    assert torch.equal(pruning.lamp_scores(torch.zeros(3, 2)), torch.zeros(3, 2, dtype=torch.double))


def test_glob_keeps_the_largest_of_all_layers():
    weights = pruning.weights(small_net())
    chosen = pruning.glob(weights, all_alive(weights), 500)
    kept = torch.cat([weight.abs()[chosen[name]] for name, weight in weights.items()])
    gone = torch.cat([weight.abs()[~chosen[name]] for name, weight in weights.items()])
    assert len(kept) == 500 and kept.min() >= gone.max()


@pytest.mark.parametrize("pruner", ["unif", "erk"])
def test_layerwise_pruners_keep_the_largest_of_each_layer(pruner):
    weights = pruning.weights(small_net())
    chosen = pruning.PRUNERS[pruner](weights, all_alive(weights), 1500)
    for name, weight in weights.items():
        if 0 < chosen[name].sum() < weight.numel():
            assert weight.abs()[chosen[name]].min() >= weight.abs()[~chosen[name]].max()


def test_unif_leaves_the_first_convolution_whole_and_a_fifth_of_the_last_layer():
    weights = pruning.weights(small_net())
    sizes = [weight.numel() for weight in weights.values()]
    total = sum(sizes)
    half = counts(pruning.unif(weights, all_alive(weights), total // 2))
    share = (total // 2 - sizes[0]) / sum(sizes[1:])
    assert half[0] == sizes[0]
    assert half[1:] == pytest.approx([share * size for size in sizes[1:]], abs=1)
    few = counts(pruning.unif(weights, all_alive(weights), sizes[0] + 200))
    assert few[0] == sizes[0] and few[-1] == round(0.2 * sizes[-1]) and sum(few) == sizes[0] + 200


def test_unif_prunes_the_first_layer_too_where_it_is_no_convolution():
    weights = pruning.weights(models.build("mlp-mnist", width=0.125))
    sizes = [weight.numel() for weight in weights.values()]
    kept = counts(pruning.unif(weights, all_alive(weights), sum(sizes) // 2))
    assert kept == pytest.approx([size / 2 for size in sizes], abs=1)


def test_erk_keeps_in_proportion_to_the_sum_of_dimensions_and_redistributes_the_overflow():
    weights = pruning.weights(small_net())
    sizes = {name: weight.numel() for name, weight in weights.items()}
    dimensions = {name: sum(weight.shape) for name, weight in weights.items()}
    few = counts(pruning.erk(weights, all_alive(weights), 160))
    assert few == pytest.approx([160 * d / sum(dimensions.values()) for d in dimensions.values()], abs=1)
    # By hand: the last layer takes all its 160 weights, what it leaves goes to the others in the same proportion.
    many = dict(zip(weights, counts(pruning.erk(weights, all_alive(weights), 1000)), strict=True))
    last = list(weights)[-1]
    assert many[last] == sizes[last] == 160 < 1000 * dimensions[last] / sum(dimensions.values())
    rest = sum(d for name, d in dimensions.items() if name != last)
    assert [many[name] for name in weights if name != last] == pytest.approx(
        [(1000 - 160) * d / rest for name, d in dimensions.items() if name != last], abs=1
    )


@given(st.sampled_from(list(pruning.PRUNERS)), st.integers(400, 4000), st.integers(0, 20))
def test_every_pruner_keeps_as_many_as_asked_and_only_of_what_is_alive(pruner, keep, seed):
    weights = pruning.weights(small_net(seed))
    torch.manual_seed(seed)
    alive = {name: torch.rand_like(weight) > 0.2 for name, weight in weights.items()}
    keep = min(keep, sum(counts(alive)))
    chosen = pruning.PRUNERS[pruner](weights, alive, keep)
    assert sum(counts(chosen)) == keep
    assert not any((chosen[name] & ~alive[name]).any() for name in weights)


@pytest.mark.parametrize("pruner", pruning.PRUNERS)
@pytest.mark.parametrize("share", [0.05, 0.10])
def test_steps_obey_the_law_behind_table_4(pruner, share):
    """CR = 1 - (1 - s)(1 - r)^NI, s being the share of weights that slicing removed before."""
    net = models.build("vgg16-cifar10", width=0.125)
    total = pruning.survivors(net)
    masks = {name: torch.arange(layer.width) >= layer.width // 8 for name, layer in neurons.layers(net).items()}
    for start in (net, restructuring.extract(net, masks)):
        sliced = 1 - pruning.survivors(start) / total
        for step in range(1, 8):
            pruning.prune(start, pruner, share)
            rate = 1 - pruning.survivors(start) / total
            assert rate == pytest.approx(1 - (1 - sliced) * (1 - share) ** step, abs=step / total)
    assert sliced > 0.1


def test_a_pruned_slice_computes_with_what_the_slice_keeps_only():
    net = models.build("resnet101-cifar10", width=0.0625).eval()
    masks = {name: torch.arange(layer.width) % 3 > 0 for name, layer in neurons.layers(net).items()}
    small = pruning.prune(restructuring.extract(net, masks), "lamp", 0.3)
    module = small.get_submodule("layer1.0.conv1")
    assert module.weight.shape[0] < net.layer1[0].conv1.weight.shape[0]
    assert torch.equal(module.weight == 0, ~module.weight_mask.bool())
    assert small(torch.rand(1, 3, 16, 16)).shape == (1, 10)


def test_pruning_changes_nothing_but_by_its_masks():
    net, x = small_net().eval(), torch.rand(2, 3, 6, 6)
    weights = pruning.weights(net)
    chosen = pruning.glob(weights, all_alive(weights), 1000)
    expected = small_net().eval()
    with torch.no_grad():
        for name, module in pruning.prunable(expected).items():
            module.weight.mul_(chosen[name])
    assert torch.equal(pruning.apply(net, chosen)(x), expected(x))
    assert all(torch.equal(mask, chosen[name]) for name, mask in pruning.masks(net).items())


def test_what_cannot_be_pruned_is_refused():
    with pytest.raises(pruning.PruningError, match="'lampe' given, expected one of lamp, glob, unif, erk"):
        pruning.prune(small_net(), "lampe", 0.1)
    with pytest.raises(pruning.PruningError, match=r"share 1.5 given, expected one in \(0, 1\)"):
        pruning.prune(small_net(), "lamp", 1.5)
    weights = pruning.weights(small_net())
    with pytest.raises(pruning.PruningError, match="weights to share out"):
        pruning.unif(weights, all_alive(weights), 100)  # fewer than the first convolution has
    with pytest.raises(pruning.PruningError, match="no mask given for the weights of '0', expected a mask of"):
        pruning.apply(small_net(), {})


def test_networks_without_weights_to_prune_are_refused():
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 4)), nn.ReLU(), nn.Linear(4, 2))
    for net, message in (
        (normed, "the weights of '0' are computed from others"),
        (nn.Sequential(nn.Conv1d(2, 3, 2)), "Sequential has no Conv2d or Linear"),
    ):
        with pytest.raises(pruning.PruningError, match=message):
            pruning.prune(net, "glob", 0.5)


@pytest.mark.parametrize("pruner", pruning.PRUNERS)
def test_some_weight_survives(pruner):
    net = nn.Sequential(nn.Linear(4, 2))
    with pytest.raises(pruning.PruningError, match=r"share 0.99 of 8 weights leaves none"):
        pruning.prune(net, pruner, 0.99)


def test_a_pruned_transformer_learns():
    """Attention reads its output projection's weights past the module's forward(), where masks would act: torch then
    refused to go back through them a second time."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    net = pruning.prune(nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 3)), "glob", 0.5)
    assert list(pruning.prunable(net)) == ["0.linear1", "0.linear2", "2"]
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(2):
        net(torch.rand(4, 3, 8)).sum().backward()
        optimiser.step()
    assert all((net.get_submodule(name).weight[~mask] == 0).all() for name, mask in pruning.masks(net).items())


def test_a_share_may_be_a_tensor():
    nets = [models.build("mlp-mnist") for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    for net, share in zip(nets, (0.5, torch.tensor(0.5)), strict=True):
        pruning.prune(net, "glob", share)
    assert pruning.survivors(nets[0]) == pruning.survivors(nets[1])
