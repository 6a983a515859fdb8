"""What the chapters measure, on the smallest network, and what must hold of it whatever the numbers."""

import copy
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from written import ORIGIN

from nssutils import attacks, contribution, data, freezing, neurons, settings, slicing, studies, training
from nssutils.companion import claims, results
from nssutils.companion.claims import judging, rules
from nssutils.companion.claims.evidence import Evidence
from nssutils.studies import answers, common, parts, rq1, rq3, scores, sensitivity, sensitivity_combined

SETTING = settings.get("mlp-mnist", "smoke")
BLOCKS = settings.get("resnet14-cifar10", "smoke")
KINDS = ("biased", "debiased")


@pytest.fixture(scope="module")
def measured():
    """Each chapter's tables, by name."""
    loaded = data.load(SETTING)
    return {chapter: measure(SETTING, 0, loaded) for chapter, measure in studies.STUDIES.items()}


@pytest.fixture(scope="module")
def of_blocks():
    """DeepArc's tables of a network that has blocks."""
    return studies.STUDIES["deeparc"](BLOCKS, 0, data.load(BLOCKS), threshold=0.93)


def by(rows: list[dict], *keys: str) -> dict:
    return {tuple(row[key] for key in keys) if len(keys) > 1 else row[keys[0]]: row for row in rows}


def test_every_chapter_measures_scalars_of_the_same_network(measured):
    for chapter, tables in measured.items():
        results.Result(chapter, "smoke", SETTING.name, 0, {}, ORIGIN, tables)  # refuses what is no finite scalar
    whole = {
        measured[chapter]["base"][0]["accuracy"] for chapter in ("rq1_slicing", "rq2_restructuring", "rq3_readaptation")
    }
    assert len(whole) == 1


def test_every_claim_can_be_judged_by_what_the_chapters_measure_at_smoke(measured, of_blocks):
    """On one network in place of each claim's own: what a preset leaves out is called that."""
    found = {
        chapter: [results.Result(chapter, "smoke", SETTING.name, 0, {}, ORIGIN, tables)]
        for chapter, tables in measured.items()
    }
    found["deeparc"] = [results.Result("deeparc", "smoke", BLOCKS.name, 0, {}, ORIGIN, of_blocks)]
    opinions = {
        claim.id: judging._opinion(claim, Evidence(found, None if claim.jointly else SETTING.name))
        for claim in claims.claims().values()
    }
    assert opinions["N4"].verdict == rules.UNTOLD and opinions["N4"].note == "a share of 50% pruned is not measured"
    assert opinions["N7"].note != opinions["N4"].note  # of the same chapter


def test_pruning_obeys_the_law_and_stops_where_it_says(measured):
    tables = measured["rq2_restructuring"]
    steps, weights = by(tables["steps"], "method", "step"), 784 * 64 + 64 * 32 + 32 * 10
    stops = by(tables["pruned"], "method", "tau")
    assert len(stops) == 3 * 8 == len(tables["pruned"])
    for (method, tau), row in stops.items():
        start = steps[method, 0]["compression_rate"]
        law = 1 - (1 - start) * 0.9 ** row["iterations"]
        assert row["compression_rate"] == pytest.approx(law, abs=row["iterations"] / weights)
        assert steps[method, row["iterations"]]["accuracy"] == row["accuracy"]
        assert (start > 0) == method.startswith("nss+")
        looked_at = {step: one["train_accuracy"] for (m, step), one in steps.items() if m == method}
        lost = max(looked_at[0], steps[method.removeprefix("nss+"), 0]["train_accuracy"]) - tau
        kept = [looked_at[s] >= lost for s in sorted(looked_at) if looked_at[s] is not None and s <= row["iterations"]]
        assert all(kept) or row["iterations"] == 0  # no step up to the stop was seen to lose too much
        if tau < 0.01:
            assert row["iterations"] <= stops[method, 0.01]["iterations"]
        # The counterpart's accuracy at this compression can be told: it was tested on either side.
        other = method.removeprefix("nss+") if method.startswith("nss+") else f"nss+{method}"
        tested = [
            one["compression_rate"] for (m, _), one in steps.items() if m == other and one["accuracy"] is not None
        ]
        assert max(tested) >= row["compression_rate"]


def test_a_run_without_a_crossing_looks_at_few_steps(measured):
    """Each step evaluates the training images once at most, and test images only where a table needs them."""
    tables = measured["rq2_restructuring"]
    for method in {row["method"] for row in tables["pruned"]}:
        mine = [row for row in tables["steps"] if row["method"] == method]
        assert len(by(mine, "step")) == len(mine)
        assert sum(row["accuracy"] is not None for row in mine) <= 1 + 3 + 2 * 3


def test_an_extracted_network_has_the_share_that_the_slice_keeps(measured):
    tables = measured["rq2_restructuring"]
    savings = by(tables["savings"], "tolerance", "variant")
    for one in tables["slices"]:
        whole, small = (savings[one["tolerance"], variant]["parameters"] for variant in ("whole", "extracted"))
        assert small / whole == pytest.approx(1 - one["compression_rate"])
        assert savings[one["tolerance"], "folded"]["parameters"] <= small


def test_what_repair_trains_is_what_is_counted(measured):
    tables = measured["rq3_readaptation"]
    rows = by(tables["repairs"], "attack", "method")
    for attack in ("fgsm", "pgd"):
        share = {method: rows[attack, method]["tpr"] for method in ("full", "deeparc", "nss", "nss+deeparc")}
        assert share["full"] == 1
        assert share["nss"] == pytest.approx(1 - tables["slices"][0]["compression_rate"])
        assert share["nss+deeparc"] <= min(share["nss"], share["deeparc"])
        for method in share:  # successive halving: who goes on did best so far
            tried = [row for row in tables["rates"] if (row["attack"], row["method"]) == (attack, method)]
            for after, left in rq3.RUNGS.items():
                rung = sorted((row for row in tried if row["steps"] == after), key=lambda row: -row["accuracy"])
                if not rung:  # the training ends before
                    continue
                later = {row["lr"] for row in tried if row["steps"] > after} - {rq3.COMMON_RATE}
                assert later <= {row["lr"] for row in rung[:left]} and rows[attack, method]["lr"] in later | {1e-3}
            course = [row for row in tables["effort"] if (row["attack"], row["method"]) == (attack, method)]
            assert [row["epoch"] for row in course] == list(range(1, rq3.EPOCHS["smoke"] + 1))
            assert {row["lr"] for row in course} == {rq3.COMMON_RATE}
        assert {row["lr"] for row in tables["rates"]} == set(rq3.RATES["smoke"])
    assert all(row["left"] < tables["base"][0]["accuracy"] for row in tables["attacks"])


def test_task_a_is_after_task_b_what_the_slice_left_of_it(measured):
    tables = measured["rq4_incremental"]
    rows, (sliced,) = by(tables["methods"], "method"), tables["slices"]
    assert rows["nss"]["a"] == sliced["accuracy"]  # to the last image
    assert rows["original"]["a"] == tables["base"][0]["accuracy"] and rows["original"]["b"] == 0
    assert rows["nss"]["trained"] == rows["random"]["trained"] or sliced["compression_rate"] == 0
    assert rows["replay5"]["images"] < rows["replay10"]["images"] < rows["replay100"]["images"]
    assert rows["nss"]["stored"] < rows["replay5"]["stored"]
    for row in rows.values():
        assert row["a_told"] >= row["a_untold"] or row["method"] in ("nss", "nss+replay10", "random")  # masked
        assert row["b_told"] >= row["b_untold"]


def test_task_a_may_be_the_other_half_or_both():
    loaded, measure = data.load(SETTING), studies.STUDIES["rq4_incremental"]
    both = measure(SETTING, 0, loaded, task_a="both")
    assert [row["task_a"] for row in both["base"]] == ["first", "last"]
    last = measure(SETTING, 0, loaded, task_a="last")
    timeless = [
        [{key: value for key, value in row.items() if key != "seconds"} for row in rows if row["task_a"] == "last"]
        for rows in (last["methods"], both["methods"])
    ]
    assert timeless[0] == timeless[1]


def test_nnslicer_s_trained_detectors_meet_every_attack(measured):
    tables = measured["nnslicer"]
    assert {row["attack"] for row in tables["attacks"]} == {"fgsm", "pgd", "pgd-l2"}
    assert all(row["left"] < tables["base"][0]["accuracy"] for row in tables["attacks"])
    judged = by(tables["detection"], "features", "attack", "strength")
    assert len(judged) == 3 * sum(row["fooled"] > 0 for row in tables["attacks"])


def test_trees_judge_as_many_normal_images_as_adversarial_ones(measured):
    tables = measured["nnslicer_detection"]
    assert [row["attack"] for row in tables["attacks"]] == ["FGSM_8", "DeepFoolL2", "GaussianBlur"]
    wrong = {row["features"]: row["wrong"] for row in tables["trees"]}
    assert wrong["synapses"] <= wrong["inner synapses"]  # the last layer's tell the prediction itself
    recall = {
        (row["attack"], row["against"]): row["recall"] for row in tables["detection"] if row["features"] == "synapses"
    }
    met = {row["attack"] for row in tables["attacks"] if row["misled"]}
    assert met and recall.keys() == {(attack, against) for attack in met for against in ("answer", "label")}
    for attack in met:  # who reads off the prediction finds what is misled, if told what it should be
        assert recall[attack, "label"] > 0.5 > recall[attack, "answer"]
    for row in tables["detection"]:
        if row["recall"] and row["precision"] < 1:  # false alarms per image, of as many as are misled
            alarms = row["recall"] * (1 / row["precision"] - 1) * row["misled"]
            assert alarms == pytest.approx(round(alarms)) and alarms <= row["misled"]


def test_a_failing_attack_loses_itself_only(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "CACHE", tmp_path)
    whole = studies.nnslicer_detection.attacks.misleading

    def failing(net, x, y, attack, seed=0):
        if attack == "FGSM_8":
            raise attacks.AttackError("FGSM_8 cannot be made.")
        return whole(net, x, y, attack, seed)

    monkeypatch.setattr(studies.nnslicer_detection.attacks, "misleading", failing)
    tables = studies.nnslicer_detection.measure(SETTING, 0, data.load(SETTING))
    assert tables["failed"] == [{"attack": "FGSM_8", "why": "FGSM_8 cannot be made."}]
    assert [row["attack"] for row in tables["attacks"]] == ["DeepFoolL2", "GaussianBlur"]
    # What is kept is not computed again, and what failed is tried again.
    monkeypatch.setattr(studies.nnslicer_detection.attacks, "misleading", whole)
    again = studies.nnslicer_detection.measure(SETTING, 0, data.load(SETTING))
    assert not again["failed"] and tables["attacks"][0] in again["attacks"]


@pytest.mark.parametrize(
    "chapter", ["rq1_slicing", "rq2_restructuring", "rq3_readaptation", "rq4_incremental", "deeparc", "sensitivity"]
)
def test_a_study_that_is_cut_short_goes_on_where_it_was(measured, chapter, monkeypatch, tmp_path):
    monkeypatch.setattr(data, "CACHE", tmp_path)
    kept, done, anew = parts.kept, [], []

    def cut(study, key, compute):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(key)
        return kept(study, key, compute)

    def watched(study, key, compute):
        return kept(study, key, lambda: anew.append(key) or compute())

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(parts, "kept", cut)
        studies.STUDIES[chapter](SETTING, 0, data.load(SETTING))
    monkeypatch.setattr(parts, "kept", watched)
    tables = studies.STUDIES[chapter](SETTING, 0, data.load(SETTING))
    assert len(done) == 3 and anew and not any(key in anew for key in done)
    untimed = (
        {name: [{key: row[key] for key in row if "seconds" not in key} for row in rows] for name, rows in one.items()}
        for one in (tables, measured[chapter])
    )
    assert next(untimed) == next(untimed)


def test_the_common_rate_may_be_followed_for_fewer_epochs(measured, monkeypatch, tmp_path):
    monkeypatch.setattr(data, "CACHE", tmp_path)  # what is kept does not know of the change
    monkeypatch.setitem(rq3.COMMON, "smoke", 2)
    tables = studies.STUDIES["rq3_readaptation"](SETTING, 0, data.load(SETTING))
    assert {row["epoch"] for row in tables["effort"]} == {1, 2} and {row["lr"] for row in tables["effort"]} == {1e-3}
    last = max(row["steps"] for row in measured["rq3_readaptation"]["rates"])
    wanted = [r for r in measured["rq3_readaptation"]["rates"] if (r["lr"], r["steps"]) != (1e-3, last)]
    assert [r for r in tables["rates"] if (r["lr"], r["steps"]) != (1e-3, last)] == wanted
    assert tables["repairs"] == measured["rq3_readaptation"]["repairs"]


def test_pruning_for_classes_leaves_what_is_asked_for(measured):
    tables = measured["nnslicer_pruning"]
    cases = by(tables["pruned"], "classes", "method", "statistics", "share")
    subsets = {row["classes"] for row in tables["whole"]}
    assert len(subsets) == 4 and "0+1+2+3+4+5+6+7+8+9" in subsets
    for statistics in ("kept", "measured again"):
        same = [cases["0+1+2+3+4+5+6+7+8+9", method, statistics, 0.3] for method in ("nnslicer", "all classes")]
        assert same[0]["accuracy"] == same[1]["accuracy"]  # all classes are the target
    # An MLP has no batch normalisation: its statistics cannot matter.
    for (classes, method, statistics, share), row in cases.items():
        assert row["accuracy"] == cases[classes, method, "kept", share]["accuracy"], statistics
    assert len(tables["tuned"]) == 3 * 4


def test_each_reading_of_nnslicer_s_rules_prunes_the_same_classes(measured):
    tables = measured["nnslicer_rules"]
    readings = {(row["method"], row["unit"], row["theta"], row["summed"]) for row in tables["pruned"]}
    assert len(readings) == 1 + 2 * 2 + 2 and ("nnslicer", "activation", 0.5, "size") in readings
    cases = by(tables["pruned"], "classes", "unit", "theta", "summed", "statistics")
    assert len(cases) == len(tables["pruned"]) == len(readings) * 2 * 2
    zeros = by(tables["zeros"], "classes", "unit", "theta", "summed")
    for (classes, unit, theta, summed), row in zeros.items():
        # An MLP's filters have one activation each; and what has a sum has a size.
        assert row["share"] == zeros[classes, "filter", theta, summed]["share"], unit
        assert row["share"] >= zeros[classes, unit, theta, "size"]["share"]


def test_protection_has_an_attacker_for_each_way_to_hide(measured):
    rows = by(measured["nnslicer_protection"]["protection"], "method", "images")
    assert len(rows) == 5 * 2
    assert rows["everything", 100]["before"] < 0.3


def test_nnslicer_s_curve_ends_at_the_whole_network(measured):
    points = measured["nnslicer"]["curve"]
    assert [row["at"] for row in points] == list(rq1.SHARES)
    assert points[-1]["compression_rate"] == 0
    assert points[-1]["accuracy"] == measured["nnslicer"]["base"][0]["accuracy"]
    assert points[0]["compression_rate"] > 0.85


def test_a_network_of_one_s_own_is_left_smaller_repaired_and_extended(measured):
    tables = measured["your_model"]
    (base,), (small,) = tables["base"], tables["shrunk"]
    assert small["accuracy"] == base["accuracy"] and small["parameters"] == base["parameters"]
    at = {(row["method"], row["metric"], row["at"]): row for row in tables["points"]}
    assert small["accuracy_left"] == at["semantic", "deeplift", 0.95]["accuracy"]
    left = small["parameters_left"] / small["parameters"]
    assert left == pytest.approx(1 - at["semantic", "deeplift", 0.95]["compression_rate"])
    before, everything, critical = tables["repaired"]
    assert before["accuracy"] == base["accuracy"] and before["trained"] == 0 and everything["trained"] == 1
    assert critical["trained"] == pytest.approx(left) and critical["attacked"] > before["attacked"]
    everything, outside = tables["extended"]
    assert everything["trained"] == 1 and 0 < outside["trained"] < 1
    assert outside["old_told"] > 0.5 and everything["new"] > 0.1


def test_deeparc_s_tables_agree_with_each_other(measured, of_blocks):
    assert measured["deeparc"]["edited"] == measured["deeparc"]["search"] == []  # a plain network has no blocks
    tables = of_blocks
    results.Result("deeparc", "smoke", BLOCKS.name, 0, {}, ORIGIN, tables)
    (base,) = tables["base"]
    alike = {kind: [row["cka"] for row in tables["similarities"] if row["kind"] == kind] for kind in KINDS}
    assert [len(values) for values in alike.values()] == [5, 5] and base["blocks"] == 6
    shares = by(tables["modularity"], "n_classes", "kind", "threshold")
    assert {(classes, at) for classes, _, at in shares} == {(c, at) for c in (10, 5) for at in (0.9, 0.93, 0.95)}
    for kind, values in alike.items():
        joins = [value > 0.93 for value in values]
        inside = sum(a or b for a, b in zip([False, *joins], [*joins, False], strict=True))
        assert shares[10, kind, 0.93]["share"] == pytest.approx(inside / 6)
        assert shares[10, kind, 0.93]["accuracy"] == base["accuracy"]
    edited, search = by(tables["edited"], "what", "blocks"), by(tables["search"], "units")
    for (what, _), row in edited.items():
        assert (row["parameters"] > base["parameters"]) == (what == "added")
    # The debiased similarity decides what goes first, among the blocks that keep shape.
    spare = {"layer1.1": 0, "layer2.1": 2, "layer3.1": 4}
    first = max(spare, key=lambda name: alike["debiased"][spare[name]])
    assert edited["removed", 1]["units"] == first
    one = [row for row in tables["search"] if row["units"] == first]
    assert all(row["accuracy"] == edited["removed", 1]["accuracy"] for row in one)
    assert set(" ".join(search).split()) <= set(spare)
    repairs = by(tables["repair"], "attack", "method")
    assert len(repairs) == 6
    for row in repairs.values():
        assert row["mix"] >= row["repaired"] / 2 and row["left"] < base["accuracy"]
        assert len(row["names"].split()) == (row["units"] or 0)
    assert all(repairs[attack, "drop"]["units"] == 5 for attack in ("fgsm", "pgd"))


def test_which_images_are_recognised_is_kept(measured):
    tables = measured["rq1_slicing"]
    (whole,) = tables["base"]
    base = answers.unpacked(whole["right"], whole["images"])
    assert base.double().mean().item() == whole["accuracy"]
    for row in tables["points"]:
        assert answers.unpacked(row["right"], whole["images"], base).double().mean().item() == row["accuracy"]
    assert {row["at"] for row in tables["points"] if row["method"] == "global"} >= {0.925, 0.95, 0.975}
    assert len({(row["metric"], row["layer"]) for row in tables["layers"]}) == 5 * 2


@given(st.lists(st.booleans(), min_size=1), st.data())
def test_answers_come_back(first, drawn):
    second = drawn.draw(st.lists(st.booleans(), min_size=len(first), max_size=len(first)))
    right, base = torch.tensor(first), torch.tensor(second)
    assert torch.equal(answers.unpacked(answers.packed(right), len(first)), right)
    assert torch.equal(answers.unpacked(answers.packed(right, base), len(first), base), right)


def test_what_a_rate_is_chosen_by_was_never_trained_on():
    """Nor is eps found on images that the repair trains on."""
    loaded = data.load(SETTING)
    parts = rq3._images(rq3.IMAGES["smoke"], 10, loaded)

    def rows(x):
        return {tuple(image.flatten().tolist()) for image in x}

    trained = rows(loaded.x_train)
    assert rows(parts["repair"][0]) <= trained and rows(parts["calibration"][0]) <= trained
    assert not rows(parts["repair"][0]) & rows(parts["calibration"][0])
    assert torch.equal(parts["validation"][0], loaded.x_held[data.first_per_class(loaded.y_held, 10)])
    assert rq3.IMAGES["quick"]["repair"] == rq3.IMAGES["overnight"]["repair"] == rq3.IMAGES["paper"]["repair"] == 1000


def test_scores_are_computed_once_for_all_chapters(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "CACHE", tmp_path)
    loaded = data.load(SETTING)
    net = training.trained(SETTING, 0, loaded)
    x, y = loaded.x_train[:200], loaded.y_train[:200]
    first = scores.of(net, x, y)
    assert list(first.contributions) == list(first.curves) == list(contribution.METRICS)
    assert list(first.orders["avg"]) == list(neurons.layers(net))
    with monkeypatch.context() as patch:
        patch.setattr(contribution, "score", None)  # nothing is left to compute
        again = scores.of(net, x, y)
    for kind in ("contributions", "orders", "curves"):
        for metric, by_layer in getattr(first, kind).items():
            assert all(torch.equal(value, getattr(again, kind)[metric][name]) for name, value in by_layer.items())
    expected = slicing.semantic_slice(net, x, y, "taylor", 0.9)
    assert again.semantic("taylor", 0.9) == expected
    small = scores.of(net, x, y, taylor_batch=1)
    assert not torch.equal(small.contributions["taylor"]["0"], first.contributions["taylor"]["0"])
    assert torch.equal(small.orders["deeplift"]["0"], first.orders["deeplift"]["0"])


def test_replayed_images_may_come_as_often_as_new_ones():
    loaded, measure = data.load(SETTING), studies.STUDIES["rq4_incremental"]
    kept = {
        mix: by(measure(SETTING, 0, loaded, task_a="first", mix=mix, epochs=3)["methods"], "method")["replay5"]["a"]
        for mix in ("shuffled", "balanced")
    }
    assert kept["balanced"] > kept["shuffled"]
    with pytest.raises(studies.rq4.NssError, match="mix='even' given, expected one of shuffled, balanced"):
        measure(SETTING, 0, loaded, mix="even")


def test_sensitivity_has_this_books_slices_where_nothing_is_varied(measured):
    """Its first reading is RQ1's; without max-pooling captum's DeepLIFT must be ours, and so the slices."""
    found = measured["sensitivity"]
    theirs = {
        (row["method"], row["metric"], row["at"]): (row["compression_rate"], row["accuracy"])
        for row in measured["rq1_slicing"]["points"]
    }
    ours, captum = {}, {}
    for row in found["points"]:
        if row["reading"] in ("this book", "DeepLIFT by"):
            kept = ours if row["reading"] == "this book" else captum
            kept[row["method"], row["metric"], row["at"]] = row["compression_rate"], row["accuracy"]
    assert len(ours) == 5 * (len(common.THETAS[::3]) + 2 * len(rq1.SHARES[::4]))
    assert all(theirs[key] == value for key, value in ours.items())
    assert all(ours[key] == value for key, value in captum.items())
    varied = {(row["reading"], row["value"]) for row in found["points"]} - {("this book", "")}
    wanted = {(reading, value) for reading, values in sensitivity.READINGS.items() for value in values[1:]}
    assert varied == {(reading, value) for reading, value in wanted if reading not in sensitivity.IN_CONVOLUTIONS}


def test_combined_readings_agree_with_those_varied_alone(measured):
    """A combination in which only one reading of the scan is not this book's is that reading varied alone."""
    found, scans = measured["sensitivity"], sensitivity_combined.SCANS
    first = {"deeplift": "zeros, this book", "taylor": "weights, 256"}
    for alone in found["slices"]:
        if alone["reading"] not in ("this book", *scans) or alone["value"] not in {
            "",
            *scans["CKA"],
            "64",
            "4",
            "last",
        }:
            continue
        wanted = {name: values[0] for name, values in scans.items()} | {alone["reading"]: alone["value"]}
        (row,) = (
            row for row in found["combined"]
            if (row["metric"], row["variant"]) == (alone["metric"], first[alone["metric"]])
            and row["tolerance"] == alone["tolerance"] and all(row[name] == wanted[name] for name in scans)
        )  # fmt: skip
        assert (row["at"], row["compression_rate"]) == (alone["at"], alone["compression_rate"])


def test_masked_before_normalisation_a_channel_is_what_the_normalisation_makes_of_zero():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4, 2))
    net[1].bias.data += 1  # so that zero becomes more than zero
    critical, x = slicing.Slice({"0": torch.tensor([True, False, True, False])}, {}), torch.randn(3, 1, 4, 4)
    net.eval()
    zeroed = copy.deepcopy(net)
    zeroed[0].weight.data[[1, 3]], zeroed[0].bias.data[[1, 3]] = 0, 0
    with torch.no_grad(), sensitivity.weighted_masked(net, critical.masks):
        assert torch.equal(net(x), zeroed(x))
    with torch.no_grad(), neurons.masked(net, critical):
        assert not torch.allclose(net(x), zeroed(x))
    assert not net[0]._forward_hooks


def test_before_normalisation_the_units_of_tokens_are_masked_too():
    net, x = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3)), torch.rand(2, 5, 6)
    mask = torch.arange(8) < 4
    zeroed = copy.deepcopy(net)
    zeroed[0].weight.data[4:], zeroed[0].bias.data[4:] = 0, 0
    with torch.no_grad(), sensitivity.weighted_masked(net, {"0": mask}):
        assert torch.allclose(net(x), zeroed(x))


def test_an_error_in_a_repair_is_no_rate_that_is_too_high():
    loaded = data.load(SETTING)
    net, few = training.trained(SETTING, 0, loaded), (loaded.x_train[:20], loaded.y_train[:20])
    images, moved = {"repair": few, "validation": few}, {"repair": few[0], "validation": few[0]}
    with pytest.raises(freezing.FreezingError, match="no such one"):
        rq3._search(net, images, moved, {"no.such.parameter": torch.ones(1, dtype=torch.bool)}, 1, SETTING, 0)


@pytest.mark.parametrize("content", ["{}", '{"t": []}', '{"t": [{"a": 2}]}'])
def test_a_part_that_does_not_vouch_for_itself_is_computed_again(monkeypatch, tmp_path, capsys, content):
    monkeypatch.setattr(data, "CACHE", tmp_path)
    first = parts.kept("studies.rq1.measure", ["a key"], lambda: {"t": [{"a": 1}]})
    (file,) = (tmp_path / "parts").iterdir()
    file.write_text(content)
    assert parts.kept("studies.rq1.measure", ["a key"], lambda: {"t": [{"a": 1}]}) == first
    assert "is not what was written" in capsys.readouterr().err


def test_the_last_crossing_is_the_one_after_which_the_similarity_stays():
    curve, order = torch.tensor([[0.5, 0.96, 0.90, 0.97, 1.0]]), torch.arange(5)[None]
    for value, size in (("first", 2), ("last", 4)):
        raised = sensitivity_combined.for_good(curve) if value == "last" else curve
        assert int(slicing.at_theta({"a": raised}, {"a": order}, 0.95).masks["a"].sum()) == size


def test_a_picture_has_every_neuron_of_the_slice_it_is_drawn_from():
    rows = studies.method.measure(SETTING, 0, data.load(SETTING), theta=0.9)["neurons"]
    assert len(rows) == 64 + 32
    assert all(row["critical"] for row in rows if row["first"] or row["task_a"])
    assert all(0 <= row["contribution"] <= 1 for row in rows)


def test_the_explorer_keeps_every_theta_of_every_class(measured):
    """Its letters give back the very slices, and what it says of them is so."""
    loaded, tables = data.load(SETTING), measured["explorer"]
    net = training.trained(SETTING, 0, loaded)
    found = scores.of(net, *common.scored_images(SETTING, loaded))
    letters = by(tables["entries"], "layer", "category")
    for level, row in enumerate(tables["slices"]):
        critical = found.semantic("deeplift", row["theta"])
        assert row["compression_rate"] == critical.compression_rate(net)
        for c, masks in critical.by_class.items():
            for layer, mask in masks.items():
                entry = letters[layer, c]["entry"]
                assert [letter != "-" and int(letter) <= level for letter in entry] == mask.tolist()
    assert len(letters) == 10 * len(critical.masks)


def test_a_pause_does_not_count():
    start = common.clock()
    time.sleep(0.3)
    assert common.clock() - start < 0.2
    sum(range(3_000_000))
    assert common.clock() > start
