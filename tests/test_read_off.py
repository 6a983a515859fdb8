"""What reading a network off as a graph could miss: memory that values share, hooks, draws, modes, what users set."""

import random
import warnings

import pytest
import torch
from torch import nn
from written_networks import Written

from nssutils import deeparc, graphs, incremental, neurons, nnslicer, operations, restructuring
from nssutils.operations import UnsupportedNetwork

MASKS = {"a": torch.tensor([1, 1, 0, 1, 0, 0]).bool()}


def written(forward, **more):
    torch.manual_seed(0)
    return Written(forward, a=nn.Linear(5, 6), head=nn.Linear(6, 3), **more).eval()


def agrees(net, x):
    with neurons.masked(net, {}):
        found = net(x.clone())
    torch.testing.assert_close(found, net(x.clone()))


def alias(n, x):
    y = n.a(x).relu()
    z = y
    y += 2
    return n.head(z * y)


def twice(n, x):
    y = n.a(x)
    y *= 2
    y -= 0.5
    y /= 3
    y **= 2
    return n.head(y)


def counting(n, x):
    rows = x.shape[0]
    more = rows
    more += 1
    values = rows
    values *= n.a(x)
    return n.head(values.view(rows, -1)) * more


def view(n, x):
    y = n.a(x).relu()
    part = y[:, :3]
    part += 1
    return n.head(y)


@pytest.mark.parametrize("forward", [alias, twice, counting])
def test_an_augmented_assignment_changes_what_has_its_value(forward):
    net, x = written(forward), torch.rand(4, 5)
    agrees(net, x)
    small = restructuring.extract(net, MASKS)
    with neurons.masked(net, MASKS):
        torch.testing.assert_close(small(x), net(x))
    targets = {node.target for node in graphs.trace(net).graph.nodes}
    assert targets.isdisjoint(operations.AUGMENTED)


def test_an_augmented_assignment_through_a_view_is_refused():
    net, x = written(view), torch.rand(4, 5)
    with pytest.raises(UnsupportedNetwork, match="shares its memory"), neurons.masked(net, {}):
        net(x)
    with pytest.raises(UnsupportedNetwork, match="shares its memory"):
        restructuring.extract(net, MASKS, check=False)


def by_type(n, x):
    return n.head(n.a(x) if type(x) is torch.Tensor else 2 * n.a(x))


def hooked():
    net = written(lambda n, x: n.head(n.a(x).relu()))
    net.register_forward_pre_hook(lambda module, given: (given[0] * 5 - 2.5,))
    return net


def test_a_path_that_a_symbol_does_not_take_is_refused_within_masks_too():
    net, x = written(by_type), torch.rand(4, 5)
    with pytest.raises(UnsupportedNetwork, match="gives other outputs than by itself"), neurons.masked(net, MASKS):
        net(x)


@pytest.mark.parametrize("make", [hooked, lambda: written(by_type)])
def test_nothing_is_read_off_that_is_not_what_the_network_does(make):
    net, x, y = make(), torch.rand(8, 5), torch.arange(8) % 3
    elements = {name: torch.ones_like(p, dtype=torch.bool) for name, p in net.named_parameters()}
    for asks in (
        lambda: nnslicer.profile(net, x),
        lambda: deeparc.units(net, x),
        lambda: deeparc.similarities(net, x),
        lambda: list(deeparc.debiased_similarities(net, [x])),
        lambda: incremental.learn(net, x, y, elements, epochs=1, batch_size=4, critical=MASKS, task_a=torch.arange(2)),
    ):
        with pytest.raises(UnsupportedNetwork, match="gives other outputs than by itself"):
            asks()


def test_a_hook_on_the_whole_is_called_within_masks():
    net, x = hooked(), torch.rand(4, 5)
    agrees(net, x)


def test_a_layer_that_is_left_out_at_random_is_refused_in_training_mode_alone():
    for draw in (lambda: torch.rand([]).item(), random.random):
        net = written(lambda n, x, draw=draw: n.head(n.a(x) if draw() < 0.5 and n.training else 2 * n.a(x)))
        agrees(net, torch.rand(4, 5))
        with (
            pytest.raises(UnsupportedNetwork, match="in training mode draws at random"),
            neurons.masked(net.train(), {}),
        ):
            net(torch.rand(4, 5))


def test_numbers_that_forward_draws_are_refused():
    net = written(lambda n, x: n.head(n.a(x) * torch.rand(6)))
    with pytest.raises(UnsupportedNetwork, match="draws at random"), neurons.masked(net, {}):
        net(torch.rand(4, 5))
    drawn = written(lambda n, x: n.head(nn.functional.dropout(n.a(x), 0.5, n.training)))
    agrees(drawn, torch.rand(4, 5))


def test_what_a_user_sets_within_the_block_counts():
    net, x = written(lambda n, x: n.head(n.a(x) * n.scale)), torch.rand(4, 5)
    net.scale = 1.0
    with neurons.masked(net, MASKS):
        before = net(x)
        net.scale = 2.0
        after = net(x)
        net.scale = 1.0
        assert torch.equal(net(x), before)
    torch.testing.assert_close(after - net.head.bias, 2 * (before - net.head.bias))


def test_a_masked_network_is_mapped_compiled_and_tried_on_shapes():
    """Where no numbers can be read, nothing is compared."""
    net, x = written(lambda n, x: n.head(n.a(x).relu())), torch.rand(4, 5)
    parameters = {name: torch.stack([p.detach()] * 3) for name, p in net.named_parameters()}

    def called(parameters, x):
        return torch.func.functional_call(net, parameters, (x,))

    with neurons.masked(net, MASKS):
        wanted = net(x)
    for use in (
        lambda: torch.func.vmap(net)(x[:, None])[:, 0],
        lambda: torch.func.vmap(called, in_dims=(0, None))(parameters, x)[1],
        lambda: torch.compile(net, backend="eager")(x),
        lambda: torch.jit.trace(net, (x,))(x),
    ):
        with neurons.masked(net, MASKS):
            torch.testing.assert_close(use(), wanted)
    with neurons.masked(net.to("meta"), MASKS):
        assert net(x.to("meta")).shape == (4, 3)


# Extraction


def test_modules_tied_under_two_names_are_not_untied():
    net = written(lambda n, x: n.head(n.a(x).relu() + n.b(x).relu()), b=nn.Linear(5, 6))
    net.b.weight = net.a.weight
    net.layers = nn.ModuleList([net.a, net.b])
    with pytest.raises(UnsupportedNetwork, match="share a parameter"):
        restructuring.extract(net, MASKS)


def flipped(n, x):
    y = n.a(x).relu()
    return n.head(y.flip(1) if n.training else y)


def scaled(n, x):
    y = n.a(x).relu()
    return n.head(y * torch.ones(6) if n.training else y)


def squashed(n, x):
    y = n.a(x).relu()
    return n.head(y.tanh() if n.training else y)


def test_an_extracted_network_is_trained_as_the_masked_one_or_refused():
    with pytest.raises(UnsupportedNetwork, match="in training mode Written goes another way"):
        restructuring.extract(written(flipped), MASKS)
    with pytest.raises(UnsupportedNetwork, match="in training mode the extracted Written cannot run"):
        restructuring.extract(written(scaled), MASKS)
    net, x = written(squashed), torch.rand(4, 5)
    small = restructuring.extract(net, MASKS)
    assert not isinstance(small, torch.fx.GraphModule)
    with neurons.masked(net.train(), MASKS):
        torch.testing.assert_close(small.train()(x), net(x))


@pytest.mark.parametrize("check", [True, False])
def test_whole_numbers_are_made_by_another_tensors_type_too(check):
    net = written(lambda n, x: n.head((n.a(x).sigmoid() * 9 + 0.7).type_as(n.whole).float()))
    net.register_buffer("whole", torch.arange(3))
    small, x = restructuring.extract(net, MASKS, check=check), torch.rand(4, 5)
    with neurons.masked(net, MASKS):
        torch.testing.assert_close(small(x), net(x))
    plain = restructuring.extract(written(lambda n, x: n.head(n.a(x).relu().type_as(x))), MASKS)
    assert not isinstance(plain, torch.fx.GraphModule)  # it stays small


@pytest.mark.parametrize("check", [True, False])
def test_constants_have_the_precision_of_the_values_that_they_join(check):
    net = written(
        lambda n, x: n.head((n.b(n.a(x.bfloat16()).relu().float()).relu() + 0.7).cumsum(1)), b=nn.Linear(6, 6)
    )
    net.a.bfloat16()
    masks, x = {"b": MASKS["a"]}, torch.rand(4, 5)
    small = restructuring.extract(net, masks, x=x, check=check)
    with neurons.masked(net, masks):
        torch.testing.assert_close(small(x), net(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", ["a", "head"])
def test_weights_of_the_older_weight_norm_are_those_of_now(layer):
    net, x = written(lambda n, x: n.head(n.a(x).relu())), torch.rand(4, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer one
        setattr(net, layer, nn.utils.weight_norm(getattr(net, layer)))
    net(x)
    with torch.no_grad():
        getattr(net, layer).weight_g.mul_(3)  # as a step of an optimiser does: the weight is of before it
    small = restructuring.extract(net, MASKS, check=False)
    with neurons.masked(net, MASKS):
        torch.testing.assert_close(small(x), net(x))
