"""The highest-ranking neurons or weights, as many as asked for by any ranking; and networks without some of them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nssutils import graphs
from nssutils.errors import NssError


def top(worth: Tensor, count: int, ties: Tensor | None = None) -> Tensor:
    """bool, shaped as `worth`: the `count` elements of highest worth; of equals those of higher `ties`, then the first.

    Exact in number, also where most are equal, as NNSlicer's contributions are that are zero.
    """
    order = torch.arange(worth.numel(), device=worth.device)
    for key in (worth,) if ties is None else (ties, worth):
        order = order[key.flatten()[order].argsort(descending=True, stable=True)]
    chosen = torch.zeros(worth.numel(), dtype=torch.bool, device=worth.device)
    chosen[order[:count]] = True
    return chosen.view(worth.shape)


def without(net: nn.Module, gone: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the network with some weights at zero: {module: bool (weight's shape), True = gone}. Raises NssError
    for weights that are computed from others, as by a weight norm."""
    for name, mask in gone.items():
        weight = net.get_submodule(name)._parameters.get("weight")
        if weight is None:
            raise NssError(
                f"the weights of {name!r} are computed from others, as by a weight norm or a pruning, or it has none; "
                "expected a parameter 'weight'. Make them permanent, by torch.nn.utils.prune.remove, "
                "remove_weight_norm or parametrize.remove_parametrizations."
            )
        if mask.shape != weight.shape:
            raise NssError(f"{tuple(mask.shape)} given for the weight {tuple(weight.shape)} of module {name!r}.")
    copied = graphs.copied(net)
    with torch.no_grad():
        for name, mask in gone.items():
            weight = copied.get_submodule(name).weight
            weight.masked_fill_(mask.to(weight.device), 0)
    return copied
