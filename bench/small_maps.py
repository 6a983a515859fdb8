"""What `arithmetic` and small batches gain on a processor, by one thread.

VGG-16 in bf16, its small maps as products of matrices against torch's own convolutions: training steps of 128 images at
each side that progressive resizing gives them, and evaluation, torch's own of 1,000 images at once. How far the logits
are from those in fp32 is printed for both. And ResNet-10 in fp32, evaluated in small batches against 1,000 at once.
"""

import time

import torch
import torch.nn.functional as F
from table import row

from nssutils import arithmetic, models, training

ROUNDS = 5
torch.manual_seed(0)
torch.set_num_threads(1)
net = models.build("vgg16-cifar10").to(memory_format=torch.channels_last)
optimiser = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9)
cpu = torch.device("cpu")


def images(n: int, side: int) -> torch.Tensor:
    return torch.rand(n, 3, side, side).to(memory_format=torch.channels_last)


def trained(context, x: torch.Tensor, y: torch.Tensor) -> None:
    net.train()
    with context or torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(net(x), y)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


@torch.no_grad()
def evaluated(context, x: torch.Tensor, *_) -> torch.Tensor:
    net.eval()
    at_once = 1000 if context is None else training.CACHED
    with context or torch.autocast("cpu", torch.bfloat16):
        return torch.cat([net(part).float() for part in x.split(at_once)])


def ratio(what, x: torch.Tensor) -> float:
    """How many times as long torch's own takes, in turns; the best of each."""
    y, took = torch.randint(0, 10, (len(x),)), {"own": [], "products": []}
    for _ in range(ROUNDS + 1):  # the first is to warm up
        for name, context in (("own", None), ("products", arithmetic.reduced(cpu))):
            start = time.perf_counter()
            what(context, x, y)
            took[name].append(time.perf_counter() - start)
    own, products = (min(times[1:]) for times in took.values())
    print(f"{what.__name__}, {len(x)} images of {x.shape[-1]} pixels: {len(x) / own:.0f} images a second, "
          f"{len(x) / products:.0f} by products")  # fmt: skip
    return own / products


if arithmetic.takes_bf16():
    for side, target in ((32, 1.3), (24, 1.5), (16, 1.7)):
        row(f"VGG-16 in bf16, one thread, trained at {side} pixels: small maps as products of matrices",
            ratio(trained, images(128, side)), target)  # fmt: skip
    row("the same, evaluated at 32 pixels, in small batches", ratio(evaluated, images(1000, 32)), 1.4)
    x = images(200, 32)
    exact = evaluated(arithmetic.reduced(cpu, False), x)
    for name, context in (("own", None), ("products", arithmetic.reduced(cpu))):
        off = (evaluated(context, x) - exact).abs().max() / exact.abs().max()
        print(f"logits by {name} differ from fp32's by at most {off:.2%} of the largest")
else:
    print("VGG-16: this processor rounds to bf16, which bench/bf16.py measures; products would have its gain besides.")

net = models.build("resnet10-cifar10").eval()
x, took, found = torch.rand(2000, 3, 32, 32), {1000: [], training.CACHED: []}, {}
for _ in range(ROUNDS):
    for at_once, times in took.items():
        start = time.perf_counter()
        with torch.no_grad():
            found[at_once] = torch.cat([net(part) for part in x.split(at_once)])
        times.append(time.perf_counter() - start)
gain = min(took[1000]) / min(took[training.CACHED])
print(f"ResNet-10 in fp32, {training.CACHED} images at once: {gain:.2f} times as fast as 1000; "
      f"the same logits bit by bit: {torch.equal(*found.values())}")  # fmt: skip
row(f"ResNet-10 in fp32, evaluated {training.CACHED} images at once, against 1,000", gain, 1.3)
