"""NNSlicer's second application: a network pruned for a few chosen classes."""

import torch
from torch import Tensor, nn

from nssutils import data, neurons, selection, slicing, training
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import scores

CLASSES = (2, 3, 4, 5)  # how many classes a network is pruned for
THETAS = (0.9, 0.95, 0.98, 0.99, 0.999)  # of the semantic slices whose sizes the other methods are cut to
KEPT = (0.5, 0.3, 0.2, 0.1, 0.05)  # shares of each layer's weights


def measure(
    net: nn.Module, setting: Setting, seed: int, loaded: data.Data, scored: tuple[Tensor, Tensor],
    at_neurons: dict[str, Tensor], at_synapses: dict[str, Tensor], spatial: str, centred: bool, samples: int,
) -> dict:  # fmt: skip
    """Prune for 2 to 5 classes, drawn by the seed; nothing is retrained.

    Neurons: every method keeps as many of each layer as the semantic slice (DeepLIFT) of those classes, so that what
    is compared is which ones. Synapses: the same share of every layer's weights but the last's. Contributions are the
    chosen classes' (n_classes, …), added up in size. Tables: whole (classes, n_classes, accuracy); pruning (classes,
    n_classes, level, method, at, compression_rate, accuracy), `at` being theta or the share kept and the accuracy that
    on test images of the chosen classes, told that it is one of them.
    """
    x, y = scored
    found = scores.of(net, x, y, spatial=spatial, centred=centred, samples=samples)
    semantic = {theta: found.semantic("deeplift", theta).by_class for theta in THETAS}
    drawn = torch.randperm(setting.n_classes, generator=torch.Generator().manual_seed(seed)).tolist()
    traced, total, rows, whole = neurons.trace(net), count_parameters(net), [], []
    for k in CLASSES:
        chosen = sorted(drawn[:k])
        case = {"classes": "+".join(map(str, chosen)), "n_classes": k}
        whole.append(case | {"accuracy": _among(net, loaded, chosen)})

        def add(level: str, method: str, at: float, rate: float, pruned: nn.Module, case=case, chosen=chosen) -> None:
            what = {"level": level, "method": method, "at": at, "compression_rate": rate}
            rows.append(case | what | {"accuracy": _among(pruned, loaded, chosen)})

        for theta in THETAS:
            wanted = slicing.Slice.of_classes({c: semantic[theta][c] for c in chosen}).masks
            for method, masks in _neuron_masks(net, wanted, at_neurons, chosen).items():
                rate = 1 - neurons.count_kept(traced, masks) / total
                with neurons.masked(net, masks):
                    add("neurons", method, theta, rate, net)
        for share in KEPT:
            for method, gone in _gone_synapses(net, share, at_synapses, chosen).items():
                rate = sum(int(mask.sum()) for mask in gone.values()) / total
                add("synapses", method, share, rate, selection.without(net, gone))
    return {"whole": whole, "pruning": rows}


def _neuron_masks(net: nn.Module, semantic: slicing.Masks, found: dict[str, Tensor], chosen: list[int]) -> dict:
    """{method: masks}, each with as many neurons of a layer as the semantic slice."""
    norms = {name: net.get_submodule(name).weight.detach().flatten(1).norm(dim=1).cpu() for name in semantic}
    flow = {name: found[name][chosen].abs().sum(0) for name in semantic}
    counts = {name: int(mask.sum()) for name, mask in semantic.items()}
    return {
        "semantic": semantic,
        "nnslicer": {name: selection.top(flow[name], counts[name], norms[name]) for name in semantic},
        "magnitude": {name: selection.top(norms[name], counts[name]) for name in semantic},
    }


def _gone_synapses(net: nn.Module, share: float, found: dict[str, Tensor], chosen: list[int]) -> dict:
    """{method: {module: weights that go}}, the same share of every layer but the last."""
    inner = list(found)[:-1]
    sizes = {name: net.get_submodule(name).weight.detach().abs().cpu() for name in inner}
    counts = {name: round(share * size.numel()) for name, size in sizes.items()}
    flow = {name: found[name][chosen].abs().sum(0) for name in inner}
    return {
        "nnslicer": {name: ~selection.top(flow[name], counts[name], sizes[name]) for name in inner},
        "magnitude": {name: ~selection.top(sizes[name], counts[name]) for name in inner},
    }


def _among(net: nn.Module, loaded: data.Data, chosen: list[int]) -> float:
    """Accuracy on test images of the chosen classes, the answer being one of them."""
    theirs = torch.isin(loaded.y_test, torch.tensor(chosen))
    guessed = training.logits(net, loaded.x_test[theirs])[:, chosen].argmax(1).cpu()
    return (torch.tensor(chosen)[guessed] == loaded.y_test[theirs]).double().mean().item()
