"""The five networks of the paper (Section 5.1), NNSlicer's and DeepArc's, sized by a width multiplier; torchvision's
where it has them."""

from collections import OrderedDict
from functools import partial
from numbers import Real

from torch import nn
from torchvision.models import resnet, vgg, vision_transformer

from nssutils import settings
from nssutils.errors import NssError, near_miss


class ModelError(NssError):
    """A network that is not known or cannot be built as asked."""


# The first setting of each model.
_SETTINGS = {settings.get(name).model: name for name in reversed(settings.KNOWN)}


def build(
    name: settings.Setting | str,
    width: float | None = None,
    n_classes: int = 10,
    image_size: int | None = None,
) -> nn.Module:
    """A freshly initialised network, for float images (N, C, H, W) in [0, 1], giving logits (N, n_classes).

    `name` is a Setting (its width, channels and image size hold unless given here), or the name of one or of its model
    ("vgg16", that of the first setting that has it), then with the paper's width, 1.0. Weights are drawn from torch's
    global generator: seed it first.
    Raises SettingError for an unknown name, ModelError for a width that leaves no neuron.
    """
    setting = name if isinstance(name, settings.Setting) else settings.get(_SETTINGS.get(name, name))
    if setting.model not in BUILDERS:
        raise ModelError(
            f"unknown model {setting.model!r}; known: {', '.join(BUILDERS)}.{near_miss(setting.model, BUILDERS)}"
        )
    width = setting.width if width is None else width
    if not isinstance(width, Real) or not 0 < width <= 4:
        raise ModelError(f"width {width!r} given, expected a multiplier in (0, 4]; 1.0 is the paper's network.")
    size = setting.image_size if image_size is None else image_size
    return BUILDERS[setting.model](width, setting.channels, size, n_classes)


def _scaled(neurons: int, width: float) -> int:
    return max(1, round(neurons * width))


def mlp(width: float, channels: int, image_size: int, n_classes: int) -> nn.Sequential:
    """784-512-256-10 with ReLU; the weighted layers are named as in a bare Sequential, "0", "2" and "4"."""
    first, second = _scaled(512, width), _scaled(256, width)
    return nn.Sequential(
        OrderedDict(
            [
                ("flatten", nn.Flatten()),
                ("0", nn.Linear(channels * image_size**2, first)),
                ("1", nn.ReLU()),
                ("2", nn.Linear(first, second)),
                ("3", nn.ReLU()),
                ("4", nn.Linear(second, n_classes)),
            ]
        )
    )


def alexnet(width: float, channels: int, image_size: int, n_classes: int) -> nn.Sequential:
    """AlexNet for 32x32 images: five 3x3 convolutions with BN, pooled to 4x4, one hidden layer of 4096.

    torchvision's AlexNet has 11x11 and 5x5 kernels, strides for 224x224 images and no BN, so this one is ours; its
    parameter count, 19,076,170, is the one behind the paper's 87.97% for the first fully connected layer.
    """
    if image_size % 8:
        raise ModelError(f"AlexNet pools three times by 2: image size {image_size} given, expected a multiple of 8.")
    convs, features, inputs = (64, 192, 384, 256, 256), [], channels
    for i, neurons in enumerate(_scaled(n, width) for n in convs):
        features += [nn.Conv2d(inputs, neurons, 3, padding=1), nn.BatchNorm2d(neurons), nn.ReLU(inplace=True)]
        features += [nn.MaxPool2d(2)] if i in (0, 1, 4) else []
        inputs = neurons
    hidden = _scaled(4096, width)
    classifier = nn.Sequential(
        nn.Dropout(0.5), nn.Linear(inputs * (image_size // 8) ** 2, hidden), nn.ReLU(inplace=True),
        nn.Dropout(0.5), nn.Linear(hidden, n_classes),
    )  # fmt: skip
    net = nn.Sequential(OrderedDict(features=nn.Sequential(*features), flatten=nn.Flatten(), classifier=classifier))
    return _initialised(net)


def _vgg_features(configuration: str, width: float, channels: int) -> nn.Sequential:
    """torchvision's convolutions with BN, each `width` times as wide."""
    features = vgg.make_layers(
        [item if item == "M" else _scaled(item, width) for item in vgg.cfgs[configuration]], batch_norm=True
    )
    if channels != 3:
        first = features[0]
        features[0] = nn.Conv2d(channels, first.out_channels, 3, padding=1)
    return features


def vgg16(width: float, channels: int, image_size: int, n_classes: int) -> nn.Sequential:
    """VGG-16 with BN for 32x32 images: torchvision's 13 convolutions and one linear head."""
    if image_size != 32:
        raise ModelError(f"VGG-16 pools 32x32 images to one pixel: image size {image_size} given, expected 32.")
    head = nn.Linear(_scaled(512, width), n_classes)
    features = _vgg_features("D", width, channels)
    for module in features:
        if isinstance(module, nn.MaxPool2d):
            module.ceil_mode = True  # so that training may begin with smaller images; 32 pixels leave nothing over
    return _initialised(nn.Sequential(OrderedDict(features=features, flatten=nn.Flatten(), classifier=head)))


def vgg19(width: float, channels: int, image_size: int, n_classes: int) -> vgg.VGG:
    """torchvision's VGG-19 with BN and its three-layer classifier."""
    net = vgg.VGG(_vgg_features("E", width, channels), num_classes=n_classes, init_weights=False)
    if width != 1:
        hidden = _scaled(4096, width)
        net.classifier[0] = nn.Linear(_scaled(512, width) * 49, hidden)
        net.classifier[3] = nn.Linear(hidden, hidden)
        net.classifier[6] = nn.Linear(hidden, n_classes)
    return _initialised(net)


class _ThinResNet(resnet.ResNet):
    """torchvision's ResNet with every stage `width` times as wide; its constructor scales the inner layers only."""

    def __init__(self, width: float, block: type, layers: list[int], n_classes: int):
        self.width = width
        super().__init__(block, layers, num_classes=n_classes)
        self.fc = nn.Linear(_scaled(512, width) * block.expansion, n_classes)

    def _make_layer(self, block, planes, *args, **kwargs):
        if planes == 64:  # the first stage: what feeds it is the stem, which _with_small_stem sizes
            self.inplanes = _scaled(64, self.width)
        return super()._make_layer(block, _scaled(planes, self.width), *args, **kwargs)


def resnet101(width: float, channels: int, image_size: int, n_classes: int) -> resnet.ResNet:
    """torchvision's ResNet-101 with the CIFAR stem: 3x3, stride 1, no max-pooling."""
    if width == 1:
        net = resnet.resnet101(weights=None, num_classes=n_classes)
    else:
        net = _ThinResNet(width, resnet.Bottleneck, [3, 4, 23, 3], n_classes)
    return _with_small_stem(net, channels)


def resnet10(width: float, channels: int, image_size: int, n_classes: int) -> resnet.ResNet:
    """NNSlicer's ResNet-10: one basic block a stage, of 16, 32, 64 and 128 channels, which comes nearest the 300 K
    parameters that its paper states (Zhang et al. 2020, Section 6)."""
    return _with_small_stem(_ThinResNet(width / 4, resnet.BasicBlock, [1, 1, 1, 1], n_classes), channels)


def resnet18(width: float, channels: int, image_size: int, n_classes: int) -> resnet.ResNet:
    """torchvision's ResNet-18 for small images; NNSlicer's paper states its time on it."""
    return _with_small_stem(_ThinResNet(width, resnet.BasicBlock, [2, 2, 2, 2], n_classes), channels)


def cifar_resnet(depth: int, width: float, channels: int, image_size: int, n_classes: int) -> nn.Sequential:
    """The ResNet for CIFAR-10 of depth 6n + 2 (He et al. 2016, Section 4.2): a 3x3 convolution, then three stages of n
    basic blocks, of 16, 32 and 64 channels, the last two at half the resolution of the one before, and one linear head.

    Where a shortcut's shape changes it is a 1x1 convolution with BN (He et al.'s option B), as in torchvision's basic
    block, not their parameter-free padding; DeepArc's (Ren et al. 2023) is a 1x1 convolution without BN.
    Raises ModelError for a depth that is not 6n + 2.
    """
    n, over = divmod(depth - 2, 6)
    if n < 1 or over:
        raise ModelError(f"depth {depth} given, expected 6n + 2 for three stages of n blocks: 8, 14, 20, ….")
    inputs = _scaled(16, width)
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(channels, inputs, 3, padding=1, bias=False), "bn1": nn.BatchNorm2d(inputs),
        "relu": nn.ReLU(inplace=True),
    }  # fmt: skip
    for stage, outputs in enumerate((_scaled(neurons, width) for neurons in (16, 32, 64)), start=1):
        blocks, stride = [], 1 if stage == 1 else 2
        for _ in range(n):
            shortcut = None
            if stride > 1 or inputs != outputs:
                convolution = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
                shortcut = nn.Sequential(convolution, nn.BatchNorm2d(outputs))
            blocks.append(resnet.BasicBlock(inputs, outputs, stride, shortcut))
            inputs, stride = outputs, 1
        layers[f"layer{stage}"] = nn.Sequential(*blocks)
    layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(inputs, n_classes)}
    net = nn.Sequential(OrderedDict(layers))
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


def lenet(width: float, channels: int, image_size: int, n_classes: int) -> nn.Sequential:
    """LeNet-5 with ReLU and max-pooling: NNSlicer's, of about the 43 K parameters that its paper states."""
    if image_size != 28:
        raise ModelError(f"LeNet is for 28x28 images: image size {image_size} given, expected 28.")
    first, second, third, fourth = (_scaled(n, width) for n in (6, 16, 120, 84))
    features = nn.Sequential(
        nn.Conv2d(channels, first, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(first, second, 5), nn.ReLU(), nn.MaxPool2d(2),
    )  # fmt: skip
    classifier = nn.Sequential(
        nn.Linear(second * 16, third), nn.ReLU(), nn.Linear(third, fourth), nn.ReLU(), nn.Linear(fourth, n_classes)
    )
    return nn.Sequential(OrderedDict(features=features, flatten=nn.Flatten(), classifier=classifier))


def vit(width: float, channels: int, image_size: int, n_classes: int) -> vision_transformer.VisionTransformer:
    """torchvision's vision transformer for small images: patches of 4 pixels, six blocks of three heads, as wide (192)
    as DeiT-Tiny (Touvron et al. 2021), which has twelve."""
    if channels != 3 or image_size % 4:
        raise ModelError(
            f"images of {channels} channels and {image_size} pixels given, expected 3 and a multiple of 4 for a ViT."
        )
    wide = 3 * _scaled(64, width)
    return vision_transformer.VisionTransformer(image_size, 4, 6, 3, wide, 4 * wide, num_classes=n_classes)


def _with_small_stem(net: resnet.ResNet, channels: int) -> resnet.ResNet:
    """For small images: a 3x3 convolution of stride 1 and no max-pooling before the stages."""
    width = net.layer1[0].conv1.in_channels
    net.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    net.bn1 = nn.BatchNorm2d(width)
    net.maxpool = nn.Identity()
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    return net


def _initialised(net: nn.Module) -> nn.Module:
    """He initialisation of the convolutions, as in torchvision's VGG; linear layers keep PyTorch's own."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return net


def count_parameters(net: nn.Module) -> int:
    """The number of parameters, frozen ones too."""
    return sum(parameter.numel() for parameter in net.parameters())


BUILDERS = {
    "mlp": mlp, "alexnet": alexnet, "vgg16": vgg16, "resnet101": resnet101, "vgg19": vgg19, "resnet10": resnet10,
    "lenet": lenet, "resnet18": resnet18, "vit": vit,
    **{f"resnet{depth}": partial(cifar_resnet, depth) for depth in (14, 44, 86, 110)},
}  # fmt: skip
