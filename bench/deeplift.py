"""DeepLIFT for every hidden layer of VGG-16 (half width) and ten classes: one sweep against captum, layer by layer.

Target: at least as many times faster as there are layers, 13. Then all five metrics against one plain forward and
backward pass over the same images. Target: within 3 times.
"""

import time
import warnings

import torch
import torch.nn.functional as F
from captum.attr import LayerDeepLift
from table import row
from torch import nn

from nssutils import contribution, models, neurons, settings

IMAGES = 320


def seconds(function) -> float:
    """The best of three calls: these are seconds long, and machines are noisy."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def plain() -> None:
    for batch, labels in zip(x.split(32), y.split(32), strict=True):
        F.cross_entropy(net(batch), labels).backward()


def by_captum() -> None:
    for name in sites:
        method = LayerDeepLift(net, net.get_submodule(name))
        for c in range(10):
            images = x[y == c]
            method.attribute(images, torch.zeros_like(images), target=c).sum(0)


torch.manual_seed(0)
net = models.build(settings.get("vgg16-cifar10", "quick")).eval()
for module in net.modules():
    if isinstance(module, nn.ReLU):
        module.inplace = False  # captum's hooks need the inputs intact
x, y = torch.rand(IMAGES, 3, 32, 32), torch.arange(IMAGES) % 10
sites = [str(layer.site).replace("_", ".") for layer in neurons.layers(net).values()]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    theirs = seconds(by_captum)
ours = seconds(lambda: contribution.score(net, x, y, ("deeplift",)))
print(f"DeepLIFT, {len(sites)} layers, 10 classes, {IMAGES} images: captum {theirs:.1f} s, one sweep {ours:.2f} s, "
      f"ratio {theirs / ours:.1f}")  # fmt: skip
row(f"DeepLIFT of VGG-16's {len(sites)} layers, ten classes: against captum", theirs / ours, len(sites))
once = seconds(plain)
for metrics in (("avg",), ("avg", "var", "ens"), ("taylor",), ("deeplift",), contribution.METRICS):
    cost = seconds(lambda metrics=metrics: contribution.score(net, x, y, metrics))
    print(f"{', '.join(metrics)}: {cost / once:.2f} times one plain forward and backward pass ({once:.2f} s)")
    if metrics == contribution.METRICS:
        row("all five metrics: against one forward and backward pass", cost / once, 3, least=False)
