"""Extraction: physically smaller, the masked network's logits, no use of this package."""

import pickle
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nssutils import models, neurons, pruning, restructuring, settings


def lively(net: nn.Module) -> nn.Module:
    """The network in float64 and eval mode, its batch normalisation with statistics and shifts that matter."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.2, 0.5)
            nn.init.normal_(module.bias)
    return net.double().eval()


def random_masks(net: nn.Module) -> dict[str, torch.Tensor]:
    masks = {name: torch.rand(layer.width) > 0.4 for name, layer in neurons.layers(net).items()}
    for mask in masks.values():
        mask[0] = True
    return masks


def masked_logits(net, masks, x):
    with torch.no_grad(), neurons.masked(net, masks):
        return net(x)


@pytest.mark.parametrize("name", settings.NAMES)
def test_extracted_network_has_the_masked_logits_and_only_the_kept_parameters(name):
    setting = settings.get(name, "smoke")
    net = lively(models.build(setting))
    masks = random_masks(net)
    x = torch.rand(3, setting.channels, setting.image_size, setting.image_size, dtype=torch.float64)
    small = restructuring.extract(net, masks)
    torch.testing.assert_close(small(x), masked_logits(net, masks, x), rtol=1e-9, atol=1e-9)
    assert models.count_parameters(small) == neurons.count_kept(net, masks) < models.count_parameters(net)
    folded = restructuring.extract(net, masks, fold=True)
    torch.testing.assert_close(folded(x), small(x), rtol=1e-9, atol=1e-9)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in small.modules()) or setting.model == "mlp"


def test_a_norm_that_others_read_beside_is_not_folded():
    """The convolution's own output is used too: folding would change it."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 4)

        def forward(self, x):
            x = self.conv(x)
            return self.head((x + self.norm(x)).relu().mean((2, 3)))

    net, x = lively(Twice()), torch.rand(2, 3, 8, 8, dtype=torch.float64)
    folded = restructuring.extract(net, {}, fold=True)
    torch.testing.assert_close(folded(x), net(x), rtol=1e-9, atol=1e-9)
    assert isinstance(folded.norm, nn.BatchNorm2d)


class Residual(nn.Module):
    """A block without projection: the stream itself loses channels, and the branches keep different ones."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b = (nn.Conv2d(i, 8, 3, padding=1) for i in (3, 8, 8))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x).relu()
        x = (x + self.b(self.a(x).relu())).relu()
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("seed", range(8))
def test_residual_branches_may_keep_any_channels(seed):
    net = lively(Residual())
    torch.manual_seed(seed)
    masks = random_masks(net)
    masks["b"][0] = seed % 2 == 0
    masks["b"][7] = True
    x = torch.rand(2, 3, 6, 6, dtype=torch.float64)
    small = restructuring.extract(net, masks)
    torch.testing.assert_close(small(x), masked_logits(net, masks, x), rtol=1e-9, atol=1e-9)
    assert models.count_parameters(small) == neurons.count_kept(net, masks)


def test_extraction_leaves_the_network_as_it_was():
    net = lively(Residual())
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    restructuring.extract(net, random_masks(net))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_extracted_network_loads_without_this_package(tmp_path):
    net = lively(models.build(settings.get("vgg16-cifar10", "smoke")))
    small = restructuring.extract(net, random_masks(net))
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    (tmp_path / "small.pickle").write_bytes(pickle.dumps((small, x, small(x).detach())))
    code = (
        "import sys; sys.modules['nssutils'] = None; import pickle, torch\n"
        f"net, x, y = pickle.load(open({str(tmp_path / 'small.pickle')!r}, 'rb'))\n"
        "assert torch.equal(net(x), y)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_layer_without_neurons_is_refused_by_name():
    net = lively(Residual())
    masks = random_masks(net)
    masks["a"] = torch.zeros(8, dtype=torch.bool)
    with pytest.raises(restructuring.RestructuringError, match="layer 'a' keeps no neuron"):
        restructuring.extract(net, masks)


@pytest.mark.parametrize("groups, outputs", [(2, 8), (4, 8), (8, 8), (8, 24)])
def test_a_grouped_convolution_keeps_as_many_of_each_group(groups, outputs):
    net = nn.Sequential(
        nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, outputs, 3, padding=1, groups=groups), nn.ReLU(),
        nn.Conv2d(outputs, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1),
    )  # fmt: skip
    net, x = lively(net), torch.rand(2, 4, 6, 6, dtype=torch.float64)
    for seed in range(5):
        torch.manual_seed(seed)
        masks = random_masks(net)
        small = restructuring.extract(net, masks)
        torch.testing.assert_close(small(x), masked_logits(net, masks, x), rtol=1e-9, atol=1e-9)
        assert neurons.count_kept(net, masks) <= models.count_parameters(small) < models.count_parameters(net)


def test_what_is_not_trained_stays_so_once_extracted_and_in_its_file(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU())
    net = lively(nn.Sequential(*net, nn.Flatten(), nn.Linear(6, 2)))
    net[0].requires_grad_(False)
    net[1].weight.requires_grad_(False)
    net[3].bias.requires_grad_(False)
    wanted = {name for name, p in net.named_parameters() if not p.requires_grad}
    small = restructuring.extract(net, random_masks(net), x=torch.rand(1, 3, 5, 5, dtype=torch.float64))
    restructuring.save(small, tmp_path / "small.safetensors")
    for one in (small, restructuring.load(tmp_path / "small.safetensors", net)):
        assert {name for name, p in one.named_parameters() if not p.requires_grad} == wanted


class Aliased(nn.Module):
    """Its layers have two names each."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 6, 3)
        self.head = nn.Linear(6, 4)
        self.features = nn.Sequential(self.a, self.norm, nn.ReLU(), self.b, nn.ReLU())

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


@pytest.mark.parametrize("fold", [False, True])
def test_a_module_of_two_names_is_made_smaller_under_both(fold, tmp_path):
    net, x = lively(Aliased()), torch.rand(2, 3, 8, 8, dtype=torch.float64)
    masks = random_masks(net)
    small = restructuring.extract(net, masks, fold)
    torch.testing.assert_close(small(x), masked_logits(net, masks, x), rtol=1e-9, atol=1e-9)
    assert small.features[0] is small.a and small.features[1] is small.norm
    if not fold:
        assert models.count_parameters(small) == neurons.count_kept(net, masks)
    restructuring.save(small, tmp_path / "small.safetensors")
    back = restructuring.load(tmp_path / "small.safetensors", lively(Aliased()))
    assert torch.equal(back(x), small(x)) and back.features[0] is back.a


def test_a_layer_that_is_called_twice_is_not_folded():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.one, self.two = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), nn.BatchNorm2d(6)
            self.head = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))

        def forward(self, x):
            return self.head(self.two(self.conv(self.one(self.conv(x)).relu())).relu().mean((2, 3)))

    net, x = lively(Shared()), torch.rand(2, 6, 8, 8, dtype=torch.float64)
    folded = restructuring.extract(net, {}, fold=True, x=x)
    torch.testing.assert_close(folded(x), net(x), rtol=1e-9, atol=1e-9)


class Tied(nn.Module):
    """A language model's way: its words are read and written by the same weights."""

    def __init__(self):
        super().__init__()
        self.words, self.a, self.b = nn.Embedding(7, 6), nn.Linear(6, 8), nn.Linear(8, 6)
        self.out = nn.Linear(6, 7, bias=False)
        self.out.weight = self.words.weight

    def forward(self, x):
        return self.out(self.b(self.a(self.words(x)).relu()).mean(1))


def test_tied_weights_come_back_tied(tmp_path):
    net, x = lively(Tied()), torch.arange(6).view(2, 3)
    small = restructuring.extract(net, {"a": torch.arange(8) < 3}, x=x)
    assert small.out.weight is small.words.weight
    restructuring.save(small, tmp_path / "small.safetensors")
    back = restructuring.load(tmp_path / "small.safetensors", lively(Tied()))
    assert torch.equal(back(x), small(x)) and back.out.weight is back.words.weight
    assert models.count_parameters(back) == models.count_parameters(small)


@pytest.mark.parametrize("times", [1, 2])
def test_a_pruned_network_comes_back_pruned(times, tmp_path):
    net, x = lively(Residual()), torch.rand(2, 3, 6, 6, dtype=torch.float64)
    small = restructuring.extract(net, random_masks(net))
    for _ in range(times):
        pruning.prune(small, "glob", 0.4)
    restructuring.save(small, tmp_path / "small.safetensors")
    back = restructuring.load(tmp_path / "small.safetensors", lively(Residual()))
    assert torch.equal(back(x), small(x)) and pruning.survivors(back) == pruning.survivors(small)
    assert all(torch.equal(back.get_submodule(name).weight, w) for name, w in pruning.weights(small).items())
    pruning.prune(back, "glob", 0.5)
    assert pruning.survivors(back) < pruning.survivors(small)


def test_a_path_by_size_needs_an_example():
    """Read off for a guessed size, the extracted network went the wrong way for others, and passed its own check."""

    class BySize(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.f = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 3)

        def forward(self, x):
            h = self.a(x).relu()
            h = F.avg_pool2d(h, 2) if h.shape[-1] >= 30 else h * 2
            return self.f(self.b(1 - h).relu().mean((2, 3)))

    net, x = BySize().eval(), torch.rand(2, 1, 28, 28)
    masks = {name: torch.arange(8) % 2 == 0 for name in "ab"}
    with pytest.raises(restructuring.RestructuringError, match="a guess, and the extracted network would always"):
        restructuring.extract(net, masks)
    small = restructuring.extract(net, masks, x=x)
    with torch.no_grad(), neurons.masked(net, masks):
        torch.testing.assert_close(small(x), net(x))
