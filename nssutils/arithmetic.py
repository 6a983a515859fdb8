"""The reduced arithmetic of training and evaluation: numbers in bf16, added up in fp32."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Where a processor's library (oneDNN 3) takes longer for a convolution than for the same product of matrices, up to ten
# times: few places, many weights for each. `bench/small_maps.py` measures it.
PLACES = 16
WEIGHTS = 50_000  # times the places


@contextmanager
def reduced(device: torch.device, enabled: bool = True) -> Iterator[None]:
    """Within the block, where enabled, torch computes as by autocast to bf16. On a processor, convolutions of few
    places with many weights are made products of matrices, and one that cannot compute in bf16 rounds to it: the same
    sums in another order."""
    on_processor = _OnProcessor() if enabled and device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, torch.bfloat16, enabled=enabled), on_processor:
        yield


def takes_bf16() -> bool:
    """Whether the processor's library computes in bf16 by the processor's own instructions, or nearly as fast; where
    not, products are rounded to it (`by_rounding`)."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


class _OnProcessor(TorchFunctionMode):
    """Convolutions and linear layers by what a processor is fast at."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function not in (torch.conv2d, F.linear) or kwargs:
            return function(*args, **(kwargs or {}))
        if function is torch.conv2d and _small(*args):
            function = by_product
        if args[0].dtype in (torch.float32, torch.bfloat16) and not takes_bf16():
            return by_rounding(function, *args)
        return function(*args)


def _small(x: Tensor, weight: Tensor, bias=None, stride=1, padding=0, dilation=1, groups=1) -> bool:
    places = x.shape[-2] * x.shape[-1]
    return (
        x.dim() == 4
        and places <= PLACES
        and weight.numel() >= places * WEIGHTS
        and x.dtype in (torch.float32, torch.bfloat16)
        and not isinstance(padding, str)
        and (groups, *_pair(dilation)) == (1, 1, 1)
    )


def by_product(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride=1, padding=0, *_) -> Tensor:
    """torch.conv2d (dilation 1, one group) of maps x (N, C, H, W) as one product of matrices: a row for each place of
    the output, a column for each product that it adds up."""
    (down, right), (top, left), (rows, columns) = _pair(stride), _pair(padding), weight.shape[2:]
    x = F.pad(x, (left, left, top, top)).permute(0, 2, 3, 1)
    height = (x.shape[1] - rows) // down * down + 1
    width = (x.shape[2] - columns) // right * right + 1
    seen = [x[:, i : i + height : down, j : j + width : right] for i in range(rows) for j in range(columns)]
    flat = weight.permute(0, 2, 3, 1).flatten(1)
    return F.linear(torch.cat(seen, 3), flat, bias).permute(0, 3, 1, 2)


def by_rounding(function: Callable, *args) -> Tensor:
    """function(*args) in bf16, computed in fp32: what is multiplied is rounded to bf16, the products are added up in
    fp32, the sums rounded. So do instructions for bf16, in another order; what stands in for them where there are none
    takes some fifteen times as long (`bench/bf16.py`). Gradients are rounded alike."""
    rounded = [each.bfloat16().float() if isinstance(each, Tensor) else each for each in args]
    with torch.autocast("cpu", enabled=False):
        return function(*rounded).bfloat16()


def _pair(value) -> tuple[int, int]:
    both = (value,) if isinstance(value, int) else tuple(value)
    return both * 2 if len(both) == 1 else both
