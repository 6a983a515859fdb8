"""Centred kernel alignment (CKA), and the CKA of every prefix of a layer's neurons in closed form."""

import torch
from torch import Tensor

from nssutils.errors import NssError

# Entries of one block of per-neuron Gram matrices: 2^22 float64 are 32 MiB.
_BLOCK = 2**22


def gram(acts: Tensor, centred: bool = True) -> Tensor:
    """The embedding landscape M (N, N) of activations (N, width, S) or (N, features), float64 (the paper's Eq. 1).

    `centred` subtracts each feature's mean over the samples first, as CKA proper does; the paper's equations do not.
    """
    features = _centred(acts.flatten(1).double(), centred)
    return features @ features.T


def cka(first: Tensor, second: Tensor) -> float:
    """CKA of two landscapes (N, N) in [0, 1] (the paper's Eq. 2): their cosine; 0 where one of them is zero."""
    norms = first.norm() * second.norm()
    return ((first * second).sum() / norms).item() if norms > 0 else 0.0


def prefix_cka(acts: Tensor, order: Tensor, centred: bool = True) -> Tensor:
    """CKA of each prefix of the neurons with the whole layer: float64 (width,); entry k - 1 is for the first k.

    acts: one layer's activations (N, width, S) or (N, width) for the samples of one class; order: a permutation of
    the neurons (width,), as by descending contribution. A layer's landscape is the sum of its neurons' landscapes
    K_j, so <M_k, M> and |M_k|^2 are cumulative sums of <K_j, M> and <K_i, K_j>: all prefixes cost about one Gram
    matrix. A layer that does not vary has the landscape 0, which every prefix represents: its curve is 1.
    """
    acts, order = acts.unsqueeze(2) if acts.dim() == 2 else acts, torch.as_tensor(order)
    width, spatial = acts.shape[1:]
    if sorted(order.tolist()) != list(range(width)):
        raise NssError(f"order of {len(order)} entries given, expected a permutation of the {width} neurons.")
    acts = acts[:, order.to(acts.device)]
    means = acts.mean(0, dtype=torch.float64) if centred else torch.zeros_like(acts[0], dtype=torch.float64)
    norm, inner, squares = _dense_sums(acts, means) if spatial == 1 else _spatial_sums(acts, means)
    if norm == 0:
        return torch.ones(width, dtype=torch.float64)
    # Rounding may leave a tiny negative square before the first neuron that varies.
    norms = squares.clamp_min(0).sqrt() * norm
    curve = torch.where(norms > 0, inner / norms.where(norms > 0, torch.ones_like(norms)), torch.zeros_like(norms))
    return curve.clamp(0, 1).cpu()


def _centred(features: Tensor, centred: bool) -> Tensor:
    return features - features.mean(0) if centred else features


def _dense_sums(acts: Tensor, means: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """|M|, <M_k, M> and |M_k|^2 for one feature a neuron, where <K_i, K_j> = (a_i . a_j)^2."""
    features = acts[:, :, 0].double() - means[:, 0]
    products = (features.T @ features).square_()
    # |M_k|^2 grows by neuron k's products with the earlier ones, twice, and with itself.
    growth = 2 * products.tril(-1).sum(1) + products.diagonal()
    return products.sum().sqrt(), products.sum(1).cumsum(0), growth.cumsum(0)


def _spatial_sums(acts: Tensor, means: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same for S features a neuron, by a running sum of per-neuron Gram matrices, a block at a time."""
    n, width, spatial = acts.shape
    size = max(1, _BLOCK // max(n * n, n * spatial))
    starts = range(0, width, size)

    def landscapes(start: int) -> Tensor:
        block = slice(start, start + size)
        features = (acts[:, block].double() - means[block]).transpose(0, 1)  # (neurons, N, S)
        return features @ features.transpose(1, 2)

    whole = torch.zeros(n, n, dtype=torch.float64, device=acts.device)
    for start in starts:
        whole += landscapes(start).sum(0)
    running, inner, squares = torch.zeros_like(whole), [], []
    for start in starts:
        prefixes = landscapes(start).cumsum_(0).add_(running)
        inner.append((prefixes * whole).sum((1, 2)))
        squares.append(prefixes.square().sum((1, 2)))
        running = prefixes[-1].clone()
    return whole.norm(), torch.cat(inner), torch.cat(squares)
