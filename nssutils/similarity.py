"""Centred kernel alignment (CKA), debiased CKA over minibatches, and the CKA of every prefix of a layer's neurons in
closed form."""

from collections.abc import Iterable

import torch
from torch import Tensor

from nssutils.errors import NssError


class SimilarityError(NssError):
    """Activations or landscapes that cannot be compared."""


# Entries of one block of per-neuron Gram matrices: 2^24 float64 are 128 MiB.
_BLOCK = 2**24


def gram(acts: Tensor, centred: bool = True) -> Tensor:
    """The embedding landscape M (N, N) of activations (N, width, S) or (N, features), float64 (the paper's Eq. 1).

    `centred` subtracts each feature's mean over the samples first, as CKA proper does; the paper's equations do not.
    """
    features = _centred(acts.flatten(1).double(), centred)
    return features @ features.T


def cka(first: Tensor, second: Tensor) -> float:
    """CKA of two landscapes (N, N) in [0, 1] (the paper's Eq. 2): their cosine; 0 where one of them is zero. Raises
    SimilarityError for landscapes of different samples."""
    _check(first, second)
    norms = first.norm() * second.norm()
    return ((first * second).sum() / norms).item() if norms > 0 else 0.0


def hsic(first: Tensor, second: Tensor) -> Tensor:
    """The unbiased estimate HSIC_1 of how much two landscapes (N, N) of the same N samples depend on each other: a
    float64 scalar, 0 on average where they do not, and so negative at times (Song et al. 2012).

    Whether the landscapes are centred makes no difference. Raises SimilarityError for fewer than 4 samples and for
    landscapes of different samples.
    """
    n = len(first)
    _check(first, second)
    if n < 4:
        raise SimilarityError(f"landscapes of {n} samples given, expected at least 4: the estimate divides by N - 3.")
    # The diagonals are what biases the usual estimate: a sample is always like itself.
    k, m = (matrix.double() - matrix.double().diagonal().diag() for matrix in (first, second))
    rows, columns = k.sum(1), m.sum(1)
    means = rows.sum() * columns.sum() / ((n - 1) * (n - 2))
    return ((k * m).sum() + means - 2 / (n - 2) * (rows @ columns)) / (n * (n - 3))


def _check(first: Tensor, second: Tensor) -> None:
    """Raise SimilarityError unless both are landscapes of as many samples."""
    n = len(first)
    if first.shape != (n, n) or second.shape != (n, n):
        raise SimilarityError(
            f"landscapes {tuple(first.shape)} and {tuple(second.shape)} given, expected both (N, N) for the same N."
        )


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
    the neurons (width,), as by descending contribution, or several, (rankings, width), which give as many curves. A
    layer's landscape is the sum of its neurons' landscapes K_j, so <M_k, M> and |M_k|^2 are sums of <K_i, K_j>, and
    these are the same whatever the order. A layer that does not vary has the landscape 0, which every prefix
    represents: its curve is 1. Raises SimilarityError for activations that are not finite and for any other order.
    """
    acts, order = torch.as_tensor(acts), torch.as_tensor(order)
    if acts.dim() not in (2, 3) or not acts.isfinite().all():
        what = tuple(acts.shape) if acts.dim() not in (2, 3) else "that are not finite"
        raise SimilarityError(f"activations {what} given, expected numbers (N, width, S) or (N, width).")
    acts = acts.unsqueeze(2) if acts.dim() == 2 else acts
    width = acts.shape[1]
    orders = order.view(1, -1) if order.dim() == 1 else order
    for each in orders.tolist() if orders.dim() == 2 and not orders.is_floating_point() else [[]]:
        if sorted(each) != list(range(width)):
            raise SimilarityError(f"order {order.tolist()} given, expected a permutation of the {width} neurons.")
    products = _products(acts, centred)
    curves = torch.stack([_curve(products[each][:, each]) for each in orders.to(acts.device)])
    return curves.view(order.shape).cpu()


def _curve(products: Tensor) -> Tensor:
    """The CKA of every prefix, from the <K_i, K_j> (width, width) in the order of the neurons."""
    norm = products.sum().sqrt()
    if norm == 0:
        return torch.ones(len(products), dtype=torch.float64, device=products.device)
    # |M_k|^2 grows by neuron k's products with the earlier ones, twice, and with itself.
    squares = (2 * products.tril(-1).sum(1) + products.diagonal()).cumsum(0)
    # Rounding may leave a tiny negative square before the first neuron that varies.
    norms = squares.clamp_min(0).sqrt() * norm
    inner = products.sum(1).cumsum(0)
    return torch.where(norms > 0, inner / norms.where(norms > 0, 1), 0).clamp(0, 1)


def _products(acts: Tensor, centred: bool) -> Tensor:
    """<K_i, K_j> of the neurons' landscapes: float64 (width, width) from activations (N, width, S)."""
    n, width, spatial = acts.shape
    means = acts.mean(0, dtype=torch.float64) if centred else torch.zeros_like(acts[0], dtype=torch.float64)
    if spatial == 1:  # where <K_i, K_j> = (a_i . a_j)^2
        features = acts[:, :, 0].double() - means[:, 0]
        return (features.T @ features).square_()
    size = max(1, _BLOCK // max(n * n, n * spatial))

    def landscapes(start: int) -> Tensor:
        block = slice(start, start + size)
        features = (acts[:, block].double() - means[block]).transpose(0, 1)  # (neurons, N, S)
        return (features @ features.transpose(1, 2)).flatten(1)

    starts, products = range(0, width, size), torch.empty(width, width, dtype=torch.float64, device=acts.device)
    for start in starts:
        mine = landscapes(start)
        for other in (s for s in starts if s >= start):
            part = mine @ (mine if other == start else landscapes(other)).T
            products[start : start + size, other : other + size] = part
            products[other : other + size, start : start + size] = part.T
    return products


def _centred(features: Tensor, centred: bool) -> Tensor:
    return features - features.mean(0) if centred else features
