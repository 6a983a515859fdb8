"""What a network costs to keep and to run: bytes, floating-point operations, seconds."""

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nssutils import neurons, operations

WARM_UP = 3  # turns before time counts: the first ones choose algorithms and fill caches


def size(net: nn.Module) -> int:
    """Bytes of the network's state dict as a safetensors file: parameters, buffers and the file's header. A tensor that
    the network has under several names counts once."""
    held = [(name, value) for name, value in net.state_dict(keep_vars=True).items() if isinstance(value, Tensor)]
    first = {id(tensor): name for name, tensor in reversed(held)}
    tensors = net.state_dict()
    return len(save({name: tensors[name].clone().contiguous() for name in reversed(first.values())}))


@torch.no_grad()
def flops(net: nn.Module, x: Tensor, kernels: bool = True) -> int:
    """Floating-point operations of one forward pass on the batch x (N, ...) in eval mode, all N inputs together.

    A multiplication and its addition count as two. Only convolutions and matrix products count, those within attention
    and recurrent layers too, and without their biases; what normalisation, activation, pooling and masks do is left
    out, and products of a matrix and a vector. Without `kernels` it is left to the machine whether attention and
    recurrent layers are computed in one kernel each, within which nothing can be counted.
    """
    with neurons.evaluating(net), _in_parts() if kernels else nullcontext():
        x = torch.as_tensor(x).to(operations.device(net))
        net(x.clone())  # the first time a masked network is looked at more closely
        with FlopCounterMode(display=False) as counter:
            net(x.clone())
    return counter.get_total_flops()


@contextmanager
def _in_parts() -> Iterator[None]:
    """Within the block attention and recurrent layers are computed by the matrix products that they are made of, which
    can be counted, and not by one fast kernel."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    plain = torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a processor has no TF32
            with plain[0], plain[1], sdpa_kernel(SDPBackend.MATH):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


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
