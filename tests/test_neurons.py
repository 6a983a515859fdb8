"""Which neurons a network has, whatever way its activations are written; masks; counts; refusals by name."""

import copy
import functools
import types

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from nssutils import NssError, contribution, models, neurons, restructuring, settings

HIDDEN = {
    "mlp-mnist": 2, "mlp-fmnist": 2, "alexnet-cifar10": 6, "vgg16-cifar10": 13, "resnet101-cifar10": 100,
    "vgg19-imagenet10": 18,
}  # fmt: skip


def thin(name):
    setting = settings.get(name, "smoke")
    torch.manual_seed(0)
    return models.build(setting).eval(), torch.rand(3, setting.channels, setting.image_size, setting.image_size)


@pytest.mark.parametrize("name", settings.NAMES)
def test_hidden_layers_of_the_six_networks(name):
    net, x = thin(name)
    found = neurons.layers(net)
    assert len(found) == HIDDEN[name]
    acts = neurons.record(net, x)
    assert {layer: value.shape for layer, value in acts.items()} == {n: (3, v.width, 1) for n, v in found.items()}
    full = {layer: torch.ones(value.width, dtype=torch.bool) for layer, value in found.items()}
    assert neurons.count_kept(net, full) == models.count_parameters(net)


def test_residual_blocks_are_sliced_inside_and_their_shortcuts_are_not():
    net, x = thin("resnet101-cifar10")
    found = neurons.layers(net)
    assert not any("downsample" in name or name == "fc" for name in found)
    assert {"conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.0.conv3"} <= found.keys()
    # Read after the block's last BN, before the addition.
    seen = {}
    hook = net.layer2[1].bn3.register_forward_hook(lambda *args: seen.update(value=args[2].clone()))
    net(x)
    hook.remove()
    torch.testing.assert_close(neurons.record(net, x, "flatten")["layer2.1.conv3"], seen["value"].flatten(2))


class Plain(nn.Module):
    """One network, its activation written in several ways."""

    def __init__(self, act):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.norm, self.b, self.c = nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.Linear(5, 6), nn.Linear(6, 3)
        self.shared, self.act = nn.ReLU(inplace=True), act

    def forward(self, x):
        x = self.act(self, self.norm(self.a(x)))
        return self.c(self.act(self, self.b(x.mean((2, 3)))))


WAYS = {
    "shared, in place": lambda net, x: net.shared(x),
    "F.relu": lambda net, x: F.relu(x),
    "F.relu in place": lambda net, x: F.relu(x, inplace=True),
    "torch.relu": lambda net, x: torch.relu(x),
    "method": lambda net, x: x.relu(),
    "method in place": lambda net, x: x.relu_(),
}


@pytest.mark.parametrize("way", WAYS)
def test_activations_are_seen_however_they_are_called(way):
    net, plain, x = Plain(WAYS[way]).eval(), Plain(WAYS["F.relu"]).eval(), torch.rand(4, 1, 6, 6)
    for name, value in neurons.record(net, x).items():
        assert (value >= 0).all()
        torch.testing.assert_close(value, neurons.record(plain, x)[name])
    mask = {"a": torch.tensor([True, False, True, False, True])}
    with neurons.masked(net, mask), neurons.masked(plain, mask):
        torch.testing.assert_close(net(x), plain(x))
        fires = (neurons.record(net, x)["a"] > 0).flatten(2).any(2).any(0)
        assert fires.any() and not fires[~mask["a"]].any()
        with pytest.raises(contribution.ContributionError, match="is masked, expected a whole network"):
            contribution.deeplift(net, x, torch.zeros(4, dtype=torch.int64))


def test_a_forward_put_in_place_of_the_class_s_own_counts():
    net, x = thin("mlp-mnist")
    before, way = neurons.record(net, x), net.forward
    net.forward = lambda x: way(x / 2)
    assert not torch.allclose(neurons.record(net, x)["0"], before["0"])
    net.get_submodule("0").forward = lambda x: x[:, :64]  # no Linear any more
    assert "0" not in neurons.layers(net, x)


@pytest.mark.parametrize("name", ["mlp-mnist", "vgg16-cifar10"])
def test_masking_is_zeroing_after_the_activation(name):
    net, x = thin(name)
    layer = list(neurons.layers(net))[1]
    mask = torch.rand(neurons.layers(net)[layer].width) > 0.5
    activation = [m for m in net.modules() if isinstance(m, nn.ReLU)][1]
    hook = activation.register_forward_hook(lambda *args: args[2] * mask.view(-1, *[1] * (args[2].dim() - 2)))
    by_hand = net(x)
    hook.remove()
    with neurons.masked(net, {layer: mask}):
        torch.testing.assert_close(net(x), by_hand)
    assert not torch.allclose(net(x), by_hand)


def test_masked_leaves_no_trace_even_after_an_error():
    net, x = thin("mlp-mnist")
    before = net(x)
    with pytest.raises(ZeroDivisionError), neurons.masked(net, {"0": torch.zeros(64, dtype=torch.bool)}):
        raise ZeroDivisionError
    assert torch.equal(net(x), before) and "forward" not in vars(net)


def test_masks_follow_the_mode_where_dropout_is_a_function():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 50), nn.Linear(50, 2)

        def forward(self, x):
            return self.b(F.dropout(F.relu(self.a(x)), 0.5, self.training))

    net, x = Net().train(), torch.rand(5, 4)
    with neurons.masked(net, {"a": torch.arange(50) < 40}):
        assert not torch.equal(net(x), net(x))
        net.eval()
        assert torch.equal(net(x), net(x))


@pytest.mark.parametrize("masks", [None, 3, [("0", torch.ones(512, dtype=torch.bool))]])
def test_masks_of_another_kind_are_refused(masks):
    net = models.build("mlp-mnist")
    with pytest.raises(NssError, match="expected a Slice or"), neurons.masked(net, masks):
        pass
    with pytest.raises(NssError, match="expected a Slice or"):
        restructuring.extract(net, masks)


@pytest.mark.parametrize(("x", "message"), [("abc", "no numbers"), (torch.zeros(0, 1, 28, 28), "at least one")])
def test_samples_that_are_none_are_refused(x, message):
    with pytest.raises(NssError, match=message):
        neurons.record(models.build("mlp-mnist"), x)


def test_modes_are_restored():
    net, x = thin("vgg16-cifar10")
    net.features[1].train()
    neurons.record(net, x)
    assert net.features[1].training and not net.features[4].training


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.b(self.a(self.a(x).relu()).relu())


class Branching(Twice):
    def forward(self, x):
        return self.b(self.a(x)) if x.sum() > 0 else self.b(x)


class ByHand(Twice):
    def forward(self, x):
        return self.b(F.linear(x, self.a.weight).relu())


class Doubling(Twice):
    def __init__(self):
        super().__init__()
        self.a.register_forward_hook(lambda module, given, out: 2 * out)

    def forward(self, x):
        return self.b(self.a(x))


def pruned():
    net = Doubling()
    net.a._forward_hooks.clear()
    prune.l1_unstructured(net.a, "weight", 0.5)
    return net


@pytest.mark.parametrize(
    "net, message",
    [
        (Twice(), "no hidden layer: .*'a' is called more than once"),
        (Branching(), "the dataflow of Branching cannot be traced"),
        (nn.Sequential(nn.LazyLinear(3), nn.ReLU(), nn.Linear(3, 2)), "'0.weight' has no size yet, nor values"),
        (ByHand(), "no hidden layer: .*'a.weight' is used by a function"),
        (nn.Sequential(nn.Linear(3, 2)), "no hidden layer"),
        (
            nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)),
            "'0' has no activation before '_1' .1: LayerNorm., which may look across neurons",
        ),
        (pruned(), "no hidden layer: .*'a' is pruned by a hook .torch.nn.utils.prune.remove makes it permanent"),
        (Doubling(), "no hidden layer: .*'a' has a hook, or a forward.. of its own"),
    ],
)
def test_what_cannot_be_handled_is_refused_by_name(net, message):
    with pytest.raises(neurons.UnsupportedNetwork, match=message):
        neurons.layers(net)


@pytest.mark.parametrize(
    "mask, message",
    [
        ({"7": torch.ones(64, dtype=torch.bool)}, "names layer '7'"),
        ({"0": torch.ones(63, dtype=torch.bool)}, r"expected torch.bool \(64,\)"),
        ({"0": torch.ones(64)}, "torch.float32"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask, message):
    net, _ = thin("mlp-mnist")
    with pytest.raises(NssError, match=message), neurons.masked(net, mask):
        pass


@given(a=st.integers(0, 512), b=st.integers(0, 256))
@hypothesis_settings(max_examples=25, deadline=None)
def test_count_for_the_mlp(a, b):
    masks = {"0": torch.arange(512) < a, "2": torch.arange(256) < b}
    assert neurons.count_kept(MLP, masks) == 785 * a + b * (a + 1) + 10 * (b + 1)


MLP = models.build("mlp-mnist")


def test_count_through_flattening_and_groups():
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 3)
    )
    masks = {"0": torch.tensor([True, True, False, False]), "2": torch.tensor([True, False, True, True])}
    # The second group reads only dropped channels: it gives its biases, which the head's can take up.
    first, second, head = 2 * (2 * 9 + 1), 2 * 1 + 1, 3 * (1 * 9 + 1)
    assert neurons.count_kept(net, masks) == first + second + head


def test_an_error_on_the_way_keeps_its_own_words():
    net, x = thin("mlp-mnist")
    with pytest.raises(NssError) as caught:
        neurons.record(net, x, spatial="flat")
    assert str(caught.value) == "spatial='flat' given, expected 'mean' or 'flatten'."


class Optional(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x, scale=1.0, features=False):
        y = self.a(x).relu() * scale
        return (self.b(y), y) if features else self.b(y)


@pytest.mark.parametrize(
    "given",
    [types.MethodType, lambda way, net: functools.partial(way, net), lambda way, net: lambda x: way(net, x)],
)
def test_a_masked_network_computes_by_the_forward_it_was_given(given):
    net, x = Optional().eval(), torch.rand(3, 4)
    net.forward = given(lambda self, x: Optional.forward(self, 1 - x), net)
    before, wanted = net.forward, net(x)
    with neurons.masked(net, {"a": torch.ones(6, dtype=torch.bool)}):
        torch.testing.assert_close(net(x), wanted)
        torch.testing.assert_close(copy.deepcopy(net)(x), wanted)
        assert list(neurons.layers(net)) == ["a"]
    assert net.forward is before and torch.equal(net(x), wanted)


def test_the_masks_of_a_block_within_a_block_both_hold():
    net, x = Optional().eval(), torch.rand(3, 4)
    first, last = torch.arange(6) < 4, torch.arange(6) > 1
    with neurons.masked(net, {"a": first & last}):
        wanted = net(x)
    with neurons.masked(net, {"a": first}):
        outer = net(x)
        with neurons.masked(net, {"a": last}):
            assert torch.equal(net(x), wanted) and not torch.allclose(outer, wanted)
            assert (neurons.record(net, x)["a"][:, ~(first & last)] == 0).all()
        assert torch.equal(net(x), outer)
    assert "forward" not in vars(net)


def test_a_masked_network_takes_its_input_alone():
    net, x = Optional().eval(), torch.rand(3, 4)
    with neurons.masked(net, {"a": torch.arange(6) < 4}):
        wanted = net(x)
        assert all(torch.equal(each, wanted) for each in (net(x=x), net(x, 1.0), net(x, features=False)))
        for call in (lambda: net(x, 2.0), lambda: net(x, features=True), lambda: net(x=x, scale=torch.ones(1))):
            with pytest.raises(NssError, match=r"a masked Optional is called with .*, expected x alone"):
                call()
        with pytest.raises(TypeError, match="missing a required argument: 'x'"):
            net()


def test_a_masked_network_is_not_written_to_a_file(tmp_path):
    net = Optional().eval()
    with neurons.masked(net, {"a": torch.arange(6) < 4}):
        with pytest.raises(NssError, match="written to a file while it is masked"):
            torch.save(net, tmp_path / "net.pt")
        torch.save(net.state_dict(), tmp_path / "net.pt")
    torch.save(net, tmp_path / "net.pt")
