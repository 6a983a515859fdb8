"""Networks of all kinds: masked and extracted alike, whatever stands between their layers; DeepLIFT that adds up, or a
refusal by name; counts that agree."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from random_networks import drawn, layouts
from torch import fx, nn
from written_networks import NETWORKS, Written, written

from nssutils import NssError, archive, contribution, graphs, models, neurons, operations, rescale, restructuring


def random_masks(net, x, seed, share=0.5):
    generator = torch.Generator().manual_seed(seed)
    found = neurons.layers(net, x)
    masks = {name: torch.rand(layer.width, generator=generator) < share for name, layer in found.items()}
    for mask in masks.values():  # some of each layer stay and some go
        order = torch.randperm(len(mask), generator=generator)
        mask[order[1:2]] = False
        mask[order[0]] = True
    return masks


@pytest.mark.parametrize("name", NETWORKS)
def test_extracted_as_masked(name):
    net, x = written(name)
    changed = 0
    for seed in range(4):
        masks = random_masks(net, x, seed)
        small = restructuring.extract(net, masks, x=x, check=False)
        with torch.no_grad(), neurons.masked(net, masks):
            wanted = net(x)
        torch.testing.assert_close(small(x), wanted, rtol=1e-9, atol=1e-9)
        if "batch" not in name:  # whose statistics count
            torch.testing.assert_close(small(x[:1]), wanted[:1], rtol=1e-9, atol=1e-9)
        if seed == 0:
            folded = restructuring.extract(net, masks, fold=True, x=x, check=False)
            torch.testing.assert_close(folded(x), wanted, rtol=1e-9, atol=1e-9)
        changed += not torch.allclose(wanted, net(x))
        assert models.count_parameters(small) < models.count_parameters(net)
    assert changed  # not by every mask: a neuron may never fire


@pytest.mark.parametrize("name", NETWORKS)
def test_all_neurons_are_the_whole_network(name):
    net, x = written(name)
    full = {layer: torch.ones(found.width, dtype=torch.bool) for layer, found in neurons.layers(net, x).items()}
    assert neurons.count_kept(net, full, x) == models.count_parameters(net)
    torch.testing.assert_close(restructuring.extract(net, full, x=x)(x), net(x))


def attributed(net, x, target):
    """What DeepLIFT gives the inputs, added up, and the change of the logits."""
    traced, baseline = graphs.trace(net, x), torch.zeros_like(x)
    reference = graphs.values(traced, baseline)[0]
    leaf = x.clone().requires_grad_()
    with torch.enable_grad():
        out = rescale.Rescale(traced, {}, reference).run(leaf)
        (multiplier,) = torch.autograd.grad(out.gather(1, target[:, None]).sum(), leaf)
    change = (net(x) - net(baseline)).gather(1, target[:, None])[:, 0]
    return (multiplier * x).flatten(1).sum(1), change


REFUSED = {
    "BN with the batch's statistics": "the batch's own statistics",
    "something else": "no rule for 'sort'",
    "neither and nor not": "no rule for 'gt'",
    "an operation of one's own": "no rule for 'squashed' .Squashed.",
    "instance normalisation of units": "no rule for '_1' .1: InstanceNorm1d.",
    "pooled over its units": "a pool over units",
    "cut to whole numbers": "it makes whole numbers",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_deeplift_adds_up_or_is_refused(name):
    net, x = written(name)
    target = torch.arange(len(x)) % 2
    if name in REFUSED:
        with pytest.raises(contribution.ContributionError, match=REFUSED[name]):
            contribution.deeplift(net, x, target)
        return
    given, wanted = attributed(net, x, target)
    torch.testing.assert_close(given, wanted.detach(), rtol=1e-7, atol=1e-9)


@fx.wrap
def squared_if(y, bound):
    return y**2 if (y > bound).any() else y


@pytest.mark.parametrize(
    "step, message",
    [
        (lambda n, y: y.clamp(max=y.flip(1)), "no rule for 'clamp' .clamp by another value that changes"),
        (lambda n, y: torch.clamp_min(y, y.flip(1) / 2), "no rule for 'clamp_min'"),
        (lambda n, y: y.clamp_max(y.flip(1)), "no rule for 'clamp_max'"),
        (lambda n, y: torch.clamp(n.bound, max=y), "no rule for 'clamp'"),
        (lambda n, y: y**y, "no rule for 'pow_1'"),
        (lambda n, y: torch.div(y, 0.1, rounding_mode="floor"), "no rule for 'div' .div with rounding_mode"),
        (lambda n, y: torch.nn.functional.layer_norm(y, (8,), y.mean(0)), "no rule for 'layer_norm'"),
        (lambda n, y: y + y.max(1, keepdim=True)[1], "no rule for 'max_1'"),
        (lambda n, y: y / y.norm(), "no rule for 'norm' .norm of all there is"),
        (lambda n, y: y / y.norm(1, 1, True), "no rule for 'norm' .norm of 1, 1, True"),
        (lambda n, y: y / y.std(0), "no rule for 'std' .std of 0"),
        (lambda n, y: y - y.max(), "no rule for 'max_1'"),
        (lambda n, y: y + torch.std(input=y, dim=1, keepdim=True), "no rule for 'std' .std with its arguments by name"),
        (lambda n, y: squared_if(y=y, bound=n.bound), "'squared_if' .squared_if with its arguments by name"),
        (lambda n, y: squared_if(y, n.bound), "no rule for 'squared_if' .squared_if: the dataflow"),
        (lambda n, y: torch.nn.functional.linear(y, y)[:, :1] * n.bound, "no rule for 'linear'"),
        (lambda n, y: (9 * y).to(dtype=torch.int64).double(), "'to': it makes whole numbers"),
        (lambda n, y: torch.nn.functional.batch_norm(y, n.bound[0], n.bound[0], training=True), "own statistics"),
    ],
)
def test_what_deeplift_would_get_wrong_is_refused(step, message):
    net = Written(
        lambda n, x: n.head(step(n, n.a(x).relu())), a=nn.Linear(5, 8), head=nn.Linear(8, 4),
        bound=nn.Parameter(torch.rand(1, 8)),
    ).double()  # fmt: skip
    with pytest.raises(contribution.ContributionError, match=message):
        contribution.deeplift(net, torch.rand(3, 5, dtype=torch.float64), torch.tensor([0, 1, 2]))


@pytest.mark.parametrize(
    "masks, message",
    [
        (lambda n, y: {"attn_mask": y.new_zeros(7, 7).expand(2 * y.shape[0], 7, 7)}, r": \['attn_mask'\]"),
        (lambda n, y: {"attn_mask": y.mean((0, 2)).expand(7, 7)}, ": MultiheadAttention"),
        (lambda n, y: {"key_padding_mask": y.new_zeros(y.shape[0], 7)}, r": \['key_padding_mask'\]"),
    ],
)
def test_deeplift_refuses_an_attention_with_other_masks_by_name(masks, message):
    net = Written(
        lambda n, x: n.head(n.b(n.at(y := n.a(x), y, y, **masks(n, y))[0]).relu().mean(1)), a=nn.Linear(5, 8),
        at=nn.MultiheadAttention(8, 2, batch_first=True), b=nn.Linear(8, 6), head=nn.Linear(6, 4),
    )  # fmt: skip
    with pytest.raises(contribution.ContributionError, match="no rule for 'at' as it is called" + message):
        contribution.deeplift(net, torch.rand(3, 7, 5), torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("name", ["norm", "gather", "view_as", "max", "new_zeros"])
def test_a_module_s_name_is_not_taken_for_an_operation(name):
    net = Written(lambda n, x: n.head(getattr(n, name)(n.a(x).relu())), a=nn.Linear(5, 8), head=nn.Linear(8, 4))
    net.add_module(name, nn.RNNCell(8, 8))
    with pytest.raises(contribution.ContributionError, match=f"no rule for '{name}.*: RNNCell"):
        contribution.deeplift(net, torch.rand(3, 5), torch.tensor([0, 1, 2]))


def test_deeplift_of_what_never_fires_is_nothing():
    """At zero a length has no derivative."""
    net = Written(
        lambda n, x: n.head(F.normalize(y := n.a(x).relu()) + y.norm(dim=1, keepdim=True) + y.std(1, keepdim=True)),
        a=nn.Linear(5, 8), head=nn.Linear(8, 4),
    ).double()  # fmt: skip
    nn.init.constant_(net.a.bias, -9)
    assert not contribution.deeplift(net, torch.rand(3, 5, dtype=torch.float64), torch.tensor([0, 1, 2]))["a"].any()


@pytest.mark.parametrize("name", NETWORKS)
def test_each_sample_by_itself(name):
    """What a sample gets does not depend on the others in its batch."""
    net, x = written(name)
    if name in REFUSED:
        pytest.skip("DeepLIFT has no rule")
    target = torch.arange(len(x)) % 2
    together = contribution.deeplift(net, x, target)
    alone = [contribution.deeplift(net, x[i : i + 1], target[i : i + 1]) for i in range(len(x))]
    for layer, value in together.items():
        torch.testing.assert_close(value, torch.cat([each[layer] for each in alone]), rtol=1e-7, atol=1e-10)


def test_extracted_again():
    net, x = written("squeeze and excite")
    small = restructuring.extract(net, random_masks(net, x, 0), x=x)
    smaller = restructuring.extract(small, masks := random_masks(small, x, 1), x=x)
    with torch.no_grad(), neurons.masked(small, masks):
        torch.testing.assert_close(smaller(x), small(x), rtol=1e-9, atol=1e-9)


def test_dropout_as_a_function_is_on_again_in_training():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 50), nn.Linear(50, 2)

        def forward(self, x):
            y = torch.nn.functional.dropout(self.a(x).relu().view(-1, 50), 0.5, self.training)
            return self.b(torch.nn.functional.dropout(y, 0.0, training=False))

    net, x = Net().eval(), torch.rand(5, 4)
    small = restructuring.extract(net, {"a": torch.arange(50) < 40})
    assert torch.equal(small(x), small(x))
    assert not torch.equal(small.train()(x), small(x))


def drawn_in_training(net, x):
    """Half of the channels, beside others: what is extracted has a graph of its own."""
    y = torch.cat([net.a(x).relu().view(-1, 8, 8, 8), x], 1)
    return net.head(net.draw(net, y).mean((2, 3)))


def of_training(way, head=11, **parts):
    net = Written(drawn_in_training, a=nn.Conv2d(3, 8, 3, padding=1), head=nn.Linear(head, 4), draw=way, **parts)
    return net.double().eval(), {"a": torch.arange(8) % 2 == 0}, torch.rand(3, 3, 8, 8, dtype=torch.float64)


@pytest.mark.parametrize(
    "way",
    [
        lambda net, y: torch.dropout(y, 0.5, net.training),
        lambda net, y: torch.nn.functional.feature_alpha_dropout(y, training=net.training),
        lambda net, y: torch.nn.functional.rrelu(y - 0.5, 0.1, 0.4, net.training),
        lambda net, y: torch.nn.functional.dropout(y, 0.5 * net.training),
    ],
)
def test_what_draws_in_training_alone_does_so_once_extracted(way, tmp_path):
    net, masks, x = of_training(way)
    small = restructuring.extract(net, masks, x=x)
    assert isinstance(small, torch.fx.GraphModule) and torch.equal(small(x), small(x))
    restructuring.save(small, tmp_path / "small.safetensors")
    for one in (small, restructuring.load(tmp_path / "small.safetensors", net)):
        assert not torch.equal(one.train()(x), one(x))


def other_in_training(net, y):
    return y * 2 if net.training else y


def another_constant(net, y):
    return y * torch.tensor(2.0 if net.training else 1.0)


def normalised_by_hand(net, y):
    return torch.nn.functional.batch_norm(y, net.mean, net.var, training=net.training)


def noisy(net, y):
    return y + torch.randn(11, 1, 1) if net.training else y


def dropped_path(net, y):
    return y * y.new_empty(y.shape[0], *[1] * (y.ndim - 1)).bernoulli_(0.5) if net.training else y


def attentive(net, y):
    q = y.flatten(2)
    dropout = 0.5 if net.training else 0.0
    return torch.nn.functional.scaled_dot_product_attention(q, q, q, dropout_p=dropout).view(-1, 11, 8, 8)


def counting(net, y):
    if net.training:
        net.count.add_(1)
    return y


@pytest.mark.parametrize(
    "way", [other_in_training, another_constant, normalised_by_hand, noisy, dropped_path, attentive, counting]
)
def test_what_a_graph_would_do_in_training_as_in_eval_mode_is_refused(way):
    net, masks, x = of_training(way)
    for name, value in (("mean", torch.zeros(11)), ("var", torch.ones(11)), ("count", torch.zeros(1))):
        net.register_buffer(name, value.double())
    with pytest.raises(
        operations.UnsupportedNetwork, match=r"Written does in training mode .* as in eval mode: (at '|.*draws)"
    ):
        restructuring.extract(net, masks, x=x)
    assert not net.training and net.count == 0 and torch.equal(net.var, torch.ones(11, dtype=torch.float64))
    restructuring.extract(net, masks, x=x, fold=True)


def test_batch_normalisation_that_a_network_keeps_from_training_is_refused():
    class Kept(Written):
        def train(self, mode=True):
            super().train(mode)
            self.norm.eval()
            return self

    net, masks, x = of_training(lambda net, y: net.norm(y), norm=nn.BatchNorm2d(11))
    small = restructuring.extract(net, masks, x=x)
    small.train()(x)
    assert small.norm.running_mean.abs().sum() > 0
    net.__class__ = Kept
    with pytest.raises(operations.UnsupportedNetwork, match="'norm' stays in eval mode by its train"):
        restructuring.extract(net, masks, x=x)


def test_auxiliary_outputs_that_cannot_read_what_is_smaller_are_refused():
    def forward(net, x):
        y = net.a(x).relu()
        return (net.head(y), net.other(y)) if net.training else net.head(y)

    net, x = Written(forward, a=nn.Linear(5, 6), head=nn.Linear(6, 4), other=nn.Linear(6, 4)).eval(), torch.rand(2, 5)
    masks = {"a": torch.arange(6) < 3}
    with pytest.raises(operations.UnsupportedNetwork, match="in training mode the extracted Written cannot run"):
        restructuring.extract(net, masks, x=x)
    assert restructuring.extract(net, masks, x=x, fold=True)(x).shape == (2, 4)


@pytest.mark.parametrize("off", [False, True])
def test_what_is_computed_without_gradients_gets_none_once_extracted(off):
    class Frozen(nn.Module):
        """A part that takes no gradients: ever, or while it is not trained."""

        def __init__(self):
            super().__init__()
            self.a, self.b, self.head = nn.Linear(5, 8), nn.Linear(8, 6), nn.Linear(9, 3)

        def forward(self, x):
            with torch.set_grad_enabled(self.training and not off):
                y = self.a(x).relu()
            return self.head(torch.cat([self.b(y).relu(), y[:, :3]], 1))

    net, x = Frozen().eval(), torch.rand(4, 5)
    small = restructuring.extract(net, random_masks(net, x, 0), x=x)
    assert isinstance(small, torch.fx.GraphModule)
    small.train()(x).sum().backward()
    without = {name for name, p in small.named_parameters() if p.grad is None}
    assert without == ({"a.weight", "a.bias"} if off else set())


def test_a_network_that_cannot_be_read_off_in_training_mode_is_extracted_for_use_alone():
    class Net(nn.Module):
        """Takes another way in training where the values are large."""

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 50), nn.Linear(50, 2)

        def forward(self, x):
            y = self.a(x).relu().view(-1, 50)
            if self.training and y.sum() > 100:
                y = y / 2
            return self.b(torch.nn.functional.dropout(y, 0.5, self.training))

    net, x, masks = Net().eval(), torch.rand(5, 4), {"a": torch.arange(50) < 40}
    with pytest.raises(operations.UnsupportedNetwork, match=r"Net does in training mode.*With fold=True"):
        restructuring.extract(net, masks)
    small = restructuring.extract(net, masks, fold=True)
    with torch.no_grad(), neurons.masked(net, masks):
        torch.testing.assert_close(small(x), net(x))
    assert torch.equal(small.train()(x), small.eval()(x))


def test_a_copy_of_a_masked_network_is_not_masked():
    net, x = written("depthwise")
    whole = net(x)
    with neurons.masked(net, random_masks(net, x, 0)):
        twin = copy.deepcopy(net)
        assert not torch.allclose(net(x), whole)
        torch.testing.assert_close(twin(x), whole)
    torch.testing.assert_close(copy.deepcopy(twin)(x), whole)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrappers_are_taken_off(wrap):
    net, x = written("pool, then BN")
    masks = random_masks(net, x, 0)
    small = restructuring.extract(wrap(net), masks)
    torch.testing.assert_close(small(x), restructuring.extract(net, masks)(x))
    assert list(neurons.layers(wrap(net))) == list(neurons.layers(net))


def test_a_transformer_s_neurons_are_its_mlp_s():
    net, x = written("a vision transformer")
    assert list(neurons.layers(net, x)) == ["blocks.0.fc1", "blocks.1.fc1"]
    assert neurons.record(net, x, "flatten")["blocks.0.fc1"].shape == (3, 24, 5)


def test_values_that_mix_samples_are_refused():
    class Folded(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.b(self.a(x.view(-1, 4)).relu()).view(x.size(0), -1, 2).mean(1)

    with pytest.raises(neurons.UnsupportedNetwork, match=r"'a' gives \(10, 6\) for 2 samples"):
        neurons.record(Folded(), torch.rand(3, 5, 4))
    with pytest.raises(neurons.UnsupportedNetwork, match="which rows are whose"):
        contribution.deeplift(Folded(), torch.rand(3, 5, 4), torch.tensor([0, 1, 0]))


def aliased(net, x):
    y = net.a(x)
    y[:, :3].relu_()
    return net.head(y.relu().mean((2, 3)))


def viewed_before(net, x):
    y = net.a(x)
    z = y.flatten(2)
    y.relu_()
    return net.head(z.mean(2))


def kept(net, x):
    (y := net.a(x).relu()).data.mul_(2)
    return net.head(y.mean((2, 3)))


def into(net, x):
    torch.mul(y := net.a(x), 2, out=y)
    return net.head(y.relu().mean((2, 3)))


def lower_precision(net, x):
    with torch.autocast("cpu", torch.bfloat16):
        y = net.a(x).relu()
    return net.head(y.float().mean((2, 3)))


def matched(net, x):
    match x:
        case torch.Tensor():
            return net.head(net.a(x).relu().mean((2, 3)))
    return net.head(x[0])


def typed(net, x):
    return net.head(net.a(x).relu().mean((2, 3)) * (1 if type(x) is torch.Tensor else 2))


@pytest.mark.parametrize(
    "forward, message",
    [
        (aliased, "'relu_' changes 'a', too, which shares its memory"),
        (viewed_before, "'relu_' changes 'flatten', too"),
        (kept, "'mul_' changes 'relu', too"),
        (into, "'mul' writes into a tensor"),
        (lower_precision, "turns autocast on or off"),
        (matched, "asks for the class of a value by `match`"),
        (typed, "gives other outputs than by itself"),
    ],
)
def test_what_a_graph_would_get_wrong_is_refused(forward, message):
    net = Written(forward, a=nn.Conv2d(3, 6, 3), head=nn.Linear(6, 4))
    with pytest.raises(neurons.UnsupportedNetwork, match=message):
        contribution.score(net, torch.rand(3, 3, 8, 8), torch.tensor([0, 1, 2]), "avg")


def of_batch(way):
    def forward(net, x):
        return net.head(way(x, F.adaptive_avg_pool2d(net.a(x).relu(), 1)))

    return Written(forward, a=nn.Conv2d(3, 6, 3), head=nn.Linear(6, 4)).eval()


def alone(x, y):
    y = y.squeeze()
    return y.unsqueeze(0) if x.shape[0] == 1 else y


def centred(x, y):
    y = y.flatten(1)
    return y - y.mean(0) if x.shape[0] > 1 else y


def by_fours(x, y):
    return y.flatten(1) * (2 if x.shape[0] % 4 == 0 else 1)


def by_halves(x, y):
    for _ in range(x.shape[0] // 2):
        y = y / 2
    return y.flatten(1)


def sample_by_sample(x, y):
    return torch.stack([each.flatten() * 2 for each in y.unbind(0)])


@pytest.mark.parametrize("way", [alone, centred, by_fours, by_halves, sample_by_sample])
def test_a_path_that_depends_on_the_batch_s_size_is_refused(way):
    net, x = of_batch(way), torch.rand(5, 3, 8, 8)
    with pytest.raises(neurons.UnsupportedNetwork, match="depends on the batch"):
        neurons.layers(net, x)


def test_what_a_batch_of_any_size_agrees_to_is_read_off():
    def checked(x, y):
        assert x.shape[0] > 0 and len(x.shape) == 4 and x.numel() // x.shape[0] == 192
        return y.flatten(1)

    net, x = of_batch(checked), torch.rand(5, 3, 8, 8)
    with neurons.masked(net, {"a": torch.ones(6, dtype=torch.bool)}):
        for n in (1, 2, 5):
            torch.testing.assert_close(net(x[:n]), Written.forward(net, x[:n]))


@pytest.mark.parametrize("rows", [13, 26, 104])
def test_rows_are_not_taken_for_the_batch(rows):
    def forward(net, x):
        y = net.a(x).relu()
        return net.head(torch.stack([y[:, :, i].mean(2) for i in range(y.shape[2])], 1).mean(1))

    net, x = Written(forward, a=nn.Conv2d(3, 6, 1), head=nn.Linear(6, 4)).eval(), torch.rand(2, 3, rows, 2)
    small = restructuring.extract(net, {"a": torch.arange(6) < 3}, x=x)
    assert small.a.out_channels == 3


def test_neurons_of_all_samples_along_one_axis_are_left_whole():
    def forward(net, x):
        y = net.a(x).relu()
        n, c, h, w = y.shape
        return net.head(y.reshape(n * c, h * w).softmax(1).reshape(n, c, h * w).amax(2))

    net, x = Written(forward, a=nn.Conv2d(3, 6, 1), head=nn.Linear(6, 4)).double().eval(), torch.rand(2, 3, 8, 8)
    x, masks = x.double(), {"a": torch.arange(6) < 3}
    small = restructuring.extract(net, masks, x=x)
    with neurons.masked(net, masks):
        for n in (1, 2):
            torch.testing.assert_close(small(x[:n]), net(x[:n]), rtol=1e-9, atol=1e-9)


def test_whole_numbers_by_name_are_as_they_are():
    net = Written(
        lambda n, x: n.head((n.a(x).relu() + 0.7).to(dtype=torch.int64).to(x)), a=nn.Linear(5, 6), head=nn.Linear(6, 4)
    )
    net, x = net.double().eval(), torch.rand(3, 5, dtype=torch.float64)
    masks = {"a": torch.arange(6) < 3}
    small = restructuring.extract(net, masks, x=x)
    with neurons.masked(net, masks):
        torch.testing.assert_close(small(x), net(x))


def test_numbers_out_of_tensors_are_refused():
    net = Written(lambda n, x: n.head(n.a(x).relu() * x.max().item()), a=nn.Linear(5, 6), head=nn.Linear(6, 4))
    with pytest.raises(neurons.UnsupportedNetwork, match="takes numbers out of tensors"):
        restructuring.extract(net, {"a": torch.arange(6) < 3}, x=torch.rand(2, 5))


def test_a_graph_that_a_user_read_off_is_read_right():
    net, x = written("overwritten and read again")
    traced = torch.fx.symbolic_trace(net)
    masks = random_masks(net, x, 0)
    with torch.no_grad(), neurons.masked(net, masks), neurons.masked(traced, masks):
        assert torch.equal(net(x), traced(x))


@given(steps=layouts(), seed=st.integers(0, 99))
@hypothesis_settings(max_examples=60, deadline=None)
def test_any_drawn_network_is_extracted_as_masked(steps, seed):
    net, x = drawn(steps, seed)
    masks = random_masks(net, x, seed)
    small = restructuring.extract(net, masks, x=x, check=False)
    with torch.no_grad(), neurons.masked(net, masks):
        torch.testing.assert_close(small(x), net(x), rtol=1e-8, atol=1e-8)
    assert neurons.count_kept(net, masks, x) <= models.count_parameters(small) + sum(b.numel() for b in small.buffers())


@given(steps=layouts(), seed=st.integers(0, 99))
@hypothesis_settings(max_examples=40, deadline=None)
def test_deeplift_adds_up_on_any_drawn_network(steps, seed):
    net, x = drawn(steps, seed)
    given_, wanted = attributed(net, x, torch.tensor([0, 1]))
    torch.testing.assert_close(given_, wanted.detach(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_extracted_network_comes_back_from_its_file(name, tmp_path):
    net, x = written(name)
    small = restructuring.extract(net, random_masks(net, x, 1), x=x, check=False)
    if name in ("an operation of one's own", "a function taken whole"):
        with pytest.raises(archive.ArchiveError, match=r"calls (Squashed|taken_whole), which a file cannot name"):
            restructuring.save(small, tmp_path / "small.safetensors")
        return
    restructuring.save(small, tmp_path / "small.safetensors")
    fresh, _ = NETWORKS[name]()  # other weights: the structure must not depend on them
    back = restructuring.load(tmp_path / "small.safetensors", fresh)
    assert torch.equal(back(x), small(x)) and not torch.allclose(back(x), fresh.double().eval()(x))
    assert models.count_parameters(back) == models.count_parameters(small)


def test_a_file_that_is_none_or_another_network_s_is_named(tmp_path):
    net, x = written("depthwise")
    path = tmp_path / "small.safetensors"
    with pytest.raises(NssError, match=r"small.safetensors has no extracted network"):
        restructuring.load(path, net)
    restructuring.save(restructuring.extract(net, random_masks(net, x, 1), x=x), path)
    with pytest.raises(NssError, match=r"was not extracted from a network like this Sequential"):
        restructuring.load(path, written("LeNet: sigmoid behind a pool")[0])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(NssError, match=r"has no extracted network"):
        restructuring.load(path, net)
    with pytest.raises(NssError, match=r"calls sort, which a file cannot name"):
        odd = Odd().double().eval()
        restructuring.save(restructuring.extract(odd, {"a": torch.arange(6) < 3}), path)
    assert path.stat().st_size == 200


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.b(torch.sort(self.a(x).relu(), 1).values)


def test_extraction_copies_what_it_keeps_and_no_more():
    """What other modules share stays theirs, whole modules stay tied, and nothing is the original's."""
    a, b, c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6)
    c.weight = b.weight
    net = Written(lambda n, x: n.d(n.c(n.b(n.a(x).relu()).relu()).relu()), a=a, b=b, c=c, d=nn.Linear(6, 2), e=b)
    masks = {"a": torch.arange(6) < 3, "b": torch.ones(6, dtype=torch.bool)}
    with pytest.raises(operations.UnsupportedNetwork, match="share a parameter"):
        restructuring.extract(net, masks)
    small = restructuring.extract(net, masks, fold=True)
    theirs = {tensor.data_ptr() for tensor in net.parameters()}
    assert not any(tensor.data_ptr() in theirs for tensor in small.parameters())
    assert small.b.weight.shape == (6, 3) and torch.equal(small.c.weight, c.weight)
    whole = restructuring.extract(net, {"a": torch.ones(6, dtype=torch.bool)})
    assert whole.b.weight is whole.c.weight is whole.e.weight


def test_a_shape_that_is_tried_in_vain_is_not_logged(caplog):
    """torch writes a page of traceback for each, besides the error, which says it all."""
    net = Written(
        lambda n, x: n.h(n.t(x).mean(1)), t=nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), h=nn.Linear(8, 4)
    )
    with pytest.raises(neurons.UnsupportedNetwork, match="took no batch of a usual size"):
        neurons.layers(net.eval())
    assert not caplog.records
