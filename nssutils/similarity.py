"""Centred kernel alignment (CKA), debiased CKA over minibatches, and the CKA of every prefix of a layer's neurons in
closed form."""

from collections.abc import Iterable

import torch
from torch import Tensor

from nssutils.errors import NssError


class SimilarityError(NssError):
    """Landscapes that cannot be compared."""


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


def hsic(first: Tensor, second: Tensor) -> Tensor:
    """The unbiased estimate HSIC_1 of how much two landscapes (N, N) of the same N samples depend on each other: a
    float64 scalar, 0 on average where they do not, and so negative at times (Song et al. 2012).

    Whether the landscapes are centred makes no difference. Raises SimilarityError for fewer than 4 samples and for
    landscapes of different samples.
    """
    n = len(first)
    if first.shape != (n, n) or second.shape != (n, n):
        raise SimilarityError(
            f"landscapes {tuple(first.shape)} and {tuple(second.shape)} given, expected both (N, N) for the same N."
        )
    if n < 4:
        raise SimilarityError(f"landscapes of {n} samples given, expected at least 4: the estimate divides by N - 3.")
    # The diagonals are what biases the usual estimate: a sample is always like itself.
    k, m = (matrix.double() - matrix.double().diagonal().diag() for matrix in (first, second))
    rows, columns = k.sum(1), m.sum(1)
    means = rows.sum() * columns.sum() / ((n - 1) * (n - 2))
    return ((k * m).sum() + means - 2 / (n - 2) * (rows @ columns)) / (n * (n - 3))


def hsics(first: Tensor, second: Tensor) -> Tensor:
    """What debiased CKA needs of one minibatch: HSIC_1 of both landscapes (N, N), of the first with itself and of the
    second with itself, float64 (3,)."""
    return torch.stack([hsic(first, second), hsic(first, first), hsic(second, second)])


def debiased(sums: Tensor) -> float:
    """Debiased CKA in [-1, 1] from the `hsics` (3,) summed over minibatches of equal size; 0 where one of the two does
    not vary.

    Sums, or means, first, and then the ratio: that of one minibatch is biased, even where its parts are not (Nguyen et
    al. 2021).
    """
    both, first, second = sums.tolist()
    return both / (first * second) ** 0.5 if first > 0 and second > 0 else 0.0


def minibatch_cka(batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Debiased CKA in [-1, 1] of two layers from their landscapes (N, N), minibatch by minibatch of equal size."""
    return debiased(sum(hsics(*pair) for pair in batches))


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
