"""What a network costs to keep and to run: bytes, floating-point operations, seconds."""

import statistics
import time
from collections.abc import Callable

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nssutils import neurons

WARM_UP = 3  # turns before time counts: the first ones choose algorithms and fill caches


def size(net: nn.Module) -> int:
    """Bytes of the network's state dict as a safetensors file: parameters, buffers and the file's header. A tensor that
    the network has under several names counts once."""
    first = {id(tensor): name for name, tensor in reversed(net.state_dict(keep_vars=True).items())}
    tensors = net.state_dict()
    return len(save({name: tensors[name].clone().contiguous() for name in reversed(first.values())}))


@torch.no_grad()
def flops(net: nn.Module, x: Tensor) -> int:
    """Floating-point operations of one forward pass on the batch x (N, ...) in eval mode, all N inputs together.

    A multiplication and its addition count as two. Only convolutions and matrix products count, and without their
    biases; what normalisation, activation, pooling and masks do is left out.
    """
    with neurons.evaluating(net), FlopCounterMode(display=False) as counter:
        net(x)
    return counter.get_total_flops()


@torch.no_grad()
def latency(nets: dict[str, Callable[[Tensor], Tensor]], x: Tensor, repeats: int = 20) -> dict[str, float]:
    """Median seconds of one forward pass of each network on the batch x (N, ...), without gradients: {name: seconds}.

    The networks run in turns, so that a machine that gets slower or faster does so for all. They run in the mode they
    are in: put them in eval mode first. To time a network inside `neurons.masked` beside the whole one, which is the
    same object, give a copy of it.
    """
    times: dict[str, list[float]] = {name: [] for name in nets}
    for _ in range(WARM_UP + repeats):
        for name, net in nets.items():
            _finish(x)
            begin = time.perf_counter()
            net(x)
            _finish(x)
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values[WARM_UP:]) for name, values in times.items()}


def _finish(x: Tensor) -> None:
    """Wait for x's device: a GPU works on after a call has returned."""
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
