"""The six networks: parameter counts worked out from the paper, shapes, widths."""

import pytest
import torch

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
@pytest.mark.parametrize("name", settings.NAMES)
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


def test_what_cannot_be_built_is_refused():
    with pytest.raises(settings.SettingError, match="unknown setting 'vgg'"):
        models.build("vgg")
    with pytest.raises(models.ModelError, match="width 0 given"):
        models.build("mlp-mnist", width=0)
    with pytest.raises(models.ModelError, match="image size 16 given, expected 32"):
        models.build("vgg16-cifar10", image_size=16)
