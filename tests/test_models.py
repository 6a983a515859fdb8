"""The networks: parameter counts worked out from the papers, shapes, widths."""

import pytest
import torch
from torch import nn

from nssutils import models, settings

# The paper's percentages fix the first four: 87.97% for AlexNet's first fully connected layer, and so on.
PARAMETERS = {
    "mlp-mnist": 535_818,
    "mlp-fmnist": 535_818,
    "alexnet-cifar10": 19_076_170,
    "vgg16-cifar10": 14_728_266,
    "resnet101-cifar10": 42_512_970,
    "vgg19-imagenet10": 139_622_218,
}


@pytest.mark.parametrize("name", settings.NAMES)
def test_parameter_counts(name):
    assert models.count_parameters(models.build(name)) == PARAMETERS[name]


@pytest.mark.parametrize("preset", ["smoke", "quick"])
@pytest.mark.parametrize("name", settings.KNOWN)
def test_logits_have_a_column_for_each_class(name, preset):
    setting = settings.get(name, preset)
    x = torch.rand(2, setting.channels, setting.image_size, setting.image_size)
    assert models.build(setting, n_classes=7).eval()(x).shape == (2, 7)


def test_the_seed_decides_the_weights():
    nets = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        nets.append(models.build("mlp-mnist", width=0.1)(torch.ones(1, 1, 28, 28)))
    assert torch.equal(nets[0], nets[1]) and not torch.equal(nets[0], nets[2])


def test_a_model_s_own_name_is_that_of_its_first_setting():
    torch.manual_seed(0)
    first = models.build("vgg16").state_dict()
    torch.manual_seed(0)
    assert all(torch.equal(value, first[name]) for name, value in models.build("vgg16-cifar10").state_dict().items())


def test_what_cannot_be_built_is_refused():
    with pytest.raises(settings.SettingError, match="unknown setting 'vgg'"):
        models.build("vgg")
    with pytest.raises(models.ModelError, match="width 0 given"):
        models.build("mlp-mnist", width=0)
    with pytest.raises(models.ModelError, match="image size 16 given, expected 32"):
        models.build("vgg16-cifar10", image_size=16)
    with pytest.raises(models.ModelError, match=r"depth 51 given, expected 6n \+ 2"):
        models.cifar_resnet(51, 1.0, 3, 32, 10)


@pytest.mark.parametrize("depth", [14, 44, 86, 110])
def test_a_cifar_resnet_has_the_layers_of_its_depth(depth):
    net, n = models.build(f"resnet{depth}-cifar10"), (depth - 2) // 6
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    shortcuts = [module for module in convolutions if module.kernel_size == (1, 1)]
    assert len(convolutions) - len(shortcuts) + 1 == depth and len(shortcuts) == 2
    # Stem, blocks of two 3x3 convolutions with BN, two shortcuts with BN, head.
    count = 27 * 16 + 32 + 64 * 10 + 10
    for stage, (inputs, width) in enumerate([(16, 16), (16, 32), (32, 64)]):
        count += 9 * inputs * width + (2 * n - 1) * 9 * width**2 + 2 * n * 2 * width
        count += (inputs * width + 2 * width) if stage else 0
    assert models.count_parameters(net) == count
    if depth == 110:  # He et al.'s Table 6 says 1.7 M, with shortcuts that have no parameters
        assert count - (16 * 32 + 64 + 32 * 64 + 128) == pytest.approx(1.7e6, rel=0.02)
    maps = net[:6](torch.rand(2, 3, 32, 32))
    assert maps.shape == (2, 64, 8, 8)
