"""NNSlicer's third application: selective protection. Some weights are hidden: what can be made of the rest?"""

import copy
import sys

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nssutils import data, selection, training
from nssutils.settings import Setting

IMAGES = {"smoke": 100, "quick": 1000, "overnight": 1000, "paper": 2000}  # of the training set, which the attacker has
EPOCHS = {"smoke": 3, "quick": 5, "overnight": 5, "paper": 10}
HIDDEN = (0.01, 0.02, 0.05, 0.1, 0.2)  # shares of each layer's weights


def measure(net: nn.Module, setting: Setting, seed: int, loaded: data.Data, found: dict[str, Tensor]) -> dict:
    """Hide the same share of every layer's weights, chosen in three ways; an attacker puts zeros there and trains all.

    found: synapse contributions {module: (n_classes, *weight.shape)}, whose sizes are added up over the classes. Table:
    protection (method, hidden, before: accuracy with zeros, regained: after the attacker's training). The method
    "everything" leaves the attacker nothing but the architecture: what more hiding could achieve at most.
    """
    few = data.first_per_class(loaded.y_train, IMAGES[setting.preset] // setting.n_classes)
    sizes = {name: net.get_submodule(name).weight.detach().abs().cpu() for name in found}
    flow = {name: value.abs().sum(0) for name, value in found.items()}
    generator, rows = torch.Generator().manual_seed(seed), []
    chance = {name: torch.rand(size.shape, generator=generator) for name, size in sizes.items()}
    worths = {"nnslicer": flow, "magnitude": sizes, "random": chance}
    cases = [(method, hidden) for hidden in HIDDEN for method in worths] + [("everything", 1.0)]
    for method, hidden in tqdm(cases, desc="protection", unit="attacker", file=sys.stderr, mininterval=2):
        if method == "everything":
            stolen = _fresh(net, seed)
        else:
            gone = {
                name: selection.top(worth, round(hidden * worth.numel()), sizes[name])
                for name, worth in worths[method].items()
            }
            stolen = selection.without(net, gone)
        before = training.evaluate(stolen, loaded.x_test, loaded.y_test)
        training.fit(
            stolen, loaded.x_train[few], loaded.y_train[few], epochs=EPOCHS[setting.preset], batch_size=50, lr=1e-3,
            augment=setting.augment, reduced=setting.reduced, seed=seed, label=f"{method}, {hidden:.0%} hidden",
        )  # fmt: skip
        regained = training.evaluate(stolen, loaded.x_test, loaded.y_test)
        rows.append({"method": method, "hidden": hidden, "before": before, "regained": regained})
    return {"protection": rows}


def _fresh(net: nn.Module, seed: int) -> nn.Module:
    """The same architecture with new weights."""
    new = copy.deepcopy(net)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for module in new.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    return new
