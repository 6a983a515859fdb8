"""A comment, a refactoring that computes the same, an arithmetic detail: held, certified, stale."""

import pytest
import torch
from written import ORIGIN

from nssutils import NssError, arithmetic, data, digests, settings, training
from nssutils.companion import certify, results, store, workflow
from nssutils.studies import STUDIES, pilot

JOB = workflow.Job("pilot_global", "smoke", "mlp-mnist", 0)


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A store, cache and certificates of its own, with one small chapter."""
    monkeypatch.setenv("NSS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(results, "PUBLISHED", tmp_path / "published")
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(digests, "CERTIFICATES", tmp_path / "certificates.json")
    monkeypatch.setattr(settings, "NAMES", ("mlp-mnist",))
    monkeypatch.setattr(workflow, "jobs", lambda preset: [JOB])
    whole = dict(STUDIES)
    for chapter in whole.keys() - {"pilot_global"}:
        del STUDIES[chapter]
    yield
    STUDIES.clear()
    STUDIES.update(whole)  # in their order, which says what is computed first


def written_as(monkeypatch, letter, measure=pilot.measure_global):
    """Have the chapter measured by `measure`, as if its code had another digest, and the training's as well."""
    monkeypatch.setattr(digests, "code", lambda *roots: (letter if roots[0] != "training.trained" else "t") * 64)
    measure.__module__, measure.__qualname__ = "nssutils.studies.pilot", "measure_global"
    monkeypatch.setitem(STUDIES, "pilot_global", measure)


def test_what_computes_the_same_holds_and_what_does_not_is_stale(alone, monkeypatch):
    original = pilot.measure_global

    def refactored(setting, seed, loaded):
        tables = original(setting, seed, loaded)
        return {name: list(rows) for name, rows in tables.items()}

    def a_little_off(setting, seed, loaded):
        tables = original(setting, seed, loaded)
        tables["masking"][3]["accuracy"] += 1e-12
        return tables

    written_as(monkeypatch, "a")
    workflow.compute(JOB)
    assert certify.certify()[1].startswith("pilot_global: code aaaaaaaa, fingerprint ")
    assert workflow.state(JOB) == "held"
    first = results.find("pilot_global", "smoke", "mlp-mnist", 0)

    written_as(monkeypatch, "b", refactored)
    assert workflow.state(JOB) == "stale"  # not proven yet
    assert "the same as that of aaaaaaaa" in certify.certify()[1]
    results.save(first)  # as a long computation by the earlier code would lie there
    assert workflow.state(JOB) == "certified"

    written_as(monkeypatch, "c", a_little_off)
    assert "no earlier code's" in certify.certify()[1]
    results.save(first)
    assert workflow.state(JOB) == "stale"


def test_a_code_that_gives_two_things_is_not_certified(alone, monkeypatch):
    written_as(monkeypatch, "a")
    certify.certify()
    with pytest.raises(digests.NssError, match=r"pilot_global: code aaaaaaaa gave .* and now gives ffffffff"):
        digests.certify("pilot_global", "a" * 64, "f" * 64, digests.certificates()["pilot_global"][0]["settings"])


def test_other_settings_of_smoke_are_another_certificate(alone, monkeypatch):
    """Smoke may be made smaller: what the same code gave before is another statement, not a contradiction."""
    written_as(monkeypatch, "a")
    certify.certify()
    before = settings.get
    monkeypatch.setattr(
        settings, "get", lambda name, preset="paper", **more: before(name, preset, **({"epochs": 1} | more))
    )
    assert "fingerprint" in certify.certify()[1]
    first, second = digests.certificates()["pilot_global"]
    assert first["code"] == second["code"] and first["settings"] != second["settings"]
    assert first["fingerprint"] != second["fingerprint"]


def test_times_are_no_part_of_a_fingerprint():
    def one(seconds, accuracy=0.5):
        rows = {"base": [{"accuracy": accuracy, "seconds_1": seconds}], "times": [{"seconds": seconds}]}
        return results.Result("c", "smoke", "mlp-mnist", 0, {}, ORIGIN, rows)

    assert certify.fingerprint([one(1.0)]) == certify.fingerprint([one(2.0)])
    assert certify.fingerprint([one(1.0)]) != certify.fingerprint([one(1.0, 0.6)])


def test_a_checkpoint_of_other_code_is_kept_aside_unless_it_is_certified(alone, monkeypatch, capsys):
    setting = settings.get("mlp-mnist", "smoke", width=0.03, epochs=2)
    loaded = data.load(setting)
    monkeypatch.setattr(digests, "code", lambda *roots: "a" * 64)
    training.trained(setting, 0, loaded)
    (file,) = (data.CACHE / "checkpoints").iterdir()
    assert training.origin(setting, 0, loaded) == {"code": "a" * 64, "processor": digests.processor()}
    monkeypatch.setattr(digests, "code", lambda *roots: "b" * 64)
    for code in "ab":
        digests.certify("networks", code * 64, "f" * 64, "s")
    before = file.read_bytes()
    training.trained(setting, 0, loaded)
    assert file.read_bytes() == before and not capsys.readouterr().err.count("trained anew")
    monkeypatch.setattr(digests, "code", lambda *roots: "c" * 64)
    training.trained(setting, 0, loaded)
    assert "is of other code, trained for 2 epochs, and is trained anew" in capsys.readouterr().err
    assert sorted(path.suffix for path in file.parent.iterdir()) == [".safetensors", ".stale"]
    assert training.origin(setting, 0, loaded)["code"] == "c" * 64


def test_the_number_of_threads_is_the_codes(alone, monkeypatch):
    """Whatever the environment asks for: another number of threads gives another network."""
    calls = []
    monkeypatch.setattr(torch, "set_num_threads", calls.append)
    workflow.compute(JOB)
    assert set(calls) == {training.THREADS}


def test_published_results_of_a_present_recipe_stand():
    """Else code was changed, and not proven to compute what they say: `nss certify` does that."""
    fallen, seen = [], 0
    for chapter in STUDIES:
        for result in results.published(chapter):
            setting = settings.get(result.setting, result.preset)
            if store._asked(result.provenance["setting"]) == store._asked(store._described(setting)):
                seen += 1
                if not store.holds(result, setting, lambda setting: None):
                    fallen.append(f"{chapter}, {result.setting}, {result.preset}, seed {result.seed}")
    assert seen > 100 and not fallen


def test_a_processor_that_rounds_to_bf16_is_another_kind(alone, monkeypatch):
    """One code gives other sums there, which are no sign that it depends on something else."""
    for takes, fingerprint in ((True, "f"), (False, "g")):
        monkeypatch.setattr(arithmetic, "takes_bf16", lambda takes=takes: takes)
        assert digests.certify("networks", "a", fingerprint, "s")
    kinds = [each["processor"] for each in digests.certificates()["networks"]]
    assert kinds == [digests.processor(), f"{digests.processor()}, bf16 by rounding"]
    with pytest.raises(NssError, match=r"bf16 by rounding\) and now gives h"):
        digests.certify("networks", "a", "h", "s")
