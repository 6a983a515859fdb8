"""Peers that make a network smaller, at equal compression, before and after an epoch of training: channels by
magnitude, layer by layer and over all layers; torch-pruning by magnitude and by Taylor, in groups of layers that
depend on each other; and slices: semantic, global and category-wise.

On ResNet-10 for CIFAR-10 at preset paper, seed 0; the same scored images for all who look at images. Then what two
classes of ten need (SeaM's setting, Qi et al. 2023, which keeps 10.11% of the weights on average): the smallest
semantic slice of the two that loses at most a point of accuracy on training images. Needs torch-pruning (the extra
`zoo`).
"""

import copy
import itertools
import sys
import timeit

import torch
import torch.nn.functional as F
from table import row

from nssutils import (
    contribution,
    data,
    freezing,
    incremental,
    models,
    neurons,
    restructuring,
    settings,
    slicing,
    training,
)
from nssutils.models import count_parameters
from nssutils.studies import common, scores

try:
    import torch_pruning
except ImportError:
    print("bench/peers.py is left out: it needs torch-pruning. pip install torch-pruning (the extra `zoo`)")
    sys.exit()

RATES = (0.1, 0.2, 0.4, 0.6)  # of the parameters gone
TUNED = 10_000  # training images of the epoch
PAIRS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))


def nearest(make, rate: float, whole: int, steps: int = 12):
    """The network that `make` gives for the share of neurons dropped at which nearest `rate` of the parameters go."""
    low, high, best = 0.0, 0.98, None
    for _ in range(steps):
        middle = (low + high) / 2
        net = make(middle)
        gone = 1 - count_parameters(net) / whole
        if best is None or abs(gone - rate) < abs(best[1] - rate):
            best = net, gone
        low, high = (middle, high) if gone < rate else (low, middle)
    return best


def by_theta(curves, orders):
    """A semantic slice for a share dropped: theta from 1 down, finer near 1 where the curves are flat."""
    return lambda share: slicing.at_theta(curves, orders, 1 - share**3)


def torch_pruned(net, x, y, importance, share):
    """torch-pruning by groups, the same share of every layer; the output layer stays."""
    small = copy.deepcopy(net)
    pruner = torch_pruning.pruner.BasePruner(small, x[:2], importance, pruning_ratio=share, ignored_layers=[small.fc])
    if isinstance(importance, torch_pruning.importance.GroupTaylorImportance):
        F.cross_entropy(small(x), y).backward()
    pruner.step()
    small.zero_grad()
    return small.eval()


def accuracies(small, tuned: tuple, test: tuple, seed: int = 0) -> tuple[float, float]:
    """On test images, before and after an epoch on training images, all parameters trained."""
    before = training.evaluate(small, *test)
    x, y = tuned

    def loss(batch):
        return F.cross_entropy(small(x[batch]), y[batch])

    elements = freezing.whole(small)
    freezing.tune(
        small, elements, loss, len(x), lambda some: torch.optim.SGD(some, 0.01, momentum=0.9), epochs=1, batch_size=128,
        seed=seed, decay=True, statistics=freezing.norms(small, elements),
    )  # fmt: skip
    return before, training.evaluate(small, *test)


def compared(net, found: scores.Scores, few: tuple, tuned: tuple, test: tuple) -> None:
    layers = neurons.layers(net)
    norms = {name: net.get_submodule(name).weight.detach().flatten(1).norm(dim=1).double() for name in layers}
    scaled = torch.cat([norm / norm.norm() for norm in norms.values()])
    each = {name: contribution.ranking(norm)[None] for name, norm in norms.items()}
    taylor, whole = found.orders["taylor"], found.whole()["taylor"]

    def over_all(share):
        bound = scaled.sort().values[int(share * len(scaled))]
        masks = {name: norm / norm.norm() >= bound for name, norm in norms.items()}
        return {name: mask | (norms[name] == norms[name].max()) for name, mask in masks.items()}

    def extracted(choose):
        return lambda share: restructuring.extract(net, choose(share), x=few[0][:2], check=False)

    def pruned(importance):
        return lambda share: torch_pruned(net, *few, importance, share)

    ways = {
        "magnitude, each layer": extracted(lambda share: slicing.top_share(each, 1 - share)),
        "magnitude, all layers at once": extracted(over_all),
        "torch-pruning, magnitude": pruned(torch_pruning.importance.GroupMagnitudeImportance()),
        "torch-pruning, Taylor": pruned(torch_pruning.importance.GroupTaylorImportance()),
        "global slice, Taylor": extracted(lambda share: slicing.top_share(whole, 1 - share)),
        "category-wise slice, Taylor": extracted(lambda share: slicing.top_share(taylor, 1 - share)),
        "semantic slice, Taylor": extracted(by_theta(found.curves["taylor"], taylor)),
        "semantic slice, DeepLIFT": extracted(by_theta(found.curves["deeplift"], found.orders["deeplift"])),
    }
    print("| way |", " | ".join(f"{rate:.0%} gone | then tuned" for rate in RATES), "|")
    print("|:---|" + "---:|" * 2 * len(RATES))
    for name, make in ways.items():
        cells = []
        for rate in RATES:
            small, gone = nearest(make, rate, count_parameters(net))
            if abs(gone - rate) > 0.05:
                cells += [f"- (as near as {gone:.0%})", "-"]
                continue
            cells += [f"{100 * each:.1f}" for each in accuracies(small, tuned, test)]
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


def of_two(net, found: scores.Scores, train: tuple, test: tuple) -> None:
    print("\n| classes | kept (%) | accuracy of the two, whole (%) | sliced (%) |\n|:---|---:|---:|---:|")
    rows = []
    for pair in PAIRS:
        classes = torch.tensor(pair)
        alone = incremental.of_task(net, classes)
        (x, y), (x_test, y_test) = (_of(*each, classes) for each in (train, test))
        base, best = training.evaluate(alone, x, y), None
        for metric, theta in itertools.product(common.CANDIDATE_METRICS, common.CANDIDATE_THETAS):
            by_class = found.semantic(metric, theta).by_class
            small = restructuring.extract(alone, slicing.Slice.of_classes({c: by_class[c] for c in pair}), check=False)
            if training.evaluate(small, x, y) >= base - 0.01:
                best = min(filter(None, (best, small)), key=count_parameters)
        best = best or alone
        kept = count_parameters(best) / count_parameters(net)
        shares = (kept, *(training.evaluate(each, x_test, y_test) for each in (alone, best)))
        rows.append([100 * share for share in shares])
        print(f"| {pair[0]} and {pair[1]} |", " | ".join(f"{each:.1f}" for each in rows[-1]), "|", flush=True)
    means = torch.tensor(rows).mean(0).tolist()
    print("| mean |", " | ".join(f"{each:.1f}" for each in means), "|")


def _of(x, y, classes):
    """The images of the classes, labelled by their places among these."""
    mine = incremental.samples(y, classes)
    return x[mine], torch.searchsorted(classes, y[mine])


def timed(net, x) -> None:
    """Half of every layer's neurons gone: extraction, with its check and without, against torch-pruning's pruning."""
    masks = {name: torch.arange(layer.width) % 2 == 0 for name, layer in neurons.layers(net).items()}

    def prune():
        small = copy.deepcopy(net)
        groups = torch_pruning.DependencyGraph().build_dependency(small, example_inputs=x[:2])
        for name, mask in masks.items():
            gone = (~mask).nonzero()[:, 0].tolist()
            of = groups.get_pruning_group(small.get_submodule(name), torch_pruning.prune_conv_out_channels, gone)
            of.prune()

    ways = {
        "torch-pruning": prune,
        "extracted": lambda: restructuring.extract(net, masks, x=x[:2], check=False),
        "and compared": lambda: restructuring.extract(net, masks, x=x[:2]),
    }
    print("\n| half of the channels | seconds, best of 5 |\n|:---|---:|")
    took = {name: min(timeit.repeat(way, number=1, repeat=5)) for name, way in ways.items()}
    for name, seconds in took.items():
        print(f"| {name} | {seconds:.3f} |")
    ratio = took["extracted"] / took["torch-pruning"]
    row("extraction of half of ResNet-18's channels, unchecked: time against torch-pruning's", ratio, 1, least=False)


torch.set_num_threads(training.THREADS)
setting = settings.get("resnet10-cifar10", "paper")
loaded = data.load(setting)
net = training.trained(setting, 0, loaded)
scored = data.first_per_class(loaded.y_train, 500)
found = scores.of(net, loaded.x_train[scored], loaded.y_train[scored])
some = data.first_per_class(loaded.y_train, TUNED // setting.n_classes)
test = loaded.x_test, loaded.y_test
print(f"{setting.name}: {count_parameters(net):,} parameters, accuracy {100 * training.evaluate(net, *test):.1f}%\n")
few = loaded.x_train[scored[:512]], loaded.y_train[scored[:512]]
compared(net, found, few, (loaded.x_train[some], loaded.y_train[some]), test)
judged = data.first_per_class(loaded.y_train, 300)
of_two(net, found, (loaded.x_train[judged], loaded.y_train[judged]), test)
timed(models.resnet18(1.0, setting.channels, setting.image_size, setting.n_classes).eval(), test[0])
