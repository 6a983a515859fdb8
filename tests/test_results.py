"""The store: what is kept comes back, what is malformed is named, only what is missing is computed."""

import json

import numpy as np
import pytest
from scipy import stats

from nssutils import settings, studies
from nssutils.companion import results, store

ORIGIN = dict.fromkeys(results.PROVENANCE, "")


def result(seed=0, preset="quick", accuracy=0.5, readings=None, setting="mlp-mnist"):
    rows = {"base": [{"accuracy": accuracy}], "points": [{"metric": "avg", "at": 0.9}, {"metric": "var", "at": None}]}
    return results.Result("rq1_slicing", preset, setting, seed, readings or {}, ORIGIN, rows)


@pytest.fixture(autouse=True)
def stores(tmp_path, monkeypatch):
    monkeypatch.setenv("NSS_RESULTS", str(tmp_path / "local"))
    monkeypatch.setattr(results, "PUBLISHED", tmp_path / "published")
    return tmp_path


def test_a_saved_result_comes_back_and_leaves_no_partial_file(stores):
    path = results.save(result(3))
    assert path == stores / "local/rq1_slicing/quick/mlp-mnist/seed3.json"
    assert results.read(path) == result(3)
    assert [file.name for file in path.parent.iterdir()] == ["seed3.json"]
    assert results.find("rq1_slicing", "quick", "mlp-mnist", 3) == result(3)
    assert results.find("rq1_slicing", "quick", "mlp-mnist", 4) is None


@pytest.mark.parametrize(
    "change, message",
    [
        ({"accuracy": float("nan")}, "base.accuracy is nan, expected a finite number"),
        ({"accuracy": 1.5}, r"base.accuracy is 1.5, expected a share in \[0, 1\]"),
        ({"accuracy": np.float64}, "base.accuracy is a type, expected a scalar"),
        ({"preset": "tiny"}, "expected a setting of"),
    ],
)
def test_a_malformed_result_cannot_be_made(change, message):
    with pytest.raises(results.ResultError, match=message):
        result(**change)


def test_rows_of_a_table_have_the_same_columns():
    with pytest.raises(results.ResultError, match="rows of table 'a' differ"):
        results.Result("c", "quick", "mlp-mnist", 0, {}, ORIGIN, {"a": [{"x": 1}, {"y": 1}]})


def test_a_damaged_file_is_named(stores):
    path = results.save(result())
    path.write_text(path.read_text()[:50])
    with pytest.raises(results.ResultError, match=r"seed0.json cannot be read .*delete it"):
        results.read(path)
    path.write_text(json.dumps({"chapter": "x"}))
    with pytest.raises(results.ResultError, match=r"seed0.json is no result: expected exactly"):
        results.read(path)


def test_other_readings_have_a_file_of_their_own_and_are_not_published():
    results.save(result())
    assert results.save(result(readings={"centred": False})).name == "seed0,centred=False.json"
    assert [path.name for path in results.publish("rq1_slicing", "quick")] == ["seed0.json"]
    with pytest.raises(results.ResultError, match="smoke numbers are never published"):
        results.publish("rq1_slicing", "smoke")


def test_the_highest_published_preset_is_shown():
    for one in (
        result(0, "quick"),
        result(0, "paper"),
        result(1, "paper"),
        result(0, "quick", setting="vgg16-cifar10"),
    ):
        results.save(one, results.PUBLISHED)
    found = results.published("rq1_slicing")
    assert [(r.setting, r.preset, r.seed) for r in found] == [
        ("mlp-mnist", "paper", 0), ("mlp-mnist", "paper", 1), ("vgg16-cifar10", "quick", 0),
    ]  # fmt: skip


def test_aggregate_gives_the_t_interval_and_none_below_three_seeds():
    values = [0.5, 0.6, 0.9]
    rows = results.frame([result(k, accuracy=v) for k, v in enumerate(values)], "base").assign(all=1)
    row = results.aggregate(rows, ["all"], "accuracy").iloc[0]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (row["mean"], row["half"], row["n"]) == pytest.approx((np.mean(values), (high - low) / 2, 3))
    for n, mean in ((1, 0.5), (2, 0.55)):
        few = results.aggregate(rows[:n], ["all"], "accuracy").iloc[0]
        assert few["mean"] == pytest.approx(mean) and np.isnan(few["half"])


@pytest.fixture
def counted(monkeypatch):
    """A study that costs nothing and counts its calls."""
    calls = []

    def measure(setting, seed, loaded, *, centred=True):
        calls.append((setting.name, seed, centred))
        return {"base": [{"accuracy": 0.1 * (seed + 1)}]}

    measure.__module__, measure.__qualname__ = "nssutils.studies.pilot", "measure_global"
    monkeypatch.setitem(studies.STUDIES, "pilot_global", measure)
    return calls


def test_only_what_is_missing_is_measured(counted):
    first = store.fill("pilot_global", "smoke", "mlp-mnist", "0,1")
    assert store.fill("pilot_global", "smoke", "mlp-mnist", "0, 1") == first
    assert store.fill("pilot_global", "smoke", "mlp-mnist", "all") == first[:1]
    assert counted == [("mlp-mnist", 0, True), ("mlp-mnist", 1, True)]
    store.fill("pilot_global", "smoke", "mlp-mnist", 1, recompute=True)
    store.fill("pilot_global", "smoke", "mlp-mnist,mlp-fmnist", "1", centred=False)
    assert counted[2:] == [("mlp-mnist", 1, True), ("mlp-mnist", 1, False), ("mlp-fmnist", 1, False)]
    assert results.PROVENANCE <= first[0].provenance.keys()
    assert len(first[0].provenance["data_sha256"]) == len(first[0].provenance["code_sha256"]) == 64


def test_a_result_of_another_setting_or_other_code_is_measured_again(counted, monkeypatch):
    store.fill("pilot_global", "smoke", "mlp-mnist", 0)
    smoke = settings._SMOKE["mlp-mnist"]
    monkeypatch.setitem(settings._SMOKE, "mlp-mnist", smoke | {"epochs": 9})
    store.fill("pilot_global", "smoke", "mlp-mnist", 0)
    monkeypatch.setattr(store.digests, "code", lambda *roots: "0" * 64)
    store.fill("pilot_global", "smoke", "mlp-mnist", 0)
    assert len(counted) == 3


def test_published_computes_nothing(counted):
    assert store.fill("pilot_global", "published") == [] == counted


def test_a_failure_keeps_what_was_measured(counted, monkeypatch):
    whole = studies.STUDIES["pilot_global"]

    def failing(setting, seed, loaded):
        if seed == 1:
            raise ZeroDivisionError
        return whole(setting, seed, loaded)

    failing.__module__, failing.__qualname__ = whole.__module__, whole.__qualname__
    monkeypatch.setitem(studies.STUDIES, "pilot_global", failing)
    with pytest.raises(ZeroDivisionError):
        store.fill("pilot_global", "smoke", "mlp-mnist", "0,1")
    assert results.find("pilot_global", "smoke", "mlp-mnist", 0) is not None


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: store.fill("pilot_globl", "smoke"), "unknown chapter 'pilot_globl'.*Did you mean 'pilot_global'"),
        (lambda: store.fill("pilot_global", "smoke", seed="one"), "seed 'one' given"),
        (lambda: store.fill("rq1_slicing", "smoke", centered=False), "unknown reading 'centered'.*'centred'"),
        (lambda: store.fill("pilot_global", "smoke", "vgg"), "unknown setting 'vgg'"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(store.NssError, match=message):
        call()


def test_a_network_that_learned_nothing_is_reported():
    with pytest.raises(store.StoreError, match=r"accuracy is 0.100, expected at least 0.2"):
        store.check([result(accuracy=0.1)])
    assert store.check([result(accuracy=0.5)]).startswith("1 result,")
