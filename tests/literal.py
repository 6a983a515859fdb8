"""The paper's algorithms as printed: slow, one neuron at a time. The fast ones must agree with them."""

import torch
from torch import Tensor


def landscape(acts: Tensor, centred: bool) -> Tensor:
    """Eq. 1 for activations (N, neurons, S): inner products of the samples' features."""
    features = acts.double().flatten(1)
    if centred:
        features = features - features.mean(0)
    return features @ features.T


def cka(m: Tensor, m_whole: Tensor) -> float:
    """Eq. 2 for two landscapes; a layer that does not vary is represented by any of its neurons."""
    if m_whole.norm() == 0:
        return 1.0
    if m.norm() == 0:
        return 0.0
    return ((m * m_whole).sum() / (m.norm() * m_whole.norm())).item()


def linear_scan(acts: Tensor, scores: Tensor, theta: float, step: int, centred: bool) -> Tensor:
    """Algorithm 1 for one layer and class: the critical neurons, bool (width,)."""
    width, m_whole = acts.shape[1], landscape(acts, centred)
    remaining = sorted(range(width), key=lambda neuron: (-scores[neuron].item(), neuron))
    chosen: list[int] = []
    while remaining:
        chosen, remaining = chosen + remaining[:step], remaining[step:]
        if cka(landscape(acts[:, chosen], centred), m_whole) >= theta:
            break
    mask = torch.zeros(width, dtype=torch.bool)
    mask[chosen] = True
    return mask
