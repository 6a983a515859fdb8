"""VGG-16 at full width, whole, masked, extracted, and extracted with batch normalisation folded in: every layer keeps
the same share, drawn at random, so that half of the parameters go.

Target, at batch 1 and 256: from whole to folded, time falls by at least 0.8 times what FLOPs fall by. Channels are
kept as they come, then in multiples of 16, which is how many floats a vector register holds. Batch 1 also runs on one
thread: to wake a second one for every operation takes as long in a small layer as in a large one.
"""

import copy

import torch
from table import row

from nssutils import costs, models, neurons, restructuring

KEPT = 0.5**0.5  # of every layer's neurons: a weight stays where its input and its output do, so half of them
TARGET = 0.8


def random_masks(multiple: int) -> dict[str, torch.Tensor]:
    """Masks that keep the share KEPT of each hidden layer, rounded to a multiple of so many neurons."""
    return {
        name: torch.randperm(layer.width) < round(KEPT * layer.width / multiple) * multiple
        for name, layer in neurons.layers(net).items()
    }


torch.manual_seed(0)
net = models.build("vgg16-cifar10").eval()
twin, parameters, threads = copy.deepcopy(net), models.count_parameters(net), torch.get_num_threads()

for multiple in (1, 16):
    masks = random_masks(multiple)
    small, folded = (restructuring.extract(net, masks, fold=fold) for fold in (False, True))
    image = torch.rand(1, 3, 32, 32)
    saved = costs.flops(net, image) / costs.flops(small, image)
    dropped, smaller = 1 - models.count_parameters(small) / parameters, costs.size(net) / costs.size(small)
    print(f"Channels in multiples of {multiple}: {dropped:.1%} of the parameters dropped, file {smaller:.2f} times "
          f"smaller, FLOPs ratio {saved:.2f}")  # fmt: skip
    for batch, used, repeats in ((1, threads, 50), (1, 1, 50), (256, threads, 7)):
        torch.set_num_threads(used)
        with neurons.masked(twin, masks):
            nets = {"whole": net, "masked": twin, "extracted": small, "folded": folded}
            took = costs.latency(nets, torch.rand(batch, 3, 32, 32), repeats)
        times = ", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in took.items())
        plain, gain = (took["whole"] / took[name] for name in ("extracted", "folded"))
        print(f"  batch {batch}, threads {used}: {times}; latency ratio {plain:.2f}, folded {gain:.2f}: "
              f"{gain / saved:.2f} of the FLOPs ratio")  # fmt: skip
        what = (
            f"VGG-16 without half of its parameters, channels in multiples of {multiple}, batch {batch}, threads {used}"
        )
        row(f"{what}: gain over what FLOPs promise", gain / saved, TARGET)
