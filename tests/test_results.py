"""The store: what is kept comes back, what is malformed is named, only what is missing is computed."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from written import ORIGIN

from nssutils import settings, studies
from nssutils.companion import results, runner, schema, store
from nssutils.companion.claims import judging


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


def rewritten(path, **changes):
    """The file as someone would have written it who knows how digests are made."""
    content = json.loads(path.read_text()) | changes
    del content["sha256"]
    path.write_text(json.dumps(results.sealed(content)))


def test_a_damaged_file_is_named(stores):
    path = results.save(result())
    whole = path.read_text()
    path.write_text(whole[:50])
    with pytest.raises(results.ResultError, match=r"seed0.json cannot be read .*delete it"):
        results.read(path)
    path.write_text(whole.replace("0.9", "0.8"))
    with pytest.raises(results.ResultError, match=r"seed0.json is not what was written.*delete it"):
        results.read(path)
    path.write_text("[" * 100_000)
    with pytest.raises(results.ResultError, match=r"seed0.json cannot be read .*delete it"):
        results.read(path)
    path.write_text(json.dumps({"chapter": "x"}))
    with pytest.raises(results.ResultError, match=r"seed0.json is no result: it has chapter, expected exactly"):
        results.read(path)


def test_a_result_of_before_there_were_digests_gets_one_and_nothing_else_changes(stores, capsys):
    path = results.save(result())
    whole = path.read_text()
    path.write_text(
        "".join(line for line in whole.splitlines(True) if "sha256" not in line or "data" in line or "code" in line)
    )
    with pytest.raises(results.ResultError, match=r"seed0.json has no digest.*`nss seal`"):
        results.read(path)
    assert runner.main(["seal"]) == 0 and "1 results of" in capsys.readouterr().err
    assert path.read_text() == whole


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seed": -1}, "seed is -1, expected 0 or more"),
        ({"seed": 1}, r"is the result rq1_slicing/quick/mlp-mnist/seed1.json, expected the one that belongs there"),
        ({"setting": "vgg16-cifar10"}, "expected the one that belongs there"),
        ({"chapter": "../.."}, "chapter is '../..', expected a chapter's name"),
        ({"seed": "0"}, "seed is '0', expected int"),
        ({"tables": []}, "tables is .*, expected dict"),
        ({"tables": {"base": {"accuracy": 1}}}, "table 'base' is no list of rows"),
        ({"tables": {"base": [{"accuracy": True}]}}, "base.accuracy is True, expected a share"),
        ({"tables": {"base": [{"right": "a"}, {"right": 1}]}}, "base.right is 1 and above a str"),
        ({"tables": {"base": [{"images": -1}]}}, "base.images is -1, expected a whole number"),
        ({"tables": {"base": [{"seconds": -0.1}]}}, "base.seconds is -0.1, expected a number, 0 or more"),
        ({"tables": {"base": [{"at": float("inf")}]}}, "base.at is inf, expected a finite number"),
        ({"tables": {"base": [{"right": None}]}}, "base.right is null, expected a value"),
        ({"tables": {"base": [{"layer": "<script>"}]}}, "base.layer is '<script>', expected letters"),
        ({"provenance": ORIGIN | {"device": "<script>alert(1)</script>"}}, "device is '<script>.*no markup"),
        ({"provenance": ORIGIN | {"device": "![](http://there/a.png)"}}, "no markup"),
        ({"provenance": ORIGIN | {"versions": {"a`b": "1"}}}, "no markup"),
        ({"provenance": ORIGIN | {"seconds": "1"}}, "provenance.seconds is '1', expected float"),
        ({"readings": {"task_a": "/../../../x"}}, "expected short ones without '/'"),
    ],
)
def test_a_file_is_what_its_place_and_the_schema_say(stores, change, message):
    path = results.save(result())
    rewritten(path, **change)
    with pytest.raises(results.ResultError, match=message) as told:
        results.read(path)
    assert str(path) in str(told.value) and "delete it" in str(told.value)


def test_nothing_is_written_outside_the_store():
    with pytest.raises(results.ResultError, match="expected a chapter's name"):
        results.Result("../..", "quick", "mlp-mnist", 0, {}, ORIGIN, {})
    with pytest.raises(results.ResultError, match="without '/'"):
        results.save(result(readings={"task_a": "/../../../x"}))


def test_published_results_are_whole():
    files = sorted((results.DATA / "results").rglob("*.json"))
    assert len([results.read(file) for file in files]) == len(files) > 100


def test_a_relative_store_is_refused(monkeypatch):
    monkeypatch.setenv("NSS_RESULTS", "mine")
    with pytest.raises(
        results.ResultError, match=r"NSS_RESULTS=mine given, expected a whole path: NSS_RESULTS=/.*/mine\."
    ):
        results.find("rq1_slicing", "quick", "mlp-mnist", 0)


def test_other_readings_have_a_file_of_their_own_and_are_not_published(monkeypatch):
    monkeypatch.setattr(store, "holds", lambda result, setting: "code")
    results.save(result())
    assert results.save(result(readings={"centred": False})).name == "seed0,centred=False.json"
    assert [path.name for path in store.publish("rq1_slicing", "quick")] == ["seed0.json"]
    with pytest.raises(store.StoreError, match="smoke numbers are never published"):
        store.publish("rq1_slicing", "smoke")


def test_of_two_machines_results_the_first_stays_and_the_difference_is_told(monkeypatch):
    monkeypatch.setattr(store, "holds", lambda result, setting: "code")
    first, other = (dataclasses.replace(result(), tables=table(accuracy)) for accuracy in (0.9, 0.8))
    results.save(first)
    (place,) = store.publish("rq1_slicing", "quick")
    results.save(other)
    assert store.publish("rq1_slicing", "quick") == {place: "row 1 of base, accuracy: 0.9 and 0.8"}
    assert results.read(place) == first
    assert store.publish("rq1_slicing", "quick", replace=True) == {place: None} and results.read(place) == other
    results.save(dataclasses.replace(other, tables=table(0.8, seconds=7.0)))
    assert store.publish("rq1_slicing", "quick") == {place: ""}
    monkeypatch.setattr(store, "holds", lambda one, setting: "code" if one.tables != other.tables else "")
    results.save(first)
    assert store.publish("rq1_slicing", "quick") == {place: None}  # what was published did not hold any more
    assert results.unlike(first, dataclasses.replace(first, tables={})) == "base has 2 and 0 rows"


def table(accuracy, seconds=1.0):
    rows = [{"accuracy": 0.5}, {"accuracy": accuracy}]
    return {"base": [row | {"seconds": seconds, "metric": "avg"} for row in rows]}


def test_what_does_not_hold_or_is_elsewhere_is_not_published(monkeypatch):
    results.save(result(0))
    with pytest.raises(store.StoreError, match=r"mlp-mnist, preset quick, seed 0 is stale.*nothing is published"):
        store.publish("rq1_slicing", "quick")
    monkeypatch.setattr(store, "holds", lambda result, setting: "code")
    path = results.save(result(7))
    with pytest.raises(store.StoreError, match=r"seed 7 is stale, or no seed of the preset \(0, 1, 2\)"):
        store.publish("rq1_slicing", "quick")
    path.rename(path.with_name("seed1.json"))
    with pytest.raises(results.ResultError, match=r"seed1.json is the result rq1_slicing/quick/mlp-mnist/seed7.json"):
        store.publish("rq1_slicing", "quick")
    assert not results.PUBLISHED.exists()


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
    assert schema.PROVENANCE.keys() <= first[0].provenance.keys()
    assert len(first[0].provenance["data_sha256"]) == len(first[0].provenance["code_sha256"]) == 64


def test_a_result_of_another_setting_or_other_code_is_measured_again(counted, monkeypatch):
    store.fill("pilot_global", "smoke", "mlp-mnist", 0)
    smoke = settings._SMOKE["mlp-mnist"]
    monkeypatch.setitem(settings._SMOKE, "mlp-mnist", smoke | {"epochs": 9})
    store.fill("pilot_global", "smoke", "mlp-mnist", 0)
    monkeypatch.setattr(store.digests, "code", lambda *roots: "0" * 64)
    store.fill("pilot_global", "smoke", "mlp-mnist", 0)
    assert len(counted) == 3


def test_a_published_result_that_stands_is_taken_before_a_stale_one_of_this_machine(counted, monkeypatch):
    (here,) = store.fill("pilot_global", "smoke", "mlp-mnist", 0)
    results.save(here, results.PUBLISHED)
    stale = dataclasses.replace(here, provenance=here.provenance | {"code_sha256": "0" * 64})
    results.save(stale)
    cell = ("pilot_global", "smoke", "mlp-mnist", 0, {})
    assert store.seen(cell) == ("held", here)
    assert store.fill("pilot_global", "smoke", "mlp-mnist", 0) == [here] and len(counted) == 1
    assert judging.at_preset("smoke")["pilot_global"] == [results.presented(here)]
    results.path(results.PUBLISHED, *cell).unlink()
    assert store.seen(cell) == ("stale", stale)


def test_what_single_chapters_compute_with_besides_is_in_the_lock(counted, monkeypatch):
    (found,) = store.fill("pilot_global", "smoke", "mlp-mnist", 0)
    setting, own = settings.get("mlp-mnist", "smoke"), store.provenance.lock_of
    assert own("nnslicer_detection").keys() == {"foolbox"} and own("sensitivity").keys() == {"captum"}
    monkeypatch.setattr(store.provenance, "lock_of", lambda chapter: {"foolbox": "9"})
    assert store.holds(found, setting) == "code"  # of before it was recorded
    origin = found.provenance | {"lock": found.provenance["lock"] | {"foolbox": "8"}}
    assert store.holds(dataclasses.replace(found, provenance=origin), setting) == ""


def test_a_damaged_or_misplaced_result_is_set_aside_and_measured_again(counted, capsys):
    first, second = (results.path(results.local(), "pilot_global", "smoke", "mlp-mnist", seed, {}) for seed in (0, 1))
    store.fill("pilot_global", "smoke", "mlp-mnist", "0,1")
    first.write_text(first.read_text()[:-9])
    second.write_text(first.read_text())
    capsys.readouterr()
    found = store.fill("pilot_global", "smoke", "mlp-mnist", "0,1")
    assert [one.seed for one in found] == [0, 1] and len(counted) == 4
    assert capsys.readouterr().err.count("made again") == 2
    assert first.with_name("seed0.json.damaged").exists() and second.with_name("seed1.json.damaged").exists()


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
        (lambda: store.fill("pilot_global", "smoke", seed="one"), "parameter 'seed': 'one' given"),
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


VALUES = st.sampled_from(
    [0, 1, 7, -3, 0.0, 0.5, 1.0, 1.5, -0.25, float("nan"), float("inf"), True, None, "a", "<b>", [], 10**400]
)


@given(st.sampled_from(["accuracy", "images", "seconds", "metric", "x"]), st.lists(VALUES, min_size=1, max_size=4))
def test_a_column_seen_at_once_is_judged_as_value_by_value(column, values):
    if schema._sound(column, values):
        assert schema._column("base", column, values) == ""
    assert schema._table("base", [{column: each} for each in values]) == schema._column("base", column, values)
