"""A network on a GPU: what is done with it there gives what it gives here, wherever the samples are."""

import copy
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from elsewhere import THERE, elsewhere
from torch import nn
from written import ORIGIN
from written_networks import Written

from nssutils import (
    contribution,
    costs,
    data,
    deeparc,
    detection,
    freezing,
    heads,
    incremental,
    neurons,
    nnslicer,
    pruning,
    readaptation,
    reports,
    restructuring,
    selection,
    settings,
    slicing,
    studies,
    training,
)  # fmt: skip
from nssutils.companion import certify, results

OLD = torch.tensor([0, 1])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x):
        return (x + self.norm(self.conv(x))).relu()


def images():
    """A residual network and samples."""
    stem = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
    net = nn.Sequential(*stem, Block(), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    return net.double().eval(), torch.rand(3, 1, 6, 6, dtype=torch.float64)


def tokens():
    """A network with attention and samples."""
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    net = Written(
        lambda m, x: m.head(m.layer(m.embed(x)).mean(1)), embed=nn.Linear(5, 8), layer=layer, head=nn.Linear(8, 4)
    )
    return net.double().eval(), torch.rand(3, 4, 5, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_what_is_on_two_devices_does_not_meet():
    x, net = torch.rand(4, 3), nn.Linear(3, 2)
    here = net(x)
    with elsewhere():
        far, moved = copy.deepcopy(net).to("cuda"), x.to(THERE)
        assert {each.device for each in (moved, far.weight, far(moved), moved[0], moved.new_zeros(2))} == {THERE}
        assert torch.zeros(2).device == x.device != torch.zeros(2, device="cuda").device == THERE
        assert torch.equal(far(moved).cpu(), here) and (moved * torch.tensor(2.0)).is_cuda
        assert torch.equal(moved[torch.tensor([0])].cpu(), x[:1])
        for meet in (
            lambda: far(x),
            lambda: moved + x,
            lambda: x[torch.tensor([0], device=THERE)],
            lambda: torch.cat([moved, x]),
            lambda: F.cross_entropy(far(moved), torch.zeros(4, dtype=torch.int64)),
            lambda: torch.rand(2, device=THERE, generator=torch.Generator()),
        ):
            with pytest.raises(RuntimeError, match=r"same device|Expected a 'cuda' device"):
                meet()
        with pytest.raises(TypeError, match="to numpy"):
            moved.numpy()
    assert torch.equal(net(x), here)


def some(net, x) -> dict[str, torch.Tensor]:
    """Masks that keep some neurons of each layer."""
    generator = torch.Generator().manual_seed(1)
    layers = neurons.layers(net, x).items()
    return {
        name: (torch.rand(one.width, generator=generator) < 0.6) | (torch.arange(one.width) == 0)
        for name, one in layers
    }


def at(net, x):
    return x.to(next(net.parameters()).device)


def masked(net, x, y):
    with neurons.masked(net, some(net, x)):
        return net(at(net, x))


def extracted(net, x, y):
    return [restructuring.extract(net, some(net, x), fold=fold, x=x)(at(net, x)) for fold in (False, True)]


def changed(change: Callable) -> Callable:
    """The parameters and statistics of a network in which something was changed."""

    def what(net, x, y):
        change(net, x, y)
        return net.state_dict()

    return what


def tune(net, x, y):
    elements = freezing.complement(net, freezing.connecting(net, some(net, x), x))
    x, y = at(net, x), at(net, y)

    def optimiser(some):
        return torch.optim.SGD(some, 0.05, momentum=0.9)

    freezing.tune(
        net, elements, lambda b: F.cross_entropy(net(x[b]), y[b]), len(x), optimiser, epochs=1, batch_size=2
    )  # fmt: skip


def learn(net, x, y):
    masks = some(net, x)
    elements = incremental.trainable(net, masks, OLD, 4, x=x)
    incremental.learn(net, x, y, elements, epochs=1, batch_size=3, critical=masks, task_a=OLD, balanced=True)


def repair(net, x, y):
    moved = readaptation.fgsm(net, x, y, 0.1)
    readaptation.repair(net, x, moved, y, readaptation.trainable(net, "nss", some(net, x), [], x), epochs=1)
    readaptation.repair_units(net, x, moved, y, deeparc.units(net, x)[:1], epochs=1)


def pruned(net, x, y):
    gone = {name: weight.abs() < weight.abs().median() for name, weight in pruning.weights(net).items()}
    few = selection.without(net, gone)(at(net, x))
    left = [pruning.survivors(pruning.prune(net, pruner, 0.1)) for pruner in pruning.PRUNERS]
    pruning.apply(net, {name: ~mask.cpu() for name, mask in gone.items()})
    return few, left, net.state_dict()


def by_profile(net, x, y):
    means = nnslicer.profile(net, x)
    found, classes = nnslicer.contributions(net, x, y, means), nnslicer.class_contributions(net, x, y, means)
    of_classes = nnslicer.dynamic_slice(net, x, y, means), nnslicer.difference(net, x, means)
    seen = detection.reactions(net, x, means, 0.5)
    tree = detection.class_tree(seen["synapses"], y)
    features = [detection.features(net, x, means, 0.5, kind) for kind in detection.FEATURES]
    of_images = features, seen["neurons"], seen["feature map"], tree.predict(seen["synapses"])
    return means, found, classes, of_classes, of_images


def units(net, x, y):
    found = deeparc.units(net, x)
    batches = [torch.cat([x, x + 0.3, 2 * x])]
    edited = [deeparc.remove(net, found[1:], x), deeparc.add(net, deeparc.preserving(net, x)[1:], x)]
    alike = deeparc.similarities(net, x), deeparc.debiased_similarities(net, batches)
    critical = readaptation.critical_units(net, x, x + 0.1), readaptation.dropping_units(net, x, x + 0.1)
    return alike, [one(at(net, x)) for one in edited], critical


def cut_heads(net, x, y):
    opened = heads.opened(net, x)
    return opened(at(net, x)), heads.extract(opened, some(opened, x), x)(at(net, x))


def saved(folder) -> Callable:
    def kept(net, x, y):
        masks = some(net, x)
        slicing.Slice(masks).save(folder / "slice")
        assert slicing.Slice.load(folder / "slice") == slicing.Slice(masks)
        restructuring.save(restructuring.extract(net, masks, x=x), folder / "small")
        return restructuring.load(folder / "small", net)(at(net, x))

    return kept


def told(net, x, y):
    found = reports.report(net, some(net, x), x, y)
    sizes = costs.size(net), costs.flops(net, x), freezing.head(net, x), freezing.count(freezing.whole(net))
    assert costs.latency({"net": net}, at(net, x), repeats=1)["net"] > 0
    return found, sizes, reports.supports(net, x), slicing.Slice(some(net, x)).compression_rate(net, x)


WAYS: dict[str, Callable] = {
    "contributions": lambda net, x, y: contribution.score(net, x, y, contribution.METRICS, 3),
    "Taylor by gates": lambda net, x, y: contribution.score(net, x, y, "taylor", 3, taylor="gate"),
    "DeepLIFT": lambda net, x, y: contribution.deeplift(net, x, y, x[:1]),
    "semantic slices": lambda net, x, y: slicing.semantic_slice(net, x, y, theta=[0.8, 0.95]),
    "a global slice": lambda net, x, y: slicing.global_slice(net, x, y, n_classes=3),
    "a category-wise slice": lambda net, x, y: slicing.categorywise_slice(net, x, y, "ens", n_classes=3),
    "activations": lambda net, x, y: neurons.record(net, x),
    "masked": masked,
    "extracted": extracted,
    "frozen": lambda net, x, y: freezing.determining(net, some(net, x), torch.arange(4) < 1, x),
    "tuned": changed(tune),
    "learned": changed(learn),
    "repaired": changed(repair),
    "trained": changed(lambda net, x, y: training.fit(net, x, y, epochs=1, batch_size=2, lr=0.01)),
    "pruned": pruned,
    "judged": lambda net, x, y: (training.logits(net, x), incremental.accuracy(net, x, y, OLD)),
    "rows of the head": lambda net, x, y: incremental.of_task(net, OLD, x)(at(net, x)),
    "a wider head": lambda net, x, y: incremental.widened(net, 2, x)(at(net, x))[:, :4],
    "attacked": lambda net, x, y: [readaptation.pgd(net, x, y, 0.1), detection.pgd_l2(net, x, y, 0.1)],
    "NNSlicer": by_profile,
    "DeepArc": units,
    "heads": cut_heads,
    "told": told,
}


def same(here, there) -> bool:
    """Whether two results are, numbers but for the last digits: attention is computed in other steps."""
    if isinstance(here, slicing.Slice):
        return here == there
    if hasattr(here, "__dataclass_fields__"):
        here, there = vars(here), vars(there)
    if isinstance(here, dict):
        return here.keys() == there.keys() and all(same(value, there[key]) for key, value in here.items())
    if isinstance(here, list | tuple):
        return len(here) == len(there) and all(map(same, here, there))
    if here is None or isinstance(here, str):
        return here == there
    here, there = (torch.as_tensor(each).cpu() for each in (here, there))
    exact = not here.is_floating_point()
    return torch.equal(here, there) if exact else torch.allclose(here, there, 1e-9, 1e-12, equal_nan=True)


@pytest.mark.parametrize("network", [images, tokens])
def test_what_is_done_with_a_network_elsewhere_gives_the_same(network, tmp_path):
    """DeepLIFT, operations, repairs and task B took no samples from here, pruning no masks, a global slice no labels
    from there."""
    net, x = network()
    y, wrong, ways = torch.arange(len(x)) % 3, [], WAYS | {"kept": saved(tmp_path)}
    del ways["NNSlicer" if network is tokens else "heads"]  # it has no rule for attention; without that, no heads
    for what, do in ways.items():
        here = do(copy.deepcopy(net), x.clone(), y.clone())
        with elsewhere():
            for where in ("cpu", "cuda"):
                try:
                    found = do(copy.deepcopy(net).to(THERE), x.clone().to(where), y.to(where))
                    if not same(here, found):
                        wrong.append(f"{what}, samples on {where}: another result")
                except Exception as error:
                    wrong.append(f"{what}, samples on {where}: {type(error).__name__}: {error}")
    assert not wrong


def test_masks_and_scores_may_be_elsewhere():
    net, x = images()
    y, masks = torch.arange(len(x)) % 3, some(net, x)
    scores = contribution.score(net, x, y, "avg", 3)["avg"]
    here = slicing.semantic_slice(net, x, y, "avg", 0.9, scores=scores), restructuring.extract(net, masks)(x)
    with elsewhere():
        far = copy.deepcopy(net).to(THERE)
        masks, scores = ({name: each.to(THERE) for name, each in of.items()} for of in (masks, scores))
        found = slicing.semantic_slice(far, x, y, "avg", 0.9, scores=scores)
        small = restructuring.extract(far, masks)
        assert same(here, (found, small(x.to(THERE))))
        with neurons.masked(far, masks):
            assert same(here[1], far(x.to(THERE)))
        assert slicing.Slice(masks).compression_rate(far) == slicing.Slice(some(net, x)).compression_rate(net)


def test_what_may_move_is_named_from_anywhere():
    start, x = images()
    y = torch.arange(len(x)) % 3
    elements = freezing.complement(start, freezing.connecting(start, some(start, x), x))
    moving = freezing.norms(start, elements)
    assert any(0 < mask.sum() < len(mask) for mask in moving.values())

    def moved(net: nn.Module, where: str, named: str) -> dict[str, torch.Tensor]:
        samples, wanted = x.to(where), y.to(where)
        given = [{name: mask.to(named) for name, mask in of.items()} for of in (elements, moving)]
        freezing.tune(
            net, given[0], lambda batch: F.cross_entropy(net(samples[batch]), wanted[batch]), len(x),
            lambda some: torch.optim.SGD(some, 0.1, weight_decay=0.1), epochs=2, batch_size=2,
            weights=torch.ones(len(x), device=named), statistics=given[1],
        )  # fmt: skip
        return net.state_dict()

    here = moved(copy.deepcopy(start), "cpu", "cpu")
    with elsewhere():
        for named in ("cpu", "cuda"):
            assert same(here, moved(copy.deepcopy(start).to(THERE), "cuda", named))


def test_a_chapter_measures_the_same_elsewhere(tmp_path, monkeypatch):
    """`make gpu-test` has all of them."""
    setting = replace(settings.get("mlp-mnist", "smoke"), epochs=1)
    monkeypatch.setattr(data, "CACHE", tmp_path)
    loaded = data.load(setting)

    def measured() -> str:
        tables = studies.STUDIES["rq4_incremental"](setting, 0, loaded)
        return certify.fingerprint(
            [results.Result("rq4_incremental", "smoke", setting.name, 0, {}, ORIGIN, tables)]
        )  # fmt: skip

    here = measured()
    with patch.object(training, "device", lambda: THERE), elsewhere():
        assert measured() == here
