"""Unstructured pruning: LAMP, global magnitude, Uniform+ and ERK, and their repeated use (RQ2).

What is scored and chosen here are plain tensors; `prune` alone touches a network, by torch.nn.utils.prune. To prune
what a slice keeps, prune the network that restructuring.extract makes of it.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from nssutils.errors import NssError

Weights = Mapping[str, Tensor]
LAST_LAYER_SHARE = 0.2  # of its weights, which Uniform+ keeps at least


class PruningError(NssError):
    """An amount or a network that cannot be pruned, or a pruner that is not known."""


def prunable(net: nn.Module) -> dict[str, nn.Module]:
    """The modules whose weights are pruned, by name: Conv2d and Linear, without their biases.

    Not those of attention: nn.MultiheadAttention reads the weights of its output projection past that module's own
    forward(), where torch.nn.utils.prune masks them.
    """
    attention = [module for module in net.modules() if isinstance(module, nn.MultiheadAttention)]
    read = {id(each) for module in attention for each in module.modules()}
    return {
        name: module
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and id(module) not in read
    }


def weights(net: nn.Module) -> dict[str, Tensor]:
    """Every prunable weight as the network uses it: zero where it is pruned."""
    return {name: module.weight.detach() for name, module in prunable(net).items()}


def masks(net: nn.Module) -> dict[str, Tensor]:
    """Which weights survive, bool in the weight's shape."""
    return {
        name: getattr(module, "weight_mask", torch.ones_like(module.weight)).bool()
        for name, module in prunable(net).items()
    }


def survivors(net: nn.Module) -> int:
    """The number of weights not pruned."""
    return sum(int(mask.sum()) for mask in masks(net).values())


def prune(net: nn.Module, pruner: str, share: float) -> nn.Module:
    """Prune `share` of the surviving weights in place, by one of PRUNERS; torch.nn.utils.prune holds the masks.

    Raises PruningError for an unknown pruner, a share outside (0, 1) or that leaves no weight, and for a network
    without weights to prune or whose weights are computed from others.
    """
    if pruner not in PRUNERS:
        raise PruningError(f"pruner {pruner!r} given, expected one of {', '.join(PRUNERS)}.")
    share = float(share)
    if not 0 < share < 1:
        raise PruningError(f"share {share!r} given, expected one in (0, 1).")
    if not prunable(net):
        raise PruningError(f"{type(net).__name__} has no Conv2d or Linear, whose weights are pruned, expected some.")
    for name, module in prunable(net).items():
        if nn.parameter.is_lazy(module._parameters.get("weight")):
            raise PruningError(f"{name!r} has no weights yet, expected a network that has been called once.")
        if "weight" not in module._parameters and not hasattr(module, "weight_mask"):
            raise PruningError(
                f"the weights of {name!r} are computed from others, as by a weight norm; expected one's own. "
                "Make them permanent, by torch.nn.utils.parametrize.remove_parametrizations or remove_weight_norm."
            )
    alive = masks(net)
    living = sum(int(mask.sum()) for mask in alive.values())
    keep = round((1 - share) * living)
    if keep < 1:
        raise PruningError(f"share {share!r} of {living} weights leaves none, expected at least one to survive.")
    return apply(net, PRUNERS[pruner](weights(net), alive, keep))


def apply(net: nn.Module, chosen: Weights) -> nn.Module:
    """Have the network compute with the surviving weights {layer: bool} only; masks it has already still hold. Raises
    PruningError unless there is a mask of each prunable weight, in its shape."""
    for name, weight in weights(net).items():
        if name not in chosen or chosen[name].shape != weight.shape:
            given = tuple(chosen[name].shape) if name in chosen else "no mask"
            raise PruningError(f"{given} given for the weights of {name!r}, expected a mask of {tuple(weight.shape)}.")
    for name, module in prunable(net).items():
        torch_prune.custom_from_mask(module, "weight", chosen[name].to(module.weight.device))
    return net


# The pruners: (weights, which of them are alive, how many to keep in all) -> which survive


def lamp(weights: Weights, alive: Weights, keep: int) -> dict[str, Tensor]:
    """Layer-adaptive magnitude pruning (Lee et al. 2021): the highest LAMP scores over all layers survive."""
    return _highest({name: lamp_scores(weight) for name, weight in weights.items()}, alive, keep)


def lamp_scores(weight: Tensor) -> Tensor:
    """w_u^2 over the sum of w_v^2 of all weights v of the layer that are not smaller; the largest has score 1."""
    squared, order = weight.flatten().double().square().sort()
    not_smaller = squared.flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(squared)
    scores[order] = squared / not_smaller.clamp_min(torch.finfo(torch.double).tiny)
    return scores.view_as(weight)


def glob(weights: Weights, alive: Weights, keep: int) -> dict[str, Tensor]:
    """Global magnitude pruning (Morcos et al. 2019): the largest weights over all layers survive."""
    return _highest({name: weight.abs() for name, weight in weights.items()}, alive, keep)


def unif(weights: Weights, alive: Weights, keep: int) -> dict[str, Tensor]:
    """Uniform+ (Gale et al. 2019): the same share of each layer survives, the largest weights of each; but a first
    convolution stays whole and the last layer keeps at least a fifth of its weights."""
    names = list(weights)
    limits = {name: int(mask.sum()) for name, mask in alive.items()}
    fixed = {names[0]: limits[names[0]]} if weights[names[0]].dim() > 2 else {}
    counts = fixed | _shared(_less(limits, fixed), _less(limits, fixed), keep - sum(fixed.values()))
    least = min(limits[names[-1]], round(LAST_LAYER_SHARE * weights[names[-1]].numel()))
    if counts[names[-1]] < least:
        fixed[names[-1]] = least
        counts = fixed | _shared(_less(limits, fixed), _less(limits, fixed), keep - sum(fixed.values()))
    return _largest(weights, alive, counts)


def erk(weights: Weights, alive: Weights, keep: int) -> dict[str, Tensor]:
    """Erdős-Rényi kernel (Evci et al. 2020): each layer's survivors, its largest weights, are in proportion to the sum
    of its weight's dimensions (inputs, outputs, kernel height and width); what a small layer cannot take goes to the
    others."""
    limits = {name: int(mask.sum()) for name, mask in alive.items()}
    return _largest(weights, alive, _shared({name: sum(w.shape) for name, w in weights.items()}, limits, keep))


PRUNERS: dict[str, Callable[[Weights, Weights, int], dict[str, Tensor]]] = {
    "lamp": lamp, "glob": glob, "unif": unif, "erk": erk,
}  # fmt: skip


def _highest(scores: Weights, alive: Weights, keep: int) -> dict[str, Tensor]:
    """The `keep` highest of all layers' scores (not negative) among what is alive."""
    flat = torch.cat([scores[name].masked_fill(~alive[name], -1).flatten() for name in scores])
    if not 0 < keep <= sum(int(mask.sum()) for mask in alive.values()):
        raise PruningError(f"{keep} weights to keep, expected from 1 to as many as are alive.")
    chosen = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
    chosen[flat.topk(keep, sorted=False).indices] = True
    parts = chosen.split([score.numel() for score in scores.values()])
    return {name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)}


def _largest(weights: Weights, alive: Weights, counts: Mapping[str, int]) -> dict[str, Tensor]:
    """The given number of largest weights of each layer; a layer may lose all of them."""
    chosen = {}
    for name, weight in weights.items():
        flat = weight.abs().masked_fill(~alive[name], -1).flatten()
        chosen[name] = torch.zeros_like(flat, dtype=torch.bool)
        chosen[name][flat.topk(counts[name], sorted=False).indices] = True
        chosen[name] = chosen[name].view_as(weight)
    return chosen


def _shared(want: Mapping[str, int], limits: Mapping[str, int], total: int) -> dict[str, int]:
    """Whole numbers that add up to `total`, in proportion to `want` but none above its limit."""
    if not 0 <= total <= sum(limits.values()):
        raise PruningError(f"{total} weights to share out among layers that take {sum(limits.values())}.")
    full: dict[str, int] = {}
    while True:  # each round fills a layer that its proportion would overfill, until none is
        free = _less(want, full)
        scale = (total - sum(full.values())) / max(1, sum(free.values()))
        over = {name: limits[name] for name in free if scale * free[name] > limits[name]}
        if not over:
            break
        full |= over
    exact = {name: full.get(name, scale * want[name]) for name in want}
    counts = {name: int(value) for name, value in exact.items()}
    rest = total - sum(counts.values())
    for name in sorted(free, key=lambda name: counts[name] - exact[name])[:rest]:  # the largest fractions first
        counts[name] += 1
    return counts


def _less(whole: Mapping[str, int], without: Mapping[str, int]) -> dict[str, int]:
    return {name: value for name, value in whole.items() if name not in without}
