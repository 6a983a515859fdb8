"""NNSlicer against a case worked out by hand and against the literal algorithm."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from literal import Residual
from literal import nnslicer as literal_nnslicer
from torch import nn

from nssutils import NssError, detection, graphs, models, neurons, nnslicer, operations, reports, restructuring


def by_hand(bias: bool = False) -> nn.Sequential:
    """The case of the design: 2-3-2-2, no bias, no activation."""
    net = nn.Sequential(nn.Linear(2, 3, bias=bias), nn.Linear(3, 2, bias=bias), nn.Linear(2, 2, bias=bias))
    weights = [[[3, 1], [-2, 2], [0, 1]], [[1, 0, 2], [-1, 3, -2]], [[2, 1], [1, 3]]]
    for layer, weight in zip(net, weights, strict=True):
        layer.weight.data = torch.tensor(weight, dtype=torch.float32)
    return net


ZERO = {"input_1": torch.zeros(2), "_0": torch.zeros(3), "_1": torch.zeros(2), "_2": torch.zeros(2)}
X = torch.tensor([[1.0, 2.0]])  # the layers' values: [5, 2, 2], [9, -3], [15, 0]


@pytest.mark.parametrize(
    "theta, first, second, synapses",
    [
        # theta 0 keeps all. Output 0 = 2*9 + 1*(-3): contributions +1 and -1. Of 9 = 1*5 + 0*2 + 2*2: +1, 0, +1; of
        # -3 = -1*5 + 3*2 - 2*2, which works against the output: its like-signed terms -1, the 6 +1. The sum: 0, 1, 0.
        (0.0, [0, 1, 0], [1, -1], [[[0, 0], [-1, 1], [0, 0]], [[1, 0, 1], [-1, 1, -1]], [[1, -1], [0, 0]]]),
        # theta 0.5: of 15, |-3| < 7.5 is dropped; of 9, 0 and then 4 < 4.5 are. 5 = 3 + 2: |2| < 2.5 is dropped.
        (0.5, [1, 0, 0], [1, 0], [[[1, 0], [0, 0], [0, 0]], [[1, 0, 0], [0, 0, 0]], [[1, 0], [0, 0]]]),
    ],
)
def test_a_case_worked_out_by_hand(theta, first, second, synapses):
    found = nnslicer.contributions(by_hand(), X, torch.tensor([0]), ZERO, theta)
    assert {name: value[0].tolist() for name, value in found.neurons.items()} == {"0": first, "1": second}
    assert [value[0].tolist() for value in found.synapses.values()] == synapses


def test_an_output_at_its_average_has_no_slice_and_a_sum_of_zero_drops_nothing():
    empty = nnslicer.contributions(by_hand(), X, torch.tensor([1]), ZERO, 0.9)  # output 1 is 0, as on average
    assert all((value == 0).all() for value in empty.neurons.values())
    means = ZERO | {"_2": torch.tensor([0.0, -1.0])}  # now it is above it; 0 = 9 - 9, of which both are kept
    found = nnslicer.contributions(by_hand(), X, torch.tensor([1]), means, 0.9)
    assert found.synapses["2"][0].tolist() == [[0, 0], [1, -1]]


def small(draw, kinds) -> tuple[nn.Sequential, torch.Tensor]:
    """A small network with whole-numbered weights, for which sums are exact, and inputs for it."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    kind = draw(kinds)
    if kind == "dense":
        net, shape = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), (4,)
    elif kind == "pooled":
        net = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(4, 3, 2, stride=1, groups=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3, 3),
        )  # fmt: skip
        shape = (2, 6, 6)
    elif kind == "grouped":
        net = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2, dilation=2, padding=2),
            nn.ReLU(), nn.Flatten(), nn.Linear(36, 3),
        )  # fmt: skip
        shape = (2, 5, 5)
    else:
        net = nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU(),
            Residual(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1), nn.BatchNorm2d(3)),
            Residual(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 3, 1)),
            nn.Flatten(), nn.Linear(48, 3),
        )  # fmt: skip
        shape = (2, 4, 4)
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            for p in module.parameters():
                p.data = torch.randint(-3, 4, p.shape, generator=generator).double()
        if isinstance(module, nn.BatchNorm2d):
            module.double()
            for p, low in ((module.weight, -2), (module.bias, -2), (module.running_mean, -2)):
                p.data = torch.randint(low, 3, p.shape, generator=generator).double()
            module.running_var.fill_(1 - module.eps)
    return net.eval(), torch.randint(-2, 4, (3, *shape), generator=generator).double()


@given(st.data(), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.75, 0.99]), st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_agrees_with_the_literal_algorithm(data, theta, chosen):
    net, x = small(data.draw, st.sampled_from(["dense", "pooled", "grouped", "residual"]))
    means = {name: value.round() for name, value in nnslicer.profile(net, x).items()}
    target = torch.full((len(x),), chosen)
    found = nnslicer.contributions(net, x, target, means, theta, batch_size=2)
    whole = nnslicer.contributions(net, x, target, means, theta, total=True)
    traced = graphs.trace(net)
    mean_of = {
        traced.get_submodule(node.target): (means[node.all_input_nodes[0].name], means[node.name])
        for node in traced.graph.nodes
        if node.op == "call_module"
    }
    for node in traced.graph.nodes:
        if operations.kind(traced, node) == "add":
            residual = net.get_submodule(next(iter(node.users)).target.rpartition(".")[0])
            mean_of[residual] = tuple(means[each.name] for each in (*node.args, node))
    sites = {
        name: next(n for n in traced.graph.nodes if n.name == layer.site) for name, layer in neurons.layers(net).items()
    }
    for i, image in enumerate(x):
        at_outputs, at_synapses = literal_nnslicer(net, image, chosen, mean_of, theta)
        for name, value in found.synapses.items():
            assert torch.equal(value[i], at_synapses[net.get_submodule(name)]), name
        for name, site in sites.items():
            expected = at_outputs[net.get_submodule(site.target)]
            assert torch.equal(found.neurons[name][i], expected.view(len(expected), -1).sum(1)), name
    for side in ("neurons", "synapses"):
        for name, value in getattr(found, side).items():
            assert torch.equal(value.sum(0, keepdim=True), getattr(whole, side)[name])


def unrolled(net: nn.Module, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
    """The same network with a neuron for each activation: a convolution as the matrix that it multiplies by."""
    if isinstance(net, nn.Sequential):
        parts = []
        for part in net:
            new, shape = unrolled(part, shape)
            parts.append(new)
        return nn.Sequential(*parts), shape
    if isinstance(net, Residual):
        return Residual(*unrolled(net.body, shape)[0]), shape
    size = torch.Size(shape).numel()
    after = net(torch.zeros(1, *shape).double()).shape[1:]
    if isinstance(net, nn.Conv2d):
        offset = net(torch.zeros(1, *shape).double()).flatten()
        new = nn.Linear(size, after.numel()).double()
        new.weight.data = (net(torch.eye(size).double().view(size, *shape)).flatten(1) - offset).T.contiguous()
        new.bias.data = offset
    elif isinstance(net, nn.BatchNorm2d):
        new, places = nn.BatchNorm1d(size, eps=net.eps).double(), size // shape[0]
        for name, tensor in (*net.named_parameters(), *net.named_buffers()):
            if tensor.dim():
                getattr(new, name).data = tensor.data.repeat_interleave(places)
    else:
        new = nn.Identity() if isinstance(net, nn.Flatten) else net
    return new.eval(), after


@given(st.data(), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.75, 0.99]), st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_by_a_profile_of_activations_each_is_a_neuron(data, theta, chosen):
    net, x = small(data.draw, st.sampled_from(["dense", "grouped", "residual"]))
    flat, _ = unrolled(net, x.shape[1:])
    flat.requires_grad_(False)
    means = {name: value.round() for name, value in nnslicer.profile(net, x, spatial="flatten").items()}
    flat_means = {name: value.round() for name, value in nnslicer.profile(flat, x.flatten(1)).items()}
    target = torch.full((len(x),), chosen)
    found = nnslicer.contributions(net, x, target, means, theta)
    wanted = nnslicer.contributions(flat, x.flatten(1), target, flat_means, theta)
    for name, value in wanted.neurons.items():
        mine = found.neurons[name]
        assert torch.equal(mine, value.view(*mine.shape, -1).sum(2)), name
    for name, value in wanted.synapses.items():
        # Which synapse each weight of the matrix is a copy of, 0 for none.
        numbered, mine = copy.deepcopy(net), found.synapses[name]
        weight = numbered.get_submodule(name).weight
        weight.data = torch.arange(1.0, weight.numel() + 1).double().view_as(weight)
        number = unrolled(numbered, x.shape[1:])[0].get_submodule(name).weight.long().flatten()
        expected = torch.zeros(len(x), weight.numel() + 1).double().index_add(1, number, value.flatten(1))
        assert torch.equal(mine.flatten(1), expected[:, 1:]), name
    apart, theirs = nnslicer.difference(net, x, means), nnslicer.difference(flat, x.flatten(1), flat_means)
    for name, value in theirs.items():
        torch.testing.assert_close(apart[name].flatten(1), value)


def test_a_maximum_and_an_average_pass_on_by_activation():
    net = nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(1, 2, bias=False)).eval()
    net[3].weight.data = torch.tensor([[1.0], [-1.0]])
    x = torch.tensor([[[[4.0, 1.0, 0.0, 3.0], [0.0, 0.0, 3.0, 0.0], [1.0, 0.0, 5.0, 0.0], [0.0, 0.0, 0.0, 0.0]]]])
    conv = nn.Conv2d(1, 1, 1, bias=False)
    conv.weight.data.fill_(1.0)
    whole = nn.Sequential(conv, *net)
    means = nnslicer.profile(whole, x * 0, spatial="flatten")
    means["_0"] = torch.full((1, 4, 4), 4.0)  # most activations are below their average, 5 is above, 4 is on it
    found = nnslicer.contributions(whole, x, torch.tensor([0]), means, 0.0)
    # Of the maxima 4, 3 (twice), 1 and 5: -1 where below, 1 where above; each then by dy = x - 4, dx = x of the input.
    assert found.neurons["0"].item() == 0 - 2 - 1 + 1
    assert found.synapses["0"].item() == 2 + 1 + 1


def test_a_profile_of_activations_is_of_inputs_of_one_size():
    net, x = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), torch.rand(3, 1, 4, 4)
    net.append(nn.Linear(2, 2))
    means = nnslicer.profile(net, x, spatial="flatten")
    assert means["_0"].shape == (2, 4, 4)
    with pytest.raises(nnslicer.NNSlicerError, match=r"of activations \(.*\), and the inputs given make \(.*6, 6\)"):
        nnslicer.contributions(net, torch.rand(3, 1, 6, 6), torch.zeros(3, dtype=torch.int64), means)
    with pytest.raises(nnslicer.NNSlicerError, match="spatial='max' given"):
        nnslicer.profile(net, x, spatial="max")


def test_profile_and_difference_are_the_means_of_what_flows():
    net = models.build("alexnet-cifar10", width=0.05).eval()
    x = torch.rand(7, 3, 32, 32)
    means = nnslicer.profile(net, x, batch_size=3)
    first = net.features[0](x)
    torch.testing.assert_close(means["features_0"], first.mean((0, 2, 3)).double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(means["x"] if "x" in means else means["input_1"], x.mean((0, 2, 3)).double())
    apart = nnslicer.difference(net, x, means)
    torch.testing.assert_close(apart["features.0"], first.mean((2, 3)) - first.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert all(abs(value.mean()) < 1e-4 for value in apart.values())


@pytest.mark.parametrize(
    "name", ["mlp-mnist", "alexnet-cifar10", "vgg16-cifar10", "resnet101-cifar10", "vgg19-imagenet10"]
)
def test_slices_of_every_network_mask_and_extract(name):
    torch.manual_seed(0)
    net = models.build(name, width=0.05, image_size=None if name == "mlp-mnist" else 32).eval()
    x = torch.rand(6, *((1, 28, 28) if name == "mlp-mnist" else (3, 32, 32)))
    y = torch.tensor([0, 1, 2] * 2)
    means = nnslicer.profile(net, torch.cat([x, 1 - x]))
    sliced = nnslicer.dynamic_slice(net, x, y, means, 0.0)  # untrained: little stands out
    assert list(sliced.masks) == list(neurons.layers(net)) and list(sliced.by_class) == [0, 1, 2]
    one = nnslicer.contributions(net, x[:2], y[:2], means, 0.0, synapses=False)
    assert one.synapses == {} and all(len(value) == 2 for value in one.neurons.values())
    assert all((value == value.round()).all() for value in one.neurons.values())
    both = one.slice() | sliced  # the algebra of slices
    assert (both - sliced).masks.keys() == sliced.masks.keys()
    with torch.no_grad(), neurons.masked(net, both):
        expected = net(x)
    with torch.no_grad():
        torch.testing.assert_close(restructuring.extract(net, both)(x), expected, rtol=1e-4, atol=1e-4)


def test_a_set_of_inputs_is_the_sum_of_its_members():
    net, x = models.build("mlp-mnist", width=0.1).eval(), torch.rand(8, 1, 28, 28)
    means, y = nnslicer.profile(net, x), torch.arange(8) % 4
    by_class, at_synapses = nnslicer.class_contributions(net, x, y, means, 0.2, synapses=True)
    each = nnslicer.contributions(net, x, y, means, 0.2)
    for c in range(4):
        assert torch.equal(by_class["0"][c], each.neurons["0"][y == c].sum(0))
        assert torch.equal(at_synapses["4"][c], each.synapses["4"][y == c].sum(0))
    # Several outputs at once: the contribution to begin with is given for each.
    wanted = torch.zeros(8, 10)
    wanted[torch.arange(8), y] = 1
    again = nnslicer.contributions(net, x, wanted, means, 0.2)
    assert torch.equal(again.neurons["2"], each.neurons["2"])


def test_leaves_the_network_as_it_was():
    net = models.build("vgg16-cifar10", width=0.05).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x = torch.rand(3, 3, 32, 32)
    nnslicer.contributions(net, x, torch.tensor([0, 1, 2]), nnslicer.profile(net, x))
    assert net.training and all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    "form", [lambda y: y.tolist(), lambda y: y.int(), lambda y: F.one_hot(y), lambda y: y.float(), lambda y: y.numpy()]
)
def test_labels_in_any_form(form):
    net, x, y = models.build("mlp-mnist", width=0.1).eval(), torch.rand(6, 1, 28, 28), torch.arange(6) % 3
    means = nnslicer.profile(net, 1 - x)
    assert nnslicer.dynamic_slice(net, x, form(y), means, 0.1) == nnslicer.dynamic_slice(net, x, y, means, 0.1)
    found, wanted = (nnslicer.contributions(net, x, each, means, 0.1).neurons for each in (y.int().tolist(), y))
    assert torch.equal(found["0"], wanted["0"])


def test_labels_that_are_no_class_are_refused():
    net, x, y = models.build("mlp-mnist", width=0.1).eval(), torch.rand(6, 1, 28, 28), torch.arange(6) % 3
    means = nnslicer.profile(net, x)
    for wrong, label in ((y - 1, -1), (y + 1, 3)):
        with pytest.raises(NssError, match=f"label {label} given, expected 0 to 2"):
            nnslicer.dynamic_slice(net, x, wrong, means, n_classes=3)


def test_a_masked_network_is_refused():
    """Its profile and contributions would be the whole network's."""
    net, x = models.build("mlp-mnist", width=0.1).eval(), torch.rand(4, 1, 28, 28)
    means, target = nnslicer.profile(net, x), torch.arange(4)
    with neurons.masked(net, {"0": torch.arange(neurons.layers(net)["0"].width) < 3}):
        for peer in (
            lambda: nnslicer.profile(net, x), lambda: nnslicer.difference(net, x, means),
            lambda: nnslicer.contributions(net, x, target, means),
            lambda: detection.features(net, x, means, 0.5, "nnslicer"),
        ):  # fmt: skip
            with pytest.raises(nnslicer.NNSlicerError, match="is masked, expected a whole network"):
                peer()


def test_wrong_use_is_an_error_by_name():
    net, x, y = models.build("mlp-mnist", width=0.1), torch.rand(2, 1, 28, 28), torch.tensor([0, 1])
    means = nnslicer.profile(net, x)
    other = nnslicer.profile(models.build("mlp-mnist", width=0.2), x)
    for given_, message in [
        (dict(means={}), "no profile given"),
        (dict(means=None), "no profile given"),
        (dict(means=other), "expected 51"),
        (dict(means={"0": torch.zeros(1)}), "another network's"),
        (dict(theta=1.0), "theta=1.0"),
        (dict(theta=-0.1), "theta=-0.1"),
        (dict(target=torch.tensor([0])), "2 inputs and 1 targets"),
        (dict(target=torch.tensor([0, 10])), "0 to 9"),
        (dict(target=torch.tensor([0.0, 1.0])), "0 to 9"),
    ]:
        use = dict(x=x, target=y, means=means) | given_
        with pytest.raises(nnslicer.NNSlicerError, match=message):
            nnslicer.contributions(net, **use)
    with pytest.raises(nnslicer.NNSlicerError, match="class 1 has no sample"):
        nnslicer.dynamic_slice(net, x, y * 2, means)
    for module in (nn.GELU(), nn.AvgPool2d(2, padding=1), nn.Conv2d(4, 4, 3, padding="same")):
        odd = nn.Sequential(nn.Conv2d(1, 4, 3), module, nn.Flatten(), nn.LazyLinear(3))
        odd(x)
        with pytest.raises(neurons.UnsupportedNetwork, match="NNSlicer has no rule for '_1'"):
            nnslicer.profile(odd, x)


def test_what_precedes_the_last_sum_below_the_limit_goes():
    """In ascending size 1, 4, -5, 10: the sums are 1, 5, 0, 10, so that they come back below 2 once more."""
    terms = torch.tensor([[10.0, 1.0, -5.0, 4.0]])
    assert nnslicer._kept(terms, torch.tensor([2.0])).tolist() == [[True, False, False, False]]
    assert nnslicer._kept(terms, torch.tensor([0.0])).all()  # nothing is below nothing
    assert not nnslicer._kept(terms, torch.tensor([11.0])).any()


class Joined(nn.Module):
    """Two branches side by side, pooled by functions."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 3, 3), nn.Linear(5 * 2 * 2, 3)

    def forward(self, x):
        both = torch.cat([F.relu(self.left(x)), F.relu(self.right(x))], 1)
        return self.head(F.max_pool2d(both, 3, 2, 1).flatten(1))


def test_a_concatenation_hands_on_to_its_parts_and_functions_pool_as_modules_do():
    torch.manual_seed(0)
    net, x = Joined().eval(), torch.rand(4, 1, 6, 6)
    means = nnslicer.profile(net, torch.rand(20, 1, 6, 6))
    found = nnslicer.contributions(net, x, torch.tensor([0, 1, 2, 0]), means, 0.0)
    whole = nn.Conv2d(1, 5, 3)  # the same as one layer
    whole.weight.data, whole.bias.data = (
        torch.cat([getattr(net.left, part).data, getattr(net.right, part).data]) for part in ("weight", "bias")
    )
    one = nn.Sequential(whole, nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(), net.head).eval()
    again = nnslicer.contributions(
        one, x, torch.tensor([0, 1, 2, 0]), nnslicer.profile(one, torch.rand(20, 1, 6, 6)), 0.0
    )
    assert set(found.neurons) == {"left", "right"} and again.neurons["0"].shape == (4, 5)
    same = {"input_1": means["x"], "_0": torch.cat([means["left"], means["right"]])}
    same |= {"_1": means["cat"], "_2": means["max_pool2d"], "_3": means["flatten"], "_4": means["head"]}
    again = nnslicer.contributions(one, x, torch.tensor([0, 1, 2, 0]), same, 0.0)
    assert torch.equal(torch.cat([found.neurons["left"], found.neurons["right"]], 1), again.neurons["0"])
    assert torch.equal(torch.cat([found.synapses["left"], found.synapses["right"]], 1), again.synapses["0"])
    assert again.neurons["0"].any()


def test_a_maximum_hands_on_to_all_that_are_it_and_an_adaptive_average_to_its_windows():
    signs, x = torch.ones(1, 1, 1, 2), torch.tensor([[[[3.0, 3.0, 1.0, 2.0], [0.0, 1.0, 2.0, 0.0]]]])
    pooled = nn.Sequential(
        nn.Conv2d(1, 1, 1), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d((1, 3)), nn.Flatten(), nn.Linear(3, 2)
    )
    traced = graphs.trace(pooled)
    maximum, average = (node for node in traced.graph.nodes if operations.kind(traced, node) in ("maxpool", "pool"))
    passed = nnslicer._spread(traced, maximum, "maxpool", signs, x, torch.tensor([[[[3.0, 2.0]]]]))
    assert passed[0, 0].tolist() == [[1, 1, 0, 1], [0, 0, 1, 0]]
    passed = nnslicer._spread(
        traced, average, "pool", torch.ones(1, 1, 1, 3), torch.rand(1, 1, 2, 4), torch.rand(1, 1, 1, 3)
    )
    assert passed[0, 0].tolist() == [[1, 2, 2, 1]] * 2  # windows of two, which overlap in the middle


def test_a_linear_on_tokens_is_refused():
    """Also where there are as many tokens as units, and sums by the one or the other have the same shape."""
    net, x = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)), torch.rand(6, 4, 5)
    means = {name: torch.zeros(n) for name, n in {"input_1": 4, "_0": 4, "_1": 4, "_2": 16, "_3": 3}.items()}
    for ask in (
        lambda: nnslicer.profile(net, x), lambda: nnslicer.difference(net, x, means),
        lambda: nnslicer.contributions(net, x, torch.zeros(6, dtype=torch.int64), means),
    ):  # fmt: skip
        with pytest.raises(neurons.UnsupportedNetwork, match=r"layer '0', which gives \(N, 4, 4\): a Linear on tokens"):
            ask()
    told = reports.supports(net, x)
    assert told["extract"] is True and "a Linear on tokens" in told["nnslicer"]


@pytest.mark.parametrize(
    "odd", [lambda x: x + 1, lambda x: x + x.shape[1], lambda x: x.shape[1] + x, lambda x: torch.cat([x, x], 2)]
)
def test_what_has_no_rule_is_refused_by_name(odd):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 2, 1), nn.LazyLinear(3)

        def forward(self, x):
            return self.head(odd(self.conv(x)).flatten(1))

    net, x = Odd(), torch.rand(2, 1, 3, 3)
    net(x)
    with pytest.raises(neurons.UnsupportedNetwork, match=r"NNSlicer has no rule for '(add|cat)'"):
        nnslicer.profile(net, x)
