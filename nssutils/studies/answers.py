"""Which test images a network gets right, small enough to be kept in a results file beside its accuracy: what two
accuracies on the same images differ by is known far better than either."""

import base64
import zlib

import numpy as np
import torch
from torch import Tensor


def packed(right: Tensor, base: Tensor | None = None) -> str:
    """bool (N,) as a text; with `base`, another network's, what differs from it, which is shorter where little does."""
    bits = right if base is None else right ^ base
    return base64.b64encode(zlib.compress(np.packbits(bits.numpy()).tobytes(), 9)).decode()


def row(right: Tensor, base: Tensor | None = None) -> dict:
    """The accuracy and the answers, bool (N,), of a network as the fields of a table's row; `base` as in `packed`."""
    return {"accuracy": right.double().mean().item(), "right": packed(right, base)}


def unpacked(text: str, n: int | None, base: Tensor | None = None) -> Tensor:
    """The bool (n,) that `packed` made a text of, with the same `base`; without n, also what fills the last byte."""
    bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8), count=n)
    right = torch.from_numpy(bits.astype(bool))
    return right if base is None else right ^ base
