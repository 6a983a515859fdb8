"""A network of one's own, as the chapter on it shows it: two classes of dots, and a third to extend it by."""

import torch
from torch import nn
from torch.nn import functional as F


def images(label: int, n: int = 100):
    """Noise with a bright square: the label says in which corner."""
    x = torch.rand(n, 1, 12, 12, generator=torch.Generator().manual_seed(label)) / 2
    row, column = 6 * (label // 2), 6 * (label % 2)
    x[:, :, row : row + 5, column : column + 5] += 0.5
    return x, torch.full((n,), label)


def data():
    x, y = zip(images(0), images(1), strict=True)
    return torch.cat(x), torch.cat(y)


def more():
    return images(2)


def network():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(3),
        nn.Flatten(), nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 2),
    )  # fmt: skip
    x, y = data()
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(20):
        optimiser.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimiser.step()
    return net.eval()
