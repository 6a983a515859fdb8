"""What rounding to bf16 gains on a processor without instructions for it, against its library's stand-in.

AlexNet at full width, trained and evaluated by one thread. How far the logits are from fp32's is printed for both.
"""

import time

import torch
import torch.nn.functional as F
from table import row

from nssutils import arithmetic, models

IMAGES, ROUNDS = 64, 3
torch.manual_seed(0)
torch.set_num_threads(1)
net = models.build("alexnet-cifar10").to(memory_format=torch.channels_last)
x = torch.rand(IMAGES, 3, 32, 32).to(memory_format=torch.channels_last)
y = torch.randint(0, 10, (IMAGES,))
cpu = torch.device("cpu")
CONTEXTS = {
    "fp32": lambda: arithmetic.reduced(cpu, False),
    "the library": lambda: torch.autocast("cpu", torch.bfloat16),
    "rounding": lambda: arithmetic.reduced(cpu),
}


def trained(context) -> None:
    net.train()
    with context():
        loss = F.cross_entropy(net(x), y)
    loss.backward()
    net.zero_grad()


@torch.no_grad()
def evaluated(context) -> torch.Tensor:
    net.eval()
    with context():
        return net(x).float()


if arithmetic.takes_bf16():
    print("This processor takes bf16: nothing is rounded.")
else:
    for what, target in ((trained, 10), (evaluated, 5)):
        took = {name: [] for name in CONTEXTS}
        for _ in range(ROUNDS + 1):  # the first is to warm up
            for name, context in CONTEXTS.items():
                start = time.perf_counter()
                what(context)
                took[name].append(time.perf_counter() - start)
        best = {name: min(times[1:]) for name, times in took.items()}
        gain = best["the library"] / best["rounding"]
        speeds = ", ".join(f"{IMAGES / seconds:.3g} by {name}" for name, seconds in best.items())
        print(f"{what.__name__}: images a second {speeds}; rounding is {gain:.1f} times as fast as the library")
        row(f"AlexNet {what.__name__} in bf16 on a processor without, by rounding, against its library", gain, target)
    exact = evaluated(CONTEXTS["fp32"])
    for name in ("the library", "rounding"):
        off = (evaluated(CONTEXTS[name]) - exact).abs().max() / exact.abs().max()
        print(f"logits by {name} differ from fp32's by at most {off:.2%} of the largest")
