"""Similarity curves on a channel's values at every place (spatial="flatten") against those on its mean over space, the
recording of the activations included, for one ranking and for five. Target: at most 5 times."""

import time

import torch
from table import row

from nssutils import models, neurons, settings, slicing

torch.set_num_threads(1)
torch.manual_seed(0)
net = models.build(settings.get("resnet18-cifar10", "quick")).eval()
x, y = torch.rand(512, 3, 32, 32), torch.arange(512) % 2
widths = {name: layer.width for name, layer in neurons.layers(net).items()}


def seconds(rankings: int, spatial: str) -> float:
    """Of processor time, the better of two."""
    orders = {
        f"{i}": {name: torch.stack([torch.randperm(width) for _ in range(2)]) for name, width in widths.items()}
        for i in range(rankings)
    }
    times = []
    for _ in range(2):
        begin = time.process_time()
        slicing.similarity_curves(net, x, y, orders, 2, 256, spatial)
        times.append(time.process_time() - begin)
    return min(times)


print("| rankings | means (s) | every place (s) | ratio |\n|---:|---:|---:|---:|")
for rankings in (1, 5):
    mean, every = seconds(rankings, "mean"), seconds(rankings, "flatten")
    print(f"| {rankings} | {mean:.2f} | {every:.2f} | {every / mean:.1f} |")
    row(f"values at every place, rankings at once: {rankings}: time against means", every / mean, 5, least=False)
