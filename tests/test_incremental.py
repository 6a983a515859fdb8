"""Task A survives task B: the masked network's logits for A, bit by bit; and how tasks are split, replayed, read."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from random_networks import drawn, layouts
from torch import nn
from torch.nn.utils import parametrizations
from written_networks import NETWORKS, Written, conv, written

from nssutils import NssError, freezing, incremental, models, neurons, settings, slicing, training

A, B = incremental.split(10, "first")


def some_slice(net: nn.Module, share: float = 0.5) -> slicing.Slice:
    generator = torch.Generator().manual_seed(0)
    masks = {name: torch.rand(layer.width, generator=generator) < share for name, layer in neurons.layers(net).items()}
    for mask in masks.values():
        mask[0] = True
    return slicing.Slice(masks, {})


def lively(name: str) -> tuple[settings.Setting, nn.Module]:
    """A network with statistics of batch normalisation that matter."""
    setting = settings.get(name, "smoke")
    torch.manual_seed(0)
    net = models.build(setting)
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(16, setting.channels, setting.image_size, setting.image_size))
    return setting, net.eval()


def task_a_logits(net, critical, x):
    with neurons.masked(net, critical):
        return training.logits(net, x)[:, A]


@pytest.mark.parametrize("name", settings.NAMES)
def test_masked_logits_of_task_a_are_bit_identical_after_task_b(name):
    setting, net = lively(name)
    critical = some_slice(net)
    images = torch.rand(24, setting.channels, setting.image_size, setting.image_size)
    before, state = task_a_logits(net, critical, images), copy.deepcopy(net.state_dict())
    elements = incremental.trainable(net, critical, A, 10)
    incremental.learn(
        net, images, B[torch.arange(24) % 5], elements, epochs=3, batch_size=8, lr=1e-2,
        statistics=freezing.norms(net, elements),
    )  # fmt: skip
    assert torch.equal(task_a_logits(net, critical, images), before)
    moved = sum(int((tensor != state[key]).sum()) for key, tensor in net.state_dict().items() if key in elements)
    assert moved > 0.5 * freezing.count(elements)
    # Without the mask task A's logits do change: it is the mask that keeps them.
    assert not torch.equal(training.logits(net, images)[:, A], before)


def learned_apart(net, x, critical, reading=lambda outputs: outputs, trained=True):
    """Task B learned outside the slice, and then all that may change changed at random: the masked network's outputs
    for task A, the first half, before and after. Statistics of batch normalisation move where they may."""
    with torch.no_grad(), neurons.masked(net, critical):
        n_classes = net(x).shape[1]
        task_a, before = torch.arange(n_classes // 2), reading(net(x))[:, : n_classes // 2]
    elements = incremental.trainable(net, critical, task_a, n_classes, x=x)
    if trained:
        incremental.learn(
            net, x, torch.full((len(x),), n_classes - 1), elements, epochs=2, batch_size=2, lr=0.05,
            statistics=freezing.norms(net, elements),
        )  # fmt: skip
    with torch.no_grad():
        for name, p in net.named_parameters():
            p[elements[name]] += 0.05 * torch.randn_like(p[elements[name]])
    with torch.no_grad(), neurons.masked(net, critical):
        return before, reading(net(x))[:, : n_classes // 2]


def apart(net, x, seed=0):
    """Masks of about half of all neurons."""
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.rand(found.width, generator=generator) < 0.5 for n, found in neurons.layers(net, x).items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_task_a_survives_in_networks_as_people_write_them(name):
    """Also what makes of dropped neurons a constant, such as a batch normalisation behind a pool, is task A's."""
    net, x = written(name)
    x = torch.cat([x, x + 0.1])
    # Of log-probabilities, the logits but for a number that all have.
    logits = (lambda out: out - out[:, :1]) if name.endswith("log-softmax last") else lambda out: out
    # torch cannot train what overwrites a value that its gradient needs.
    before, after = learned_apart(net, x, apart(net, x), logits, trained=name != "in place")
    if name.endswith("log-softmax last"):
        torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12)
    else:
        assert torch.equal(after, before)


@given(steps=layouts(), seed=st.integers(0, 99))
@hypothesis_settings(max_examples=30, deadline=None)
def test_task_a_survives_in_any_drawn_network(steps, seed):
    net, x = drawn(steps, seed)
    before, after = learned_apart(net, x, apart(net, x, seed))
    assert torch.equal(after, before)


def few_inputs():
    """A depthwise convolution and its normalisation that read neurons of which half are dropped."""
    net = nn.Sequential(
        conv(3, 8), nn.ReLU(), conv(8, 8, groups=8), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip
    return net, {"0": torch.arange(8) < 4, "2": torch.ones(8, dtype=torch.bool), "5": torch.arange(6) < 3}


def prelu_of_a_constant():
    net = nn.Sequential(
        conv(3, 8), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.PReLU(8), conv(8, 6), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip
    return net, {"0": torch.arange(8) < 4}


def scaled_to_nothing():
    """A scale of the network's own, part of it zero at the start."""
    net = Written(
        lambda n, x: n.head((n.a(x).relu() * n.scale + n.shift).amax((2, 3))), a=conv(3, 8), head=nn.Linear(8, 4),
        scale=nn.Parameter(torch.tensor([0.0, 1.0] * 4).view(8, 1, 1)), shift=nn.Parameter(torch.rand(8, 1, 1)),
    )  # fmt: skip
    return net, {"a": torch.arange(8) < 4}


def tied():
    a, b = nn.Linear(8, 8), nn.Linear(8, 8)
    b.weight = a.weight
    net = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 8), nn.LeakyReLU(), a, nn.LeakyReLU(), b, nn.LeakyReLU(),
        nn.Linear(8, 4),
    )  # fmt: skip
    return net, {"4": torch.arange(8) < 2, "6": torch.arange(8) >= 2}


def tied_to_a_function():
    """A layer's weights that forward() reads once more, whole."""
    net = Written(
        lambda n, x: n.head(F.linear(n.a(y := x.mean((2, 3))).relu(), n.a.weight.T) + y), a=nn.Linear(3, 8),
        head=nn.Linear(3, 4),
    )  # fmt: skip
    return net, {"a": torch.arange(8) < 4}


def computed(norm, **how):
    def made():
        net = nn.Sequential(
            norm(conv(3, 8), **how), nn.ReLU(), norm(conv(8, 6), **how), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), norm(nn.Linear(6, 4), **how),
        )  # fmt: skip
        return net, {"0": torch.arange(8) < 4, "2": torch.arange(6) < 3}

    return made


def dense_over_space():
    net = nn.Sequential(
        conv(3, 8), nn.ReLU(), nn.Dropout(), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return net, {"0": torch.arange(8) < 4}


@pytest.mark.parametrize(
    "made",
    [
        few_inputs, prelu_of_a_constant, scaled_to_nothing, tied, tied_to_a_function, dense_over_space,
        computed(parametrizations.weight_norm), computed(parametrizations.weight_norm, dim=1),
        computed(parametrizations.spectral_norm), computed(nn.utils.weight_norm),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_task_a_survives(made):
    torch.manual_seed(0)
    net, masks = made()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
            module.running_mean.normal_(0, 0.2)
    before, after = learned_apart(net.eval(), torch.rand(6, 3, 6, 6), masks)
    assert torch.equal(after, before)


def test_what_is_frozen_of_the_mlp_in_closed_form():
    """With a and b critical neurons and half the head: 785a + 513b + 5 * 257."""
    net = models.build("mlp-mnist")
    masks = {"0": torch.arange(512) < 165, "2": torch.arange(256) < 78}
    frozen = freezing.determining(net, masks, torch.arange(10) < 5)
    assert freezing.count(frozen) == 785 * 165 + 513 * 78 + 5 * 257
    free = incremental.trainable(net, masks, A, 10)
    assert freezing.count(free) == models.count_parameters(net) - freezing.count(frozen)
    with_replay = incremental.trainable(net, masks, A, 10, replay=True)
    assert freezing.count(with_replay) == freezing.count(free) + 5 * 257


def test_replay_frees_task_a_s_rows_and_batch_normalisation_only():
    _, net = lively("vgg16-cifar10")
    critical = some_slice(net)
    alone, replay = (incremental.trainable(net, critical, A, 10, replay=r) for r in (False, True))
    freed = {name for name in replay if (replay[name] & ~alone[name]).any()}
    norms = {name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert {name.rpartition(".")[0] for name in freed} == norms | {"classifier"}


def test_replayed_images_pass_through_the_mask_in_eval_mode():
    """Trained on task A's images alone, nothing moves but what the masked network has."""
    setting, net = lively("vgg16-cifar10")
    critical = some_slice(net)
    elements = incremental.trainable(net, critical, A, 10, replay=True)
    state, x = copy.deepcopy(net.state_dict()), torch.rand(16, 3, setting.image_size, setting.image_size)
    incremental.learn(
        net, x, A[torch.arange(16) % 5], elements, epochs=1, batch_size=16, critical=critical, task_a=A,
        statistics=freezing.norms(net, elements),
    )  # fmt: skip
    after = net.state_dict()
    for name in ("features.1.running_mean", "features.1.running_var"):
        assert torch.equal(after[name], state[name])
    columns = critical.masks["features.40"]
    # Of the rows of task A only the columns of critical neurons have a gradient; AdamW decays the others, alike.
    decayed = state["classifier.weight"][:5][:, ~columns] * (1 - 1e-3 * 0.01)
    torch.testing.assert_close(after["classifier.weight"][:5][:, ~columns], decayed, rtol=1e-6, atol=0)
    assert (after["classifier.weight"][:5][:, columns] - state["classifier.weight"][:5][:, columns]).abs().max() > 5e-4


@given(st.integers(2, 20), st.sampled_from(incremental.TASKS))
def test_the_tasks_part_the_classes(n, which):
    a, b = incremental.split(n, which)
    assert sorted([*a.tolist(), *b.tolist()]) == list(range(n)) and len(a) + len(b) == n
    assert (0 in a) == (which == "first")
    y = torch.arange(3 * n) % n
    chosen = incremental.samples(y, a)
    assert set(y[chosen].tolist()) == set(a.tolist()) and len(chosen) == 3 * len(a)


@given(st.floats(0, 1), st.integers(0, 5))
def test_replay_takes_its_share_of_each_class(share, seed):
    y = torch.randint(10, (300,), generator=torch.Generator().manual_seed(seed))
    chosen = y[incremental.replayed(y, A, share)]
    assert all((chosen == c).sum() == round(share * int((y == c).sum())) for c in range(5))
    assert set(chosen.tolist()) <= set(A.tolist())


def test_told_the_task_other_logits_are_suppressed():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 4))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.copy_(torch.tensor([1.0, 2.0, 0.0, 9.0]))
    x, y = torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 1, 0])
    assert incremental.accuracy(net, x, y) == 0
    assert incremental.accuracy(net, x, y, torch.tensor([0, 1])) == 0.5


def test_the_network_of_a_task_has_its_rows():
    _, net = lively("alexnet-cifar10")
    x = torch.rand(3, 3, 32, 32)
    last = incremental.split(10, "last")[0]
    within = incremental.of_task(net, last)
    torch.testing.assert_close(training.logits(within, x), training.logits(net, x)[:, last])
    assert net.classifier[4].out_features == 10 and within.classifier[4].out_features == 5


def test_the_control_has_as_many_neurons_of_each_layer():
    _, net = lively("vgg16-cifar10")
    critical = some_slice(net)
    control = incremental.random_slice(critical, seed=3)
    sizes = [[int(mask.sum()) for mask in one.masks.values()] for one in (critical, control)]
    assert sizes[0] == sizes[1] and control != critical
    assert control == incremental.random_slice(critical, seed=3) != incremental.random_slice(critical, seed=4)


def test_unknown_tasks_and_shares_are_refused():
    with pytest.raises(incremental.NssError, match="task_a='middle' given"):
        incremental.split(10, "middle")
    with pytest.raises(incremental.NssError, match=r"share=1.2 given, expected one in \[0, 1\]"):
        incremental.replayed(torch.arange(10), A, 1.2)


def test_a_widened_network_has_new_classes_and_gives_the_old_ones_the_same_logits():
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    x = torch.rand(5, 6, dtype=torch.float64)
    wide = incremental.widened(net, 2)
    assert wide(x).shape == (5, 5) and torch.equal(wide(x)[:, :3], net(x))
    assert wide(x).dtype == torch.float64 and net[2].out_features == 3
    masks = {"0": torch.arange(8) < 5}
    free = incremental.trainable(wide, masks, torch.arange(3), 5)
    learned = incremental.learn(wide, x, torch.full((5,), 4), free, epochs=3, batch_size=5, lr=0.1)
    with neurons.masked(net, masks), neurons.masked(learned, masks):
        torch.testing.assert_close(learned(x)[:, :3], net(x), rtol=0, atol=0)
    with pytest.raises(NssError, match="the output layer '0' is a Conv1d, expected Linear"):
        incremental.widened(nn.Sequential(nn.Conv1d(3, 4, 2), nn.Flatten()), 1, torch.rand(2, 3, 2))


def test_replay_frees_three_dimensional_normalisation_too():
    net = nn.Sequential(
        nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 4)
    )
    alone, replay = (incremental.trainable(net, {"0": torch.arange(4) < 2}, A[:2], 4, replay=r) for r in (False, True))
    assert alone["1.weight"].tolist() == [False, False, True, True] and replay["1.weight"].all()


def test_an_output_layer_of_computed_weights_has_no_rows_of_its_own():
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), parametrizations.weight_norm(nn.Linear(8, 4)))
    with pytest.raises(NssError, match="the weights of the output layer '2' are computed from others"):
        incremental.of_task(net, A[:2])


@pytest.mark.parametrize(
    "behind",
    [
        lambda logits: logits[:, [3, 2, 1, 0]],
        lambda logits: F.channel_shuffle(logits[..., None, None], 2)[..., 0, 0],
        lambda logits: logits * torch.arange(4),
    ],
)
def test_a_task_s_rows_are_not_taken_where_outputs_are_moved(behind):
    class Behind(nn.Sequential):
        def forward(self, x):
            return behind(super().forward(x))

    net = Behind(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))
    with pytest.raises(NssError, match="something behind the output layer"):
        incremental.of_task(net, torch.tensor([1, 2]))
    grouped = nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1, groups=2), nn.Flatten()
    )
    with pytest.raises(NssError, match="is a convolution of groups"):
        incremental.of_task(grouped, torch.tensor([1, 2]), torch.rand(2, 1, 4, 4))


def test_a_task_s_rows_in_any_form():
    x, net = torch.rand(5, 3), nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4), nn.Sigmoid()).eval()
    for classes in ([1, 2], torch.tensor([False, True, True, False])):
        within = incremental.of_task(net, classes)
        torch.testing.assert_close(within(x), net(x)[:, 1:3])
        assert within[2].out_features == 2
    frozen = incremental.of_task(net.requires_grad_(False), [0])
    assert not any(p.requires_grad for p in frozen.parameters())
    logs = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4), nn.LogSoftmax(1))
    assert incremental.of_task(logs, [0, 1])(x).shape == (5, 2)  # of two classes, which make up the whole


def test_labels_in_any_form_count_alike():
    torch.manual_seed(0)
    net, x, y = nn.Sequential(nn.Flatten(), nn.Linear(4, 4)), torch.rand(9, 1, 2, 2), torch.arange(9) % 4
    forms = [y, y[:, None], F.one_hot(y), y.tolist(), y.numpy(), y.int()]
    assert len({incremental.accuracy(net, x, form) for form in forms}) == 1
    assert len({training.evaluate(net, x, form) for form in forms}) == 1
    assert len({tuple(incremental.replayed(form, torch.tensor([0, 3]), 0.5).tolist()) for form in forms}) == 1


@pytest.mark.parametrize("critical", [None, {"a": torch.arange(6) < 3}])
def test_a_batch_of_one_image_is_normalised_as_in_eval_mode(critical):
    """The last of an epoch, or the one that is not of task A."""
    torch.manual_seed(0)
    net = Written(
        lambda n, x: n.head(n.bn(n.a(x)).relu()), a=nn.Linear(5, 6), bn=nn.BatchNorm1d(6), head=nn.Linear(6, 3)
    )
    x, y = torch.rand(9, 5), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2])
    elements, before = freezing.whole(net), net.bn.running_mean.clone()
    incremental.learn(
        net, x, y, elements, epochs=2, batch_size=8, statistics=freezing.norms(net, elements), critical=critical,
        task_a=[0, 1],
    )  # fmt: skip
    moved = not torch.equal(net.bn.running_mean, before)
    assert net.training and net.bn.training and moved == (critical is None)


def test_what_learn_cannot_use_is_named():
    net = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    x, y, elements = torch.rand(6, 5), torch.arange(6) % 3, freezing.whole(net)
    how = dict(epochs=1, batch_size=4)
    with pytest.raises(NssError, match="a slice given without task_a"):
        incremental.learn(net, x, y, elements, critical={"0": torch.arange(6) < 3}, **how)
    with pytest.raises(NssError, match="expected at least one"):
        incremental.learn(net, x[:0], y[:0], elements, **how)
    with pytest.raises(NssError, match="label 4 given, expected 0 to 2"):
        incremental.learn(net, x, y * 2, elements, **how)
    assert incremental.samples(y, [0, 2]).tolist() == [0, 2, 3, 5]
    assert incremental.replayed(y, [0, 2], 0.5).tolist() == [0, 2]
    incremental.learn(net, x, y, elements, reduced=True, **how)  # vectors have no channels that could come last
