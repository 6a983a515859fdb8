"""What a user gives: tensors, arrays, DataLoaders; labels in several forms; and what is refused by name."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nssutils import NssError, contribution, neurons, samples, slicing


@pytest.fixture
def given():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))
    return net, torch.rand(90, 6), torch.randint(3, (90,))


def test_a_loader_gives_what_tensors_give(given):
    net, x, y = given
    loader = DataLoader(TensorDataset(x, y), batch_size=7)
    whole, streamed = (contribution.score(net, *data, batch_size=8) for data in ((x, y), (loader,)))
    for metric, by_layer in whole.items():
        for name, value in by_layer.items():
            assert torch.equal(value, streamed[metric][name])
    for metric in contribution.METRICS:
        assert slicing.semantic_slice(net, loader, metric=metric) == slicing.semantic_slice(net, x, y, metric)
    assert slicing.global_slice(net, loader, metric="ens") == slicing.global_slice(net, x, y, "ens")
    assert slicing.categorywise_slice(net, loader) == slicing.categorywise_slice(net, x, y)


@pytest.mark.parametrize(
    "form",
    [
        lambda y: y.numpy(),
        lambda y: y.float(),
        lambda y: nn.functional.one_hot(y),
        lambda y: y.int(),
        lambda y: y[:, None],
        lambda y: y.tolist(),
    ],
)
def test_labels_in_any_form(given, form):
    net, x, y = given
    assert slicing.semantic_slice(net, x.numpy(), form(y)) == slicing.semantic_slice(net, x, y)


def test_by_class_keeps_order_and_loses_none(given):
    _, x, y = given
    loader = DataLoader(TensorDataset(x, y), batch_size=11)
    found = {}
    for c, batch in samples.by_class(loader, None, 3, 8):
        assert len(batch) <= 8
        found.setdefault(c, []).append(batch)
    for c, batches in found.items():
        assert torch.equal(torch.cat(batches), x[y == c]) and all(len(batch) == 8 for batch in batches[:-1])


def test_an_absent_class_is_named_or_skipped(given):
    net, x, y = given
    y = y.where(y != 1, torch.tensor(2))
    with pytest.raises(NssError, match="class 1 has no sample"):
        slicing.semantic_slice(net, x, y)
    found = slicing.semantic_slice(net, x, y, skip_absent=True)
    assert list(found.by_class) == [0, 2]
    assert found.masks["0"].equal(found.by_class[0]["0"] | found.by_class[2]["0"])


def test_without_labels_all_is_one_class():
    net, x = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1)), torch.rand(40, 6)
    found = slicing.semantic_slice(net, x)
    assert list(found.by_class) == [0] and 0 < found.masks["0"].sum() <= 12


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, y: (x * torch.nan, y), "sample 0 has a value that is not finite"),
        (lambda x, y: ((x * 255).byte(), y), "samples of uint8 given, expected floats.*x / 255"),
        (lambda x, y: (x, y + 0.5), "label .*[.]5 given, expected whole numbers"),
        (lambda x, y: (x, torch.rand(90, 3)), "rows are not one-hot"),
        (lambda x, y: (x, y[:80]), r"90 samples and labels .80,. given"),
        (lambda x, y: (x, y - 1), "label -1 given, expected 0"),
        (lambda x, y: (x, y + 1), "class 0 has no sample|4 classes given, but the network has 3 outputs"),
        (lambda x, y: (DataLoader(x), None), "the DataLoader gives a Tensor, expected pairs"),
        (lambda x, y: (DataLoader(TensorDataset(x, y)), y), "x is a DataLoader with labels beside it"),
        (lambda x, y: (7, None), "x is a int, expected a tensor"),
        (lambda x, y: (zip(x.split(9), y.split(9), strict=True), None), "x is a zip, which can be gone through once"),
        (lambda x, y: (iter([(x, y)]), None), "x is a list_iterator, which can be gone through once"),
        (lambda x, y: ([], None), "the list gives no batch"),
        (lambda x, y: (x[:0], y[:0]), r"samples \(0, 6\) given, expected at least one"),
        (lambda x, y: (x, ["a"] * 90), "labels are no numbers"),
    ],
)
def test_what_cannot_be_used_is_named(given, change, message):
    net, x, y = given
    with pytest.raises(NssError, match=message):
        slicing.semantic_slice(net, *change(x, y))


def test_what_can_be_gone_through_once_is_refused_where_classes_are_given(given):
    """It would lose its first batch to a look at it."""
    net, x, y = given
    batches = list(zip(x.split(9), y.split(9), strict=True))
    assert contribution.score(net, batches, metrics="avg", n_classes=3)["avg"]["0"].shape == (3, 12)
    with pytest.raises(NssError, match=r"a list_iterator, which can be gone through once.*a list of its batches"):
        contribution.score(net, iter(batches), metrics="avg", n_classes=3)


@pytest.mark.parametrize("how, message", [(dict(samples=0), "samples=0 given"), (dict(samples=-1), "samples=-1 given")])
def test_no_samples_to_measure_on_are_refused(given, how, message):
    with pytest.raises(NssError, match=message):
        slicing.semantic_slice(*given, metric="avg", **how)


def test_samples_of_another_type_than_the_network_s_are_named(given):
    net, x, y = given
    with pytest.raises(NssError, match=r"of torch.float32 does not take samples of torch.float64.*x.to\(torch.float32"):
        slicing.semantic_slice(net, x.double().numpy(), y)
    with pytest.raises(NssError, match=r"does not take samples of torch.float64"):
        neurons.record(net, x.double())


def test_no_batch_is_refused(given):
    with pytest.raises(NssError, match="batch_size=0 given, expected a whole number"):
        contribution.score(*given, metrics="avg", batch_size=0)


def test_shared_weights_have_no_taylor_by_weights(given):
    _, x, y = given
    net = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    net[2].weight = net[0].weight
    with pytest.raises(NssError, match=r"layer '0' shares its weights with '2'.*taylor='gate'"):
        contribution.score(net, x, y, "taylor")
    gate = contribution.score(net, x, y, "taylor", taylor="gate")["taylor"]
    apart = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    apart.load_state_dict(net.state_dict())
    for name, value in contribution.score(apart, x, y, "taylor", taylor="gate")["taylor"].items():
        assert torch.equal(value, gate[name])
    assert list(neurons.layers(net)) == ["0", "2"]
