"""The ledger of claims: rules by hand-made estimates, every claim's judge on the published results, and that a verdict
follows the results."""

import dataclasses
import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from written import body, result

from nssutils import files
from nssutils.companion import claims, origins, pages, results
from nssutils.companion.claims import judging, maintenance, rules
from nssutils.companion.claims.evidence import Evidence, printed_base
from nssutils.studies import answers

values = st.lists(st.floats(-1, 1), min_size=3, max_size=6)


@pytest.fixture(scope="module")
def published():
    return claims.published()


@pytest.fixture(scope="module")
def judged(published):
    return claims.ledger(published)


# The rules


@pytest.mark.parametrize(
    ("measured", "verdict", "tendency"),
    [
        ([0.04, 0.05, 0.06], rules.REPRODUCED, 1),
        ([-0.04, -0.05, -0.06], rules.CONTRADICTED, -1),
        ([-0.01, 0.05, 0.02], rules.UNTOLD, 1),
        ([0.05, 0.05], rules.UNTOLD, 1),  # two networks are too few, however equal
        ([0.0, 0.0, 0.0], rules.UNTOLD, 0),  # level is not ahead
    ],
)
def test_ahead(measured, verdict, tendency):
    opinion = rules.ahead(rules.over_networks(measured))
    assert (opinion.verdict, opinion.tendency) == (verdict, tendency)


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        ([0.40, 0.41, 0.42], rules.REPRODUCED),  # 41.18 is within 41 ± 2.48
        ([0.30, 0.31, 0.32], rules.DIRECTION),
        ([-0.30, -0.31, -0.32], rules.CONTRADICTED),
        ([-0.1, 0.4, 0.9], rules.UNTOLD),  # the interval includes both the number and nothing
    ],
)
def test_valued(measured, verdict):
    assert rules.valued(rules.over_networks(measured), 0.4118).verdict == verdict


def test_a_tolerance_is_what_the_wording_leaves_open():
    estimate = rules.over_networks([0.62, 0.62, 0.62])
    assert rules.valued(estimate, 0.70, tolerance=0.1).verdict == rules.REPRODUCED
    assert rules.valued(estimate, 0.70, tolerance=0.05).verdict == rules.DIRECTION
    assert rules.at_most(estimate, 0.60, tolerance=0.03).verdict == rules.REPRODUCED
    assert rules.at_most(estimate, 0.60, tolerance=0.03).paper == "read as at most 63.00 points"
    assert rules.at_most(rules.over_networks([0.07] * 3), 0.01, tolerance=0.06).verdict == rules.REPRODUCED
    assert rules.at_most(estimate, 0.60).verdict == rules.CONTRADICTED
    assert rules.at_most(estimate, 0.62).verdict == rules.REPRODUCED
    assert rules.at_least(estimate, 0.62).verdict == rules.REPRODUCED
    assert rules.at_least(estimate, 0.625).verdict == rules.CONTRADICTED
    assert rules.at_least(estimate, 0.62).paper == "read as at least 62.00 points"


def test_an_estimate_of_few_networks_has_no_interval():
    assert rules.over_networks([0.1, 0.2, 0.3]).text() == "20.00 ± 24.84 points"
    assert rules.over_networks([0.1, 0.2]).text() == "15.00 points"


def test_below_no_effect_a_number_points_the_other_way():
    # A share of 61% where everything would be 100%: less is as claimed, 100% is not.
    assert rules.valued(rules.over_networks([0.3, 0.31, 0.32]), 0.6149, null=1.0).verdict == rules.DIRECTION
    assert rules.valued(rules.over_networks([1.1, 1.11, 1.12]), 0.6149, null=1.0).verdict == rules.CONTRADICTED


@given(values, st.floats(-1, 1))
def test_the_contrary_is_judged_the_contrary_way(measured, margin):
    first = rules.ahead(rules.over_networks(measured), margin)
    second = rules.ahead(rules.over_networks([-value for value in measured]), -margin)
    opposite = {rules.REPRODUCED: rules.CONTRADICTED, rules.CONTRADICTED: rules.REPRODUCED, rules.UNTOLD: rules.UNTOLD}
    assert second.verdict == opposite[first.verdict]
    assert second.tendency == -first.tendency


def test_what_happens_to_the_images_of_both_tasks_adds_up_to_the_lead_over_the_best_rival():
    generator = np.random.default_rng(0)
    right = {name: (generator.random(13) < share, generator.random(20) < share) for name, share in
             (("nss", 0.8), ("replay5", 0.3), ("replay10", 0.6))}  # fmt: skip
    rows = pd.DataFrame({
        name: {"a": a.mean(), "b": b.mean(), "a_told": a.mean(), "b_told": 1.0}
        | {f"{task}_right": answers.packed(torch.from_numpy(each)) for task, each in (("a", a), ("b", b))}
        for name, (a, b) in right.items()
    }).T.infer_objects()  # fmt: skip
    numeric = rows[["a", "b", "a_told", "b_told"]].astype(float)
    rows[numeric.columns] = numeric
    lead, (images,) = maintenance._apart(rows, "ab", "nss", ["replay5", "replay10", "deeparc"])
    assert lead == pytest.approx(images.mean()) and len(images) == 33
    means = numeric[["a", "b"]].mean(axis=1)
    assert lead == pytest.approx(means["nss"] - means[["replay5", "replay10"]].max())
    assert maintenance._apart(rows, "a", "nss", ["replay5"], "_told")[1] == []  # not kept for each image
    none = rows.assign(b=0.0, b_right=answers.packed(torch.zeros(20, dtype=torch.bool)))
    assert not maintenance._apart(none, "b", "nss", ["replay5"])[1][0].any()


def test_the_paper_s_averages_are_of_its_cells_where_one_is_a_slip():
    assert maintenance._average6("mlp-fmnist", "replay10") == pytest.approx(0.8555)


@given(values, st.lists(st.floats(-1, 1), min_size=2, max_size=9))
def test_images_can_only_widen_an_interval(measured, change):
    images = [np.array(change)] * len(measured)
    assert rules.over_networks(measured, images).half >= rules.over_networks(measured).half


def test_the_mean_over_settings_takes_the_settings_as_given():
    same = rules.over_settings({"a": [0.1, 0.1, 0.1], "b": [0.5, 0.5, 0.5]})
    assert (same.mean, same.half, same.networks) == (pytest.approx(0.3), pytest.approx(0), 3)
    assert math.isinf(rules.over_settings({"a": [0.1, 0.1, 0.1], "b": [0.5]}).half)


def test_the_interval_of_a_mean_over_settings_is_of_independent_draws():
    values = {"a": [0.1, 0.2, 0.6], "b": [0.5, 0.5, 0.8]}
    halves = [rules.over_networks(each).half for each in values.values()]
    found = rules.over_settings(values)
    assert (found.mean, found.half) == (pytest.approx(0.45), pytest.approx(math.hypot(*halves) / 2))


def test_settings_of_few_networks_are_told_by_their_spread():
    few = rules.over_settings({"a": [0.1], "b": [0.2, 0.4], "c": [0.5]})
    assert (few.mean, few.networks) == (pytest.approx(0.3), 1)
    assert few.half == pytest.approx(4.302653 * 0.2 / 3**0.5, rel=1e-5)  # Student's t, two degrees of freedom


@hypothesis_settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), apart=st.sampled_from([0.0, 0.5, 5.0]))
def test_the_spread_of_settings_is_no_narrower_than_need_be(seed, apart):
    """95% intervals from one network a setting hold the mean of the given settings at least that often."""
    draw = np.random.default_rng(seed)
    true, noise = apart * draw.normal(size=6), draw.uniform(0.5, 2, size=6)
    held = 0
    for _ in range(400):
        found = rules.over_settings({str(i): [true[i] + noise[i] * draw.normal()] for i in range(6)})
        held += abs(found.mean - true.mean()) <= found.half
    assert held / 400 > 0.95 - 3 * (0.95 * 0.05 / 400) ** 0.5


@pytest.mark.parametrize(
    ("told", "verdict", "tendency"),
    [
        ([1, 1, 1, 0], rules.REPRODUCED, 1),
        ([1, 0], rules.REPRODUCED, 1),  # half of them
        ([1, 0, 0, 0], rules.DIRECTION, 1),
        ([1, 1, 1, -1], rules.DIRECTION, 1),
        ([1, -1], rules.CONTRADICTED, -1),
        ([2, 2, -1, 0, 0, 0, 0], rules.CONTRADICTED, -1),  # sure of the contrary alone, all looked at together
        ([2, -2], rules.UNTOLD, 0),  # each told by itself, neither with both looked at
        ([0, 0], rules.UNTOLD, 0),
        ([], rules.UNTESTABLE, 0),
    ],
)
def test_what_is_told_of_cases(told, verdict, tendency):
    case = {1: [0.1] * 3, 2: [0.05, 0.1, 0.12], -1: [-0.1] * 3, -2: [-0.05, -0.1, -0.12], 0: [0.1, -0.1, 0.0]}
    opinion = rules.compared([(case[sign], ()) for sign in told], "cases", networks=3)
    assert (opinion.verdict, opinion.tendency) == (verdict, tendency)
    assert bool(opinion.note) == (2 in map(abs, told) or not told)


def test_compared():
    unsure = [np.array([1.0, -1.0, 0.0])] * 3
    cases = [([0.1, 0.1, 0.1], ()), ([0.1, -0.1, 0.2], ()), ([0.01, 0.01, 0.01], unsure)]
    opinion = rules.compared(cases, "cases", networks=3)
    assert (opinion.verdict, opinion.ours) == (rules.DIRECTION, "1 of 3 cases, 2 ≈")


def test_why_more_cases_for_a_claim_than_against_can_contradict_it():
    cases = [([0.05, 0.1, 0.12], ())] * 2 + [([-0.1] * 3, ())] + [([0.1, -0.1, 0.0], ())] * 4
    opinion = rules.compared(cases, "cases", networks=3)
    assert (opinion.ours, opinion.note) == (
        "2 of 7 cases, 1 against, 4 ≈", "the contrary alone is told with all looked at together"
    )  # fmt: skip


def test_what_cannot_be_told_points_where_most_cases_do():
    """Not where most of those do that are told one by one."""
    one_by_one, level = [0.05, 0.1, 0.12], [-0.1, -0.3, 0.1]
    opinion = rules.compared([(one_by_one, ())] + [(level, ())] * 9, "cases", networks=3)
    assert (opinion.verdict, opinion.tendency) == (rules.UNTOLD, -1)
    assert opinion.note == "told one by one, not all together"


def test_few_networks_tell_of_no_case():
    opinion = rules.compared([([sign], ()) for sign in (1.0, 1.0, -1.0)], "cases", networks=1)
    assert (opinion.verdict, opinion.tendency, opinion.ours) == (rules.UNTOLD, 1, "2 of 3 cases point so")


@pytest.mark.parametrize("cases", [4, 20])
def test_of_many_cases_few_are_told_by_chance(cases):
    """Where there is nothing to tell, no more than one claim in twenty is told, however many cases it has."""
    draw = np.random.default_rng(0)
    opinions = [rules.compared([(draw.normal(size=5), ()) for _ in range(cases)], "cases", 5) for _ in range(1000)]
    one_by_one = np.mean([" against" in opinion.ours or not opinion.ours.startswith("0") for opinion in opinions])
    told = np.mean([opinion.verdict in rules.TOLD for opinion in opinions])
    assert told < 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5 < one_by_one


@pytest.mark.parametrize("value", [0.1, 0.4, 0.62])
def test_a_value_at_its_limit_is_within_it(value):
    """By what rounding leaves of an interval of none it could not be told, or could."""
    assert rules.at_most(rules.over_networks([value] * 3), value).verdict == rules.REPRODUCED
    assert rules.at_most(rules.over_networks([0.8] * 3), 0.7, tolerance=0.1).verdict == rules.REPRODUCED
    assert rules.at_least(rules.over_networks([value] * 3), value).verdict == rules.REPRODUCED


def test_no_effect_at_all_contradicts_a_number():
    none = rules.valued(rules.over_networks([0.0] * 3), 0.8797)
    assert (none.verdict, none.tendency) == (rules.CONTRADICTED, -1)
    assert rules.valued(rules.over_networks([0.0] * 2), 0.8797).verdict == rules.UNTOLD


def test_a_mean_over_settings_needs_them_all():
    opinion = rules.ahead(rules.over_networks([0.1] * 3))
    assert rules.of_all(opinion, 6, 6) == opinion
    some = rules.of_all(opinion, 2, 6)
    assert (some.verdict, some.tendency, some.note) == (rules.UNTOLD, 1, "2 of 6 settings are measured")


def test_always():
    assert rules.always([True] * 3, "so").verdict == rules.REPRODUCED
    assert rules.always([False] * 3, "so").verdict == rules.CONTRADICTED
    assert rules.always([True, True, False], "so").verdict == rules.UNTOLD
    assert rules.always([True, True], "so").verdict == rules.UNTOLD


def test_a_network_far_from_the_papers_gives_a_direction_at_best():
    good, bad = rules.ahead(rules.over_networks([0.1] * 3)), rules.ahead(rules.over_networks([-0.1] * 3))
    assert rules.guarded(good, -0.019) == good
    assert rules.guarded(good, -0.021).verdict == rules.DIRECTION
    assert rules.guarded(bad, 0.03).verdict == rules.UNTOLD
    assert "3.0 points more accurate" in rules.guarded(bad, 0.03).note
    assert rules.guarded(good, None) == good
    assert rules.guarded(good, math.inf).note == "another network than the paper's"


def test_an_opinion_says_what_it_would_be_otherwise_where_that_is_another():
    good, level = (rules.ahead(rules.over_networks(each)) for each in ([0.1] * 3, [0.0] * 3))
    half = rules.valued(rules.over_networks([0.1] * 3), 0.2)
    assert [rules.guarded(each, 0.1).otherwise for each in (good, half, level)] == [rules.REPRODUCED, "", ""]
    assert rules.of_all(rules.guarded(good, 0.1), 2, 6).otherwise == ""


def test_what_does_not_occur_is_neither_guarded_nor_told_of_all():
    nothing = rules.untestable("no unit is redundant")
    assert rules.guarded(nothing, 0.1) == rules.of_all(nothing, 2, 6) == nothing


def test_a_mark_has_an_arrow_where_it_cannot_be_told():
    assert [rules.mark(rules.UNTOLD, tendency) for tendency in (1, 0, -1)] == ["?↑", "?", "?↓"]
    assert [rules.mark(verdict, -1) for verdict in rules.TOLD] == ["✓", "∼", "✗"]
    one, two = (rules.ahead(rules.over_networks([0.1] * n)) for n in (1, 2))
    assert (one.note, two.note) == ("1 network", "2 networks")


def test_a_claim_is_worth_the_weakest_setting_in_which_it_can_be_told():
    assert rules.weakest([rules.REPRODUCED, rules.UNTOLD, rules.UNTESTABLE]) == rules.REPRODUCED
    assert rules.weakest([rules.REPRODUCED, rules.DIRECTION]) == rules.DIRECTION
    assert rules.weakest([rules.REPRODUCED, rules.CONTRADICTED, rules.UNTOLD]) == rules.CONTRADICTED
    assert rules.weakest([rules.UNTOLD, rules.UNTESTABLE]) == rules.UNTOLD
    assert rules.weakest([rules.UNTESTABLE]) == rules.UNTESTABLE


def test_a_gap_is_that_of_the_chapters_own_networks():
    def one(chapter, preset, accuracy):
        return result(chapter, {"base": [{"accuracy": accuracy}]}, 0, "alexnet-cifar10", preset)

    found = {
        "rq1_slicing": [one("rq1_slicing", "overnight", 0.89)],
        "rq3_readaptation": [one("rq3_readaptation", "quick", 0.80)],
        "rq4_incremental": [one("rq4_incremental", "quick", 0.95)],  # of half of the classes
    }
    evidence = Evidence(found, "alexnet-cifar10")
    assert evidence.base_gap("rq1_slicing") == pytest.approx(0.89 - 0.8952)
    assert evidence.base_gap("rq3_readaptation") == pytest.approx(0.80 - 0.8952)
    assert evidence.base_gap("rq4_incremental") == pytest.approx(0.80 - 0.8952)
    assert evidence.base_gap("rq2_restructuring") is None
    more = dataclasses.replace(one("rq3_readaptation", "quick", 0.99), setting="mlp-mnist")
    both = Evidence(found | {"rq3_readaptation": [*found["rq3_readaptation"], more]})
    assert both.base_gap("rq3_readaptation") == pytest.approx(0.80 - 0.8952)  # the largest, on either side
    same = found | {"rq1_slicing": [one("rq1_slicing", "quick", 0.85)]}
    gaps = [Evidence(same, "alexnet-cifar10").base_gap(chapter) for chapter in ("rq1_slicing", "rq3_readaptation")]
    assert gaps == pytest.approx([0.85 - 0.8952, 0.80 - 0.8952])


def test_the_papers_networks_are_known_by_its_table_4():
    assert printed_base("alexnet-cifar10") == pytest.approx(0.8952)
    assert printed_base("resnet101-cifar10") == pytest.approx(0.9566)
    assert printed_base("resnet110-cifar10", "deeparc") == pytest.approx(0.9372)
    assert math.isinf(printed_base("resnet14-cifar10", "deeparc"))  # which DeepArc's authors have not
    assert printed_base("resnet10-cifar10", "nnslicer_pruning") is None


# The ledger


def test_there_are_claims_of_every_part_and_peer(judged):
    whole = claims.overall(judged)
    assert len(whole) >= 60
    assert set(whole["chapter"]) == set(judging.STUDIES) - {
        "nnslicer",
        "nnslicer_rules",
        "sensitivity",
        "sensitivity_tasks",
        "sensitivity_pilots",
        "method",
        "explorer",
    }
    assert set(whole["source"]) == {"NeuSemSlice", "NNSlicer", "DeepArc", "this book"}
    assert set(judged["verdict"]) <= set(rules.VERDICTS)
    assert set(whole["id"]) == set(claims.claims())


def test_each_row_says_what_it_rests_on(judged):
    told = judged[judged["verdict"].isin(rules.TOLD)]
    few = told["networks"] < rules.ENOUGH
    assert (told[few]["setting"] == claims.JOINTLY).all()
    assert told[few]["note"].str.contains("by the spread of the settings").all()
    assert (told["ours"] != "").all() and (told["preset"] != "").all()
    untold = judged[~judged["verdict"].isin(rules.TOLD) & (judged["networks"] < rules.ENOUGH)]
    assert (untold["note"] != "").all()


def test_each_claim_is_decided_by_a_table_or_figure_of_its_chapter():
    for claim in claims.claims().values():
        notebook = (files.ROOT / "book" / f"{claim.chapter}.ipynb").read_text()
        assert f"_generated/{claim.shown}.md" in notebook, claim.id


def test_each_judge_says_what_it_measures():
    for claim in claims.claims().values():
        assert claims.measured(claim).endswith("."), claim.id


def test_deeparcs_claims_are_judged_at_each_depth():
    def depth(name, seed, cost, whole, blocks=54):
        ways = [(what, blocks) for what in ("removed", "added") for blocks in (1, 2)]
        edited = [{"what": what, "blocks": b, "accuracy": whole + seed / 1000 - cost * b} for what, b in ways]
        search = [{"size": 2, "draw": draw, "accuracy": whole - 0.1 + 0.099 * draw + seed / 1000} for draw in (0, 1)]
        repair = [{"method": "drop", "attack": a, "mix_before": 0.5, "mix": 0.9 + seed / 100} for a in ("fgsm", "pgd")]
        repair, base = [row | {"units": 5} for row in repair], [{"accuracy": whole + seed / 1000, "blocks": blocks}]
        return result("deeparc", {"base": base, "edited": edited, "search": search, "repair": repair}, seed, name)

    def verdicts(costs, whole=0.93):
        found = [depth(name, seed, costs[name], whole) for name in costs for seed in range(3)]
        rows = claims.ledger({"deeparc": found}, "deeparc").query("networks > 0")
        printed = rows["paper"].str.startswith("read as") | (rows["paper"] == "")
        assert (printed == (rows["setting"] != "resnet110-cifar10")).all()  # what is printed is of the deepest
        return {name: claims.rules.weakest(mine["verdict"]) for name, mine in rows.groupby("id")}

    mild = verdicts({"resnet110-cifar10": 0.002})
    assert mild == {f"D{i}": rules.REPRODUCED for i in range(3, 8)}
    assert verdicts({"resnet110-cifar10": 0.0045})["D4"] == rules.REPRODUCED  # more than it cost DeepArc
    # Another network than the authors' contradicts nothing, and gives a direction at best.
    other = verdicts({"resnet14-cifar10": 0.001})
    assert other == {f"D{i}": rules.DIRECTION for i in range(3, 8)}
    assert [verdicts({"resnet14-cifar10": 0.2})[f"D{i}"] for i in (3, 4, 5)] == [rules.UNTOLD] * 3
    harsh = verdicts({"resnet110-cifar10": 0.2})
    assert [harsh[f"D{i}"] for i in (3, 4, 5)] == [rules.CONTRADICTED] * 3 and harsh["D6"] == rules.REPRODUCED
    # So do networks far from the printed accuracy.
    poor = verdicts({"resnet110-cifar10": 0.2}, whole=0.7)
    assert [poor[f"D{i}"] for i in range(3, 8)] == [rules.UNTOLD] * 3 + [rules.DIRECTION] * 2
    # Five of six blocks are not few.
    found = [depth("resnet14-cifar10", seed, 0.001, 0.93, blocks=6) for seed in range(3)]
    rows = claims.ledger({"deeparc": found}, "deeparc").set_index(["id", "setting"])
    assert rows.loc[("D7", "resnet14-cifar10"), "verdict"] == rules.UNTESTABLE


def test_times_are_judged_against_the_papers_own_ratio(judged):
    """A sentence once said that DeepLIFT costs about as much as Taylor: on the MLPs alone."""
    rows = judged[judged["id"] == "S24"].set_index("setting")
    assert rows.loc["mlp-mnist", "verdict"] == rules.CONTRADICTED
    times = rows["ours"].str.split().str[0].astype(float)
    assert ((rows["tendency"] == 1) == (times > 1)).all()  # the paper's 4.98 says dearer: towards it is above 1


def changed(tmp_path, monkeypatch, chapter, change):
    """A copy of the published results, each of a chapter's on MLP-MNIST changed."""
    store = tmp_path / "published"
    shutil.copytree(results.PUBLISHED, store)
    for file in (store / chapter / "paper" / "mlp-mnist").iterdir():
        one = results.read(file)
        change(one.tables)
        results.save(one, store)
    monkeypatch.setattr(results, "PUBLISHED", store)


def test_a_changed_result_changes_verdict_list_and_summary(tmp_path, monkeypatch, here, published):
    def costly(tables):
        for row in tables["slices"]:
            row["accuracy"] -= 0.1

    claims.shown.claims_of(published, "rq2_restructuring", "before")
    changed(tmp_path, monkeypatch, "rq2_restructuring", costly)
    found = claims.published()
    claims.shown.claims_of(found, "rq2_restructuring", "after")
    before, after = (
        next(row for row in body(here, label) if row[0].startswith("**R2**")) for label in ("before", "after")
    )
    assert "✓ reproduced" in before[1] and "✓ MLP-MNIST" in before[2]
    assert "✗ contradicted" in after[1] and "✗ MLP-MNIST" in after[2]
    was, now = (claims.ledger(each, "rq2_restructuring") for each in (published, found))
    verdicts = [one.set_index(["id", "setting"])["verdict"]["R2", "mlp-mnist"] for one in (was, now)]
    assert verdicts == [rules.REPRODUCED, rules.CONTRADICTED]
    pictures = []
    for one in (was, now):
        claims.drawn.claims_figure(one, "summary")
        pictures.append([(here / "_generated" / f"summary.{suffix}").read_text() for suffix in ("md", "svg")])
    assert all(old != new for old, new in zip(*pictures, strict=True))


def test_the_ledger_can_be_searched_and_downloaded(judged, here):
    claims.shown.claims_ledger(judged, "l")
    page = (here / "_generated" / "l.md").read_text()
    assert page.count('<tr id="claim-') == len(claims.claims())
    assert 'href="rq2_restructuring.html#table-4"' in page
    entries = json.loads((here / "_generated" / "l.json").read_text())
    assert [entry["id"] for entry in entries] == list(claims.claims())
    mine = judged.groupby("id", sort=False)["setting"].agg(list)
    assert [[one["setting"] for one in entry["settings"]] for entry in entries] == mine.tolist()
    head, *rows = (here / "_generated" / "l.csv").read_text().splitlines()
    assert len(rows) > len(entries) and {"id", "setting", "verdict", "claim", "measured"} <= set(head.split(","))


def test_the_readmes_picture_has_every_claim():
    """It is drawn by `nss publish`; text stays text."""
    picture = (files.ROOT / "book" / "_static" / "claims.svg").read_text()
    assert [name for name in claims.claims() if f">{name}<" not in picture] == []


def test_an_answer_is_computed_from_the_ledger(tmp_path, monkeypatch, here):
    def costly(tables):
        for row in tables["slices"]:
            row["accuracy"] -= 0.1

    def box(label):
        claims.answers.answer(claims.published(), "rq2_restructuring", label)
        text = (here / "_generated" / f"{label}.md").read_text()
        return text[text.index("claim-R2") :]

    assert "✓ MLP-MNIST" in box("before")
    changed(tmp_path, monkeypatch, "rq2_restructuring", costly)
    assert "verdict-contradicted" in box("after") and "✗ MLP-MNIST" in box("after")


def test_every_chapter_has_a_question_and_its_claims_exist():
    toc = pages.chapters(files.ROOT / "book")
    assert list(claims.answers.questions()) == [name for name in claims.answers.questions() if name in toc]
    assert set(toc) - set(claims.answers.questions()) == {"claims"}
    for chapter, asked in claims.answers.questions().items():
        assert asked["question"].endswith("?")
        assert all(claims.get(name) for name in asked["claims"])
        notebook = (files.ROOT / "book" / f"{chapter}.ipynb").read_text()
        assert "answers.answer(" in notebook or chapter == "method"


def test_the_first_page_says_how_large_the_experiments_are(judged, here):
    claims.shown.claims_opening(judged, "o", "picture")
    text = (here / "_generated" / "o.md").read_text()
    assert re.search(r'scale-paper">paper, n = 5</span> MLP-MNIST', text)


def test_the_first_page_says_how_little_some_claims_rest_on(judged, here):
    """Those told on the MLPs alone, of more settings, and those that could not fail."""
    claims.shown.claims_opening(judged, "o", "picture")
    text = (here / "_generated" / "o.md").read_text()
    papers = [claim for claim in claims.claims().values() if claim.source == "NeuSemSlice"]
    told = {
        claim.id: {
            row.setting: row.verdict
            for row in judged[judged["id"] == claim.id].itertuples()
            if row.verdict in rules.TOLD
        }
        for claim in papers
    }
    small = [
        claim.id for claim in papers
        if told[claim.id] and set(told[claim.id]) <= {"mlp-mnist", "mlp-fmnist"} and len(claim.settings) > 2
    ]  # fmt: skip
    sure = [claim.id for claim in papers if claim.unfailing and told[claim.id]]
    assert len(small) > 5 and f"{len(small)} of these on the MLPs alone" in text
    assert {"R1", "A9"} <= set(sure) and f"{len(sure)} could hardly fail" in text
    of_paper = judged[judged["id"].isin({claim.id for claim in papers})]["otherwise"]
    asked = [int((of_paper == verdict).sum()) for verdict in (rules.REPRODUCED, rules.CONTRADICTED)]
    assert min(asked) > 0 and f"{asked[0]} times, of a claim and a setting, it would be a reproduction" in text
    assert f"{asked[1]} times a contradiction" in text
    whole = {name: rules.weakest(mine) for name, mine in judged.groupby("id")["verdict"]}
    ours = [whole.pop(claim.id) for claim in papers]
    words = ("✓ reproduced", "∼ hold in direction", "✗ contradicted", "? cannot be told", "– not testable here")
    counts = [f"**{ours.count(verdict)} {said}" for verdict, said in zip(rules.VERDICTS, words, strict=True)]
    assert [each for each in counts if each not in text] == []
    others = ", ".join(f"{list(whole.values()).count(each)} {rules.SYMBOLS[each]}" for each in rules.VERDICTS)
    assert f"Of the {len(whole)} claims of its peers and this book: {others}." in text
    assert f"of the paper's, {ours.count(rules.REPRODUCED)} reproduced.\n" in text
    partly = [claim for claim in papers if 0 < len(told[claim.id]) < (judged["id"] == claim.id).sum()]
    assert f"{len(partly)} can only in some of their settings" in text
    page = claims.shown.claims_ledger(judged, "l").data
    assert page.count("It can hardly fail: ") == sum(claim.unfailing != "" for claim in papers)


def test_an_answer_tells_each_setting_apart():
    def row(setting, verdict, tendency=0, ours="", note=""):
        return {"id": "R2", "setting": setting, "verdict": verdict, "tendency": tendency, "ours": ours, "note": note}

    rows = pd.DataFrame([
        row("mlp-mnist", rules.REPRODUCED, 1, "-1.00 points", "2 networks"), row("mlp-fmnist", rules.UNTOLD, 1),
        row("alexnet-cifar10", rules.UNTOLD, -1), row("vgg16-cifar10", rules.UNTOLD),
        row("resnet101-cifar10", rules.UNTESTABLE),
    ])  # fmt: skip
    assert claims.answers._settings(rows) == (
        '<span class="by-setting">✓ MLP-MNIST: −1.00 points (2 networks); ? not yet told: MLP-FMNIST ↑, '
        "AlexNet-CIFAR10 ↓, VGG16-CIFAR10; – not testable: ResNet101-CIFAR10.</span>"
    )
    assert claims.answers._verdict(rows) == (
        '<span class="verdict-badge verdict-reproduced">✓ reproduced</span> (told in 1 of 5 settings)'
    )
    assert claims.answers._badge(rules.UNTOLD, 3).endswith(">3 ? cannot be told</span>")
    assert claims.shown.told_in(next(claims.overall(rows[:1]).itertuples())) == ""
    assert claims.shown.told_in(next(claims.overall(rows[1:]).itertuples())) == ""


def test_a_line_of_the_ledger_has_ours_the_papers_and_why():
    one = {"setting": "mlp-mnist", "verdict": rules.UNTOLD, "tendency": 1, "ours": "1 point", "paper": "2 points"}
    lines = [claims.shown._line(row) for row in pd.DataFrame([one | {"note": "2 networks"}]).itertuples()]
    assert lines == ["?↑ MLP-MNIST: 1 point; paper 2 points; 2 networks"]
    places = [("NeuSemSlice", "5.2"), ("NeuSemSlice", "Abstract"), ("NNSlicer", "4.1")]
    cited = map(claims.shown._cited, pd.DataFrame(places, columns=["source", "section"]).itertuples())
    assert list(cited) == ["Section 5.2", "Abstract", "NNSlicer, Section 4.1"]


def test_a_setting_is_known_by_the_most_networks_of_a_claim_about_it_alone():
    rows = [("mlp-mnist", "paper", 2), ("mlp-mnist", "paper", 5), (claims.JOINTLY, "paper", 9), ("mlp-fmnist", "", 0)]
    judged = pd.DataFrame(rows, columns=["setting", "preset", "networks"])
    assert claims.shown._scales(judged) == f"{origins.badge('paper', 5)} MLP-MNIST"


def test_a_chapter_without_results_says_so(here):
    claims.answers.answer({}, "sensitivity_tasks", "s")
    assert "no result is published yet" in (here / "_generated" / "s.md").read_text()


def test_a_chapter_without_claims_is_answered_by_its_results(tmp_path, monkeypatch, here):
    def perfect(tables):
        for row in tables["detection"]:
            row["auc"] = float(row["features"] == "nnslicer")

    def box(found, chapter):
        claims.answers.answer(found, chapter, chapter)
        return (here / "_generated" / f"{chapter}.md").read_text()

    asked, found = claims.answers.questions().items(), claims.published()
    without = {name for name, each in asked if not each["claims"]}
    assert without == {*claims.beyond.SENTENCES, "method"}
    on_mlps = without - {"method", "nnslicer_rules", "sensitivity_pilots"}
    assert all("<li>MLP-" in box(found, chapter) for chapter in on_mlps)
    told = "MLP-MNIST (paper, n = 5): Adversarial images of 6 attacks, told by slices"
    assert f"{told}: 0 better, 6 worse than by feature maps" in box(found, "nnslicer")
    changed(tmp_path, monkeypatch, "nnslicer", perfect)
    assert f"{told}: 6 better, 0 worse than by feature maps" in box(claims.published(), "nnslicer")


def test_the_first_page_has_findings_and_a_card_for_each_chapter(here):
    found = claims.published()
    claims.answers.findings(found, "f")
    claims.answers.cards(found, "c")
    findings, cards = ((here / "_generated" / f"{label}.md").read_text() for label in "fc")
    assert findings.count("<li>") == len(claims.answers.FINDINGS) and findings.count("verdict-badge") >= 3
    assert cards.count('class="card-of"') == len(claims.answers.questions())


def test_counts_are_told_by_preset_and_setting(judged, here):
    claims.shown.claims_counts({"published": judged}, "c")
    rows = body(here, "c")
    assert sum(int(cell) for cell in rows[2][1:]) == len(claims.claims())
    assert rows[3][0].startswith("published, ")


# Bad input


def entry(**changes):
    whole = {
        "id": "X1", "source": "NeuSemSlice", "section": "5", "chapter": "rq2_restructuring", "shown": "table-4",
        "claim": "so it is", "settings": ["mlp-mnist"], "judge": "slice_takes_less",
    }  # fmt: skip
    return {key: value for key, value in (whole | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry(judge="slice_takes_les")], "claim X1: there is no judge 'slice_takes_les'. Did you mean"),
        ([entry(judge=None)], "claim X1: .*'judge'"),
        ([entry(judge="_stop")], "claim X1: there is no judge '_stop'"),
        ([entry(chapter="rq2_restructure")], "claim X1: unknown chapter 'rq2_restructure'. Did you mean"),
        ([entry(settings=["mlp"])], "claim X1: unknown settings mlp"),
        ([entry(), entry()], "claim X1: its id is given twice"),
        ([entry(colour="red")], "claim X1: .*'colour'"),
        ([entry(id=None)], "claim one without an id"),
    ],
)
def test_a_malformed_claim_is_named(tmp_path, monkeypatch, entries, message):
    file = tmp_path / "claims.yaml"
    file.write_text(yaml.safe_dump(entries))
    monkeypatch.setattr(judging, "CLAIMS", file)
    with pytest.raises(claims.ClaimError, match=message):
        judging.claims.__wrapped__()  # past its cache


def test_an_unknown_claim_is_named():
    with pytest.raises(claims.ClaimError, match=r"unknown claim 'R11'. Did you mean"):
        claims.get("R11")


@pytest.mark.parametrize("savings", [{}, {"savings": [{"a": 1}]}])
def test_a_judge_that_meets_missing_columns_says_so(savings):
    tables, chapter = {"base": [{"accuracy": 0.98}]} | savings, "rq2_restructuring"
    found = {chapter: [result(chapter, tables, seed, "mlp-mnist", "paper") for seed in range(3)]}
    claim = claims.get("R1")
    with pytest.raises(claims.ClaimError, match="claim R1: its judge slice_takes_less cannot judge mlp-mnist"):
        judging._opinion(claim, Evidence(found, "mlp-mnist"))


def test_a_number_that_is_not_there_is_named():
    claim = dataclasses.replace(claims.get("I17"), numbers=("rq4-speed-of-light",))
    with pytest.raises(claims.ClaimError, match=r"claim I17: text_numbers.csv has no 'rq4-speed-of-light'"):
        judging._opinion(claim, Evidence({}, "mlp-mnist"))


def test_what_is_not_measured_cannot_be_told():
    rows = claims.ledger({}, "rq1_slicing")
    assert set(rows["verdict"]) == {rules.UNTOLD, rules.UNTESTABLE}
    assert set(rows["note"][rows["verdict"] == rules.UNTOLD]) == {"what it speaks of is not measured"}
    assert (rows["networks"] == 0).all()
