"""Contributions against direct computation, captum, and completeness."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerDeepLift
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from nssutils import NssError, contribution, models, neurons, settings
from nssutils.studies import sensitivity


def network(seed=0, pool=None) -> nn.Sequential:
    """A small convolutional network in float64 with a batch normalisation that does something."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), pool or nn.AvgPool2d(2),
        nn.Conv2d(6, 5, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 7), nn.Sigmoid(),
        nn.Linear(7, 3),
    )  # fmt: skip
    nn.init.normal_(net[1].running_mean, 0, 0.2)
    nn.init.uniform_(net[1].running_var, 0.5, 2)
    nn.init.normal_(net[1].bias)
    return net.double().eval()


@pytest.fixture(scope="module")
def batch():
    torch.manual_seed(1)
    return torch.rand(30, 2, 12, 12, dtype=torch.float64), torch.arange(30) % 3


def change_of_logit(net, x, target, baseline):
    return (net(x) - net(baseline)).gather(1, target[:, None])[:, 0]


def test_avg_var_ens_are_the_papers_formulas_in_any_batch_size(batch):
    net, (x, y) = network(), batch
    acts = neurons.record(net, x)
    for batch_size in (4, 256):
        scores = contribution.score(net, x, y, ("avg", "var", "ens"), 3, batch_size)
        for name, value in acts.items():
            for c in range(3):
                mine = value[y == c, :, 0]
                avg, var = mine.mean(0), mine.var(0, correction=0)
                torch.testing.assert_close(scores["avg"][name][c], avg)
                torch.testing.assert_close(scores["var"][name][c], var)
                unit = [(v - v.min()) / (v.max() - v.min()) for v in (avg, var)]
                torch.testing.assert_close(scores["ens"][name][c], (unit[0] + unit[1]) / 2)


def test_taylor_is_the_square_of_weight_times_gradient(batch):
    net, (x, y) = network(), batch
    found = contribution.score(net, x, y, "taylor", 3, batch_size=4)["taylor"]
    for name in found:
        weight = net.get_submodule(name).weight
        for c in range(3):
            expected = torch.zeros(len(weight), dtype=torch.float64)
            for part in x[y == c].split(4):
                loss = F.cross_entropy(net(part), torch.full((len(part),), c))
                (gradient,) = torch.autograd.grad(loss, weight)
                expected += (weight * gradient).square().flatten(1).sum(1).detach()
            torch.testing.assert_close(found[name][c], expected)


def test_taylor_gate_is_the_square_of_activation_times_gradient(batch):
    net, (x, y) = network(), batch
    found = contribution.score(net, x, y, "taylor", 3, batch_size=4, taylor="gate")["taylor"]["0"]
    for c in range(3):
        each = []
        for image in x[y == c]:
            value = net[:3](image[None]).detach().requires_grad_()
            (gradient,) = torch.autograd.grad(F.cross_entropy(net[3:](value), torch.tensor([c])), value)
            each.append((value * gradient).sum((0, 2, 3)).square().detach())
        torch.testing.assert_close(found[c], torch.stack(each).mean(0))


def test_overall_is_scoring_everything_as_one_class(batch):
    net, (x, y) = network(), batch
    x, y = x[:29], y[:29]  # classes of different sizes
    metrics = ("avg", "var", "ens")
    whole = contribution.overall(contribution.score(net, x, y, metrics, 3), torch.bincount(y))
    alone = contribution.score(net, x, torch.zeros_like(y), metrics, 1)
    for metric in metrics:
        for name in whole[metric]:
            torch.testing.assert_close(whole[metric][name], alone[metric][name])


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.stem, self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 9), nn.Linear(9, 8)
        self.head, self.act = nn.Linear(8, 3), nn.ReLU()

    def forward(self, x):
        x = torch.tanh(self.stem(x))
        x = x + self.b(torch.sigmoid(self.a(x)))
        return self.head(self.act(x))


SITES = {"0": "2", "4": "5", "8": "9"}  # where network()'s layers are read


def test_deeplift_equals_captum_without_max_pooling(batch):
    net, (x, y) = network(), batch
    baseline = torch.full_like(x[:1], 0.3)
    found = contribution.deeplift(net, x, y, baseline)
    for name, site in SITES.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = LayerDeepLift(net, net.get_submodule(site)).attribute(x, baseline.expand_as(x), target=y)
        theirs = theirs.flatten(2).sum(2) if theirs.dim() > 2 else theirs
        torch.testing.assert_close(found[name], theirs.detach(), rtol=1e-9, atol=1e-12)


def test_captum_is_asked_call_by_call():
    """The study of readings takes networks that call one module more than once, which captum by itself does not."""
    net = models.build(settings.get("resnet18-cifar10", "smoke")).double().eval()
    x, y = torch.rand(12, 3, 8, 8, dtype=torch.float64), torch.arange(12) % 2
    theirs = sensitivity._captum(net, x, y, 2, torch.zeros_like(x[:1]))
    ours = contribution.score(net, x, y, "deeplift", n_classes=2)["deeplift"]
    assert theirs.keys() == ours.keys() and len(ours) > 5
    for name in ours:
        torch.testing.assert_close(theirs[name], ours[name], rtol=1e-9, atol=1e-12)


POOLS = {
    "plain": nn.MaxPool2d(2),
    "overlapping": nn.MaxPool2d(3, stride=2, padding=1),
    "ragged": nn.MaxPool2d(5, stride=3, ceil_mode=True),
    "dilated": nn.MaxPool2d(2, stride=1, dilation=2),
    "adaptive": nn.AdaptiveMaxPool2d(5),
}


@pytest.mark.parametrize("pool", POOLS)
def test_deeplift_is_complete_with_max_pooling(batch, pool):
    net, (x, y) = network(pool=POOLS[pool]), batch
    baseline = torch.rand_like(x[:1])
    expected = change_of_logit(net, x, y, baseline)
    for name, part in contribution.deeplift(net, x, y, baseline).items():
        torch.testing.assert_close(part.sum(1), expected.detach(), rtol=1e-9, atol=1e-12, msg=name)


def test_captum_is_not_complete_with_max_pooling():
    """Why completeness decides there, and not captum: before VGG-16's pools captum 0.9 misses most of the change."""
    torch.manual_seed(0)
    net = models.build(settings.get("vgg16-cifar10", "smoke")).double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.normal_(module.bias, 0, 0.3)
    x, target = torch.rand(4, 3, 32, 32, dtype=torch.float64), torch.arange(4)
    expected = change_of_logit(net, x, target, torch.zeros_like(x[:1])).detach()
    ours = contribution.deeplift(net, x, target)["features.3"].sum(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        site = net.get_submodule("features.5")
        theirs = LayerDeepLift(net, site).attribute(x, torch.zeros_like(x), target=target).flatten(1).sum(1).detach()
    assert ((ours - expected).abs() / expected.abs()).max() < 1e-9
    assert ((theirs - expected).abs() / expected.abs()).max() > 0.1


@pytest.mark.parametrize("name", ["mlp-mnist", "alexnet-cifar10", "vgg16-cifar10", "vgg19-imagenet10"])
def test_deeplift_is_complete_at_every_layer_of_the_chain_networks(name):
    torch.manual_seed(0)
    setting = settings.get(name, "smoke")
    net = models.build(setting).double().eval()
    x = torch.rand(4, setting.channels, setting.image_size, setting.image_size, dtype=torch.float64)
    target = torch.arange(4)
    expected = change_of_logit(net, x, target, torch.zeros_like(x[:1])).detach()
    for part in contribution.deeplift(net, x, target).values():
        torch.testing.assert_close(part.sum(1), expected, rtol=1e-8, atol=1e-10)


def test_deeplift_is_complete_before_a_residual_block():
    net, x = Residual().double(), torch.rand(5, 6, dtype=torch.float64)
    target = torch.tensor([0, 1, 2, 0, 1])
    expected = change_of_logit(net, x, target, torch.zeros_like(x[:1])).detach()
    torch.testing.assert_close(contribution.deeplift(net, x, target)["stem"].sum(1), expected)


def test_a_baseline_is_one_sample_however_it_is_given(batch):
    net, (x, y) = network(), batch
    one = torch.full((1, 2, 12, 12), 0.25)  # exact in every type
    wanted = contribution.score(net, x, y, "deeplift", baseline=one.double())["deeplift"]
    for form in (one, one[0], one.numpy(), 0.25, torch.tensor(0.25)):
        found = contribution.score(net, x, y, "deeplift", baseline=form)["deeplift"]
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    for wrong in (one.expand(3, -1, -1, -1), one[..., 0], torch.rand(1, 1, 12, 12)):
        with pytest.raises(NssError, match=r"baseline torch.float32 \(.*expected one sample torch.float64 \(1, 2, 12"):
            contribution.deeplift(net, x, y, wrong)


def test_what_takes_derivatives_is_refused_where_there_are_none(batch):
    net, (x, y) = network(), batch
    with torch.inference_mode():
        for metric in ("deeplift", "taylor"):
            with pytest.raises(NssError, match=r"within torch.inference_mode\(\)"):
                contribution.score(net, x, y, metric)
        assert contribution.score(net, x, y, "avg")["avg"].keys() == {"0", "4", "8"}


@given(seed=st.integers(0, 10_000), depth=st.integers(1, 4), width=st.integers(1, 8))
@hypothesis_settings(max_examples=40, deadline=None)
def test_deeplift_is_complete_on_any_mlp(seed, depth, width):
    torch.manual_seed(seed)
    hidden = [module for _ in range(depth) for module in (nn.Linear(width, width), nn.ReLU(inplace=True))]
    net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), *hidden, nn.Linear(width, 3)).double()
    x, baseline = torch.randn(6, 4, dtype=torch.float64), torch.randn(1, 4, dtype=torch.float64)
    target = torch.arange(6) % 3
    expected = change_of_logit(net, x, target, baseline).detach()
    for part in contribution.deeplift(net, x, target, baseline).values():
        torch.testing.assert_close(part.sum(1), expected, rtol=1e-8, atol=1e-10)


def test_in_place_modules_score_as_others_do(batch):
    x, y = batch
    plain, in_place = network(), network()
    in_place[2] = nn.ReLU(inplace=True)
    first, second = (contribution.score(net, x, y, n_classes=3) for net in (plain, in_place))
    for metric in contribution.METRICS:
        for name in first[metric]:
            torch.testing.assert_close(first[metric][name], second[metric][name])


def test_scoring_leaves_the_network_as_it_was(batch):
    net, (x, y) = network(), batch
    net.train()
    net[4].weight.requires_grad_(False)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    contribution.score(net, x, y, n_classes=3)
    assert net.training and not net[4].weight.requires_grad and net[0].weight.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


class Sorted(Residual):
    def forward(self, x):
        return self.head(torch.tanh(self.stem(x)).sort(1).values)


def test_what_deeplift_cannot_pass_is_refused_by_name():
    with pytest.raises(contribution.ContributionError, match=r"no rule for 'sort' .*avg, var, ens and taylor"):
        contribution.deeplift(Sorted(), torch.rand(2, 6), torch.tensor([0, 1]))


@pytest.mark.parametrize("form", ["weights", "gate"])
def test_taylor_names_a_layer_that_no_gradient_reaches(batch, form):
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.head = nn.Linear(288, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.head(self.a(x.flatten(1)).relu().detach())

    (x, y), net = batch, Cut().double()
    with pytest.raises(contribution.ContributionError, match=r"no gradient reaches layer 'a'.*deeplift"):
        contribution.score(net, x, y, "taylor", taylor=form)
    assert contribution.score(net, x, y, "deeplift")["deeplift"]["a"].abs().sum() > 0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"metrics": 0.9}, "metrics=0.9 given, expected some of avg, var"),
        ({"metrics": ("tailor",)}, "unknown metric 'tailor'.*Did you mean 'taylor'"),
        ({"n_classes": 2}, "label 2 given, expected 0 to 1"),
        ({"n_classes": 4}, "4 classes given, but the network has 3 outputs"),
        ({"taylor": "weight"}, "taylor='weight'"),
    ],
)
def test_wrong_use_is_named(batch, change, message):
    x, y = batch
    with pytest.raises(NssError, match=message):
        contribution.score(network(), x, y, **({"n_classes": 3} | change))


def test_what_deeplift_cannot_begin_with_is_named():
    net, x = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), torch.rand(2, 4)
    y = torch.tensor([0, 1])
    with pytest.raises(contribution.ContributionError, match="baseline='zero' given"):
        contribution.deeplift(net, x, y, baseline="zero")
    with pytest.raises(contribution.ContributionError, match="not finite"):
        contribution.deeplift(net, x, y, baseline=float("nan"))
    with pytest.raises(contribution.ContributionError, match="12 classes given, but the network has 3 outputs"):
        contribution.deeplift(net, x, torch.tensor([0, 11]))
    ours, theirs = contribution.deeplift(net, x.numpy(), y.numpy()), contribution.deeplift(net, x, y)
    assert torch.equal(ours["0"], theirs["0"])
