"""Slices: the literal Algorithm 1 gives the same masks; set algebra; files; counts."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from literal import linear_scan
from safetensors.torch import save_file
from torch import nn
from written_networks import Written

from nssutils import NssError, contribution, data, models, neurons, restructuring, settings, slicing, training

THETAS = [round(0.90 + 0.01 * i, 2) for i in range(10)]


@pytest.fixture(scope="module")
def case():
    """A trained network with images and labels, on embedded digits."""
    setting = settings.get("mlp-mnist", "smoke", width=0.05, epochs=3)
    loaded = data.load(setting)
    return training.trained(setting, 0, loaded), loaded.x_train, loaded.y_train


@pytest.fixture(scope="module")
def conv_case():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(968, 10)
    )
    loaded = data.load("mlp-mnist", "smoke")
    return net.eval(), loaded.x_train[:400], loaded.y_train[:400]


@pytest.mark.parametrize("metric", contribution.METRICS)
@pytest.mark.parametrize("step", [1, 2, 5])
def test_semantic_slice_is_algorithm_1(case, metric, step):
    net, x, y = case
    scores = contribution.score(net, x, y, (metric,))[metric]
    fast = slicing.semantic_slice(net, x, y, metric, THETAS, samples=40, step=step)
    for c in range(10):
        acts = neurons.record(net, x[y == c][:40])
        for name in scores:
            for theta in THETAS:
                slow = linear_scan(acts[name], scores[name][c], theta, step, centred=True)
                assert torch.equal(fast[theta].by_class[c][name], slow), (c, name, theta)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("spatial", ["mean", "flatten"])
def test_semantic_slice_of_a_convolutional_network_is_algorithm_1(conv_case, spatial, centred):
    net, x, y = conv_case
    scores = contribution.score(net, x, y, ("taylor",))["taylor"]
    options = dict(samples=12, spatial=spatial, centred=centred)
    fast = slicing.semantic_slice(net, x, y, "taylor", THETAS, **options)
    for c in range(10):
        acts = neurons.record(net, x[y == c][:12], spatial)
        for name in scores:
            for theta in THETAS:
                slow = linear_scan(acts[name], scores[name][c], theta, 1, centred)
                assert torch.equal(fast[theta].by_class[c][name], slow), (c, name, theta)


def test_many_thetas_at_once_are_one_at_a_time(case):
    together = slicing.semantic_slice(*case, metric="avg", theta=THETAS)
    assert together[0.95] == slicing.semantic_slice(*case, metric="avg", theta=0.95)
    for low, high in pairwise(THETAS):
        assert (together[low] - together[high]).masks["0"].sum() == 0  # a larger theta keeps all a smaller one keeps


def test_many_metrics_at_once_are_one_at_a_time(case, conv_case):
    for (net, x, y), spatial in ((case, "mean"), (conv_case, "flatten")):
        x, y = x[:200], y[:200]
        options = dict(samples=12, spatial=spatial)
        together = slicing.semantic_slice(net, x, y, contribution.METRICS, 0.95, **options)
        assert together == {m: slicing.semantic_slice(net, x, y, m, 0.95, **options) for m in contribution.METRICS}
        scores = contribution.score(net, x, y, ("avg", "taylor"))
        given = slicing.semantic_slice(net, x, y, ["avg", "taylor"], THETAS, scores=scores, **options)
        assert list(given) == ["avg", "taylor"] and given["taylor"][0.95] == together["taylor"]


def test_theta_zero_keeps_one_neuron_and_theta_one_what_represents_the_layer_fully(case):
    none, full = slicing.semantic_slice(*case, metric="avg", theta=[0, 1]).values()
    assert all(mask.sum() == 1 for masks in none.by_class.values() for mask in masks.values())
    assert full.masks["2"].sum() > none.masks["2"].sum()


def test_the_slice_is_the_union_over_classes(case):
    one = slicing.semantic_slice(*case, metric="var", theta=0.95)
    for name, mask in one.masks.items():
        assert torch.equal(mask, torch.stack([masks[name] for masks in one.by_class.values()]).any(0))


def test_top_shares_have_their_size_and_full_shares_keep_all(case):
    net, x, y = case
    width = neurons.layers(net)["0"].width
    one = slicing.global_slice(net, x, y, "ens", 0.3)
    assert one.masks["0"].sum() == round(0.3 * width)
    each = slicing.categorywise_slice(net, x, y, "ens", 0.3)
    assert all(masks["0"].sum() == round(0.3 * width) for masks in each.by_class.values())
    assert each.masks["0"].sum() >= one.masks["0"].sum()
    assert slicing.global_slice(net, x, y, "avg", 1.0).compression_rate(net) == 0


@given(width=st.integers(1, 60), seed=st.integers(0, 99))
def test_bands_partition_the_ranking(width, seed):
    order = torch.randperm(width, generator=torch.Generator().manual_seed(seed))
    bands = [slicing.band_mask(order, low / 10, (low + 1) / 10) for low in range(1, 10)]
    first = torch.zeros(width, dtype=torch.bool)
    first[order[: round(0.1 * width)]] = True
    assert torch.equal(torch.stack([first, *bands]).sum(0), torch.ones(width, dtype=torch.long))


masks = st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=2, max_size=2)


def make(rows) -> slicing.Slice:
    return slicing.Slice.of_classes({c: {"a": torch.tensor(row)} for c, row in enumerate(rows)})


@given(first=masks, second=masks)
@hypothesis_settings(deadline=None)
def test_set_algebra_acts_on_the_neurons(first, second):
    one, two = make(first), make(second)
    mine, theirs = one.masks["a"], two.masks["a"]
    for result, expected in ((one | two, mine | theirs), (one & two, mine & theirs), (one - two, mine & ~theirs)):
        assert torch.equal(result.masks["a"], expected)
        union = torch.stack([masks["a"] for masks in result.by_class.values()]).any(0)
        assert torch.equal(union, expected)  # each neuron of the result still belongs to a class
    assert (one | two) - two == (one - two) and (one & one) == (one | one)


def test_slices_of_different_networks_do_not_combine():
    other = slicing.Slice({"a": torch.ones(4, dtype=torch.bool)}, {})
    with pytest.raises(slicing.SliceError, match="different networks"):
        make([[True] * 5] * 2) | other


def test_a_saved_slice_comes_back(case, tmp_path):
    one = slicing.semantic_slice(*case, metric="deeplift", theta=0.95)
    one.save(tmp_path / "a.safetensors")
    back = slicing.Slice.load(tmp_path / "a.safetensors")
    assert back == one and list(back.masks) == list(one.masks)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_slice_is_saved_however_its_masks_lie_in_memory(tmp_path):
    """Columns of a table, the same mask twice, classes counted by numpy."""
    table = torch.rand(5, 3) > 0.5
    same = {"a": table[:, 0]}
    one = slicing.Slice({"a": table.any(1)}, {c: same if c else {"a": table[:, 1]} for c in np.arange(3)})
    one.save(tmp_path / "a.safetensors")
    assert slicing.Slice.load(tmp_path / "a.safetensors") == one
    slicing.Slice(same, {0: same, 1: same}).save(tmp_path / "b.safetensors")
    assert slicing.Slice.load(tmp_path / "b.safetensors") == slicing.Slice(same, {0: same, 1: same})


def test_a_damaged_or_missing_file_is_named(case, tmp_path):
    path = tmp_path / "a.safetensors"
    slicing.semantic_slice(*case, metric="avg", theta=0.9).save(path)
    path.write_bytes(path.read_bytes()[:-20])
    for file in (path, tmp_path / "none.safetensors"):
        with pytest.raises(slicing.SliceError, match=f"{file.name} is no slice file"):
            slicing.Slice.load(file)


def test_every_flipped_bit_of_a_file_is_seen(tmp_path):
    path = tmp_path / "a.safetensors"
    make([[True] * 5, [False] * 5]).save(path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(slicing.SliceError, match=r"a.safetensors is no slice file .*Make the slice again"):
            slicing.Slice.load(path)


def test_a_file_without_a_digest_is_refused(tmp_path):
    tensors, told = make([[True] * 5, [False] * 5]).contents()
    save_file(tensors, tmp_path / "old.safetensors", metadata=told)
    with pytest.raises(slicing.SliceError, match=r"has digest none, expected .*Make the slice again"):
        slicing.Slice.load(tmp_path / "old.safetensors")


def test_theta_is_any_number(case):
    wanted = slicing.semantic_slice(*case, metric="avg", theta=0.75)  # exact in every type
    for theta in (np.float32(0.75), torch.tensor(0.75), np.array(0.75)):
        assert slicing.semantic_slice(*case, metric="avg", theta=theta) == wanted
    assert slicing.semantic_slice(*case, metric="avg", theta=torch.tensor([0.5, 0.75]))[0.75] == wanted


def test_scores_that_lack_something_are_named(case):
    net, x, y = case
    whole = contribution.score(net, x, y, "avg")
    scores, (first, second) = whole["avg"], whole["avg"]
    for metric, lacking, message in (
        ("avg", {first: scores[first]}, f"'avg' are of layers {first}, expected {first}, {second}"),
        ("avg", scores | {second: scores[second][:3]}, rf"layer '{second}', are \(3, .* expected \(10, .*row for each"),
        ("avg", whole, r"scores\['avg'\] is a dict, expected a tensor"),
        (["avg", "var"], whole, "scores of avg given, expected those of var, too"),
    ):
        with pytest.raises(slicing.SliceError, match=message):
            slicing.semantic_slice(net, x, y, metric, scores=lacking)
    for mask in ([True] * 5, np.ones(5, bool)):
        with pytest.raises(NssError, match=f"the mask of layer '{first}' is a {type(mask).__name__}, no tensor"):
            slicing.Slice({first: mask}, {}).compression_rate(net)
    with pytest.raises(slicing.SliceError, match="no class given"):
        slicing.Slice.of_classes({})


def test_selection_over_the_whole_dataset_needs_no_sample_of_each_class(case):
    net, x, y = case
    some, merged = y != 3, y.where(y < 4, y - 1)[y != 3]
    found = slicing.global_slice(net, x[some], y[some], "ens", 0.3)  # which does not depend on what classes are called
    assert found == slicing.global_slice(net, x[some], merged, "ens", 0.3)


def test_compression_rate_of_a_network_that_needs_an_example():
    net = Written(
        lambda n, x: n.head(n.a(n.words(x).flatten(1) if x.shape[1] == 4 else x).relu()), words=nn.Embedding(9, 3),
        a=nn.Linear(12, 6), head=nn.Linear(6, 2),
    )  # fmt: skip
    one, x = slicing.Slice({"a": torch.arange(6) < 3}, {}), torch.randint(9, (5, 4))
    left = restructuring.extract(net, one, x=x)
    share = models.count_parameters(left) / models.count_parameters(net)
    assert one.compression_rate(net, x) == pytest.approx(1 - share)


def test_wrong_use_is_named(case):
    for wrong, message in (({"theta": 1.2}, "theta=1.2"), ({"step": 0}, "step=0")):
        with pytest.raises(slicing.SliceError, match=message):
            slicing.semantic_slice(*case, metric="avg", **wrong)
    net, x, y = case
    with pytest.raises(NssError, match="class 3 has no sample"):
        slicing.semantic_slice(net, x[y != 3], y[y != 3], metric="avg")


def test_compression_rate_counts_as_the_protocol_does():
    net = models.build("mlp-mnist")
    for kept, share in (((165, 78), 0.2674), ((275, 168), 0.4926)):
        mine = slicing.Slice({"0": torch.arange(512) < kept[0], "2": torch.arange(256) < kept[1]}, {})
        assert 1 - mine.compression_rate(net) == pytest.approx(share, abs=5e-5)


def test_scores_that_are_no_numbers_rank_nothing():
    net, x, y = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.rand(6, 3), torch.arange(6) % 2
    scores = {"0": torch.tensor([[1.0, 2, float("nan"), 4], [1, 2, 3, 4]])}
    with pytest.raises(slicing.SliceError, match="no finite numbers"):
        slicing.semantic_slice(net, x, y, theta=0.9, scores=scores)


@pytest.mark.parametrize("kind", [np.float32, np.float64, torch.tensor])
def test_thetas_are_called_by_the_digits_that_they_show(kind):
    net, x, y = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), torch.rand(9, 4), torch.arange(9) % 3
    given = torch.tensor([0.9, 0.95]) if kind is torch.tensor else np.array([0.9, 0.95], kind)
    assert list(slicing.semantic_slice(net, x, y, "avg", given)) == [0.9, 0.95]
    assert isinstance(slicing.semantic_slice(net, x, y, "avg", given[1]), slicing.Slice)


def test_metrics_may_come_from_a_generator():
    net, x, y = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), torch.rand(9, 4), torch.arange(9) % 3
    assert list(slicing.semantic_slice(net, x, y, (metric for metric in ("avg", "var")))) == ["avg", "var"]
