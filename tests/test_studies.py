"""What the chapters measure, on the smallest network, and what must hold of it whatever the numbers."""

import pytest

from nssutils import data, settings, studies
from nssutils.companion import results

SETTING = settings.get("mlp-mnist", "smoke")


@pytest.fixture(scope="module")
def measured():
    """Each chapter's tables, by name."""
    loaded = data.load(SETTING)
    return {chapter: measure(SETTING, 0, loaded) for chapter, measure in studies.STUDIES.items()}


def by(rows: list[dict], *keys: str) -> dict:
    return {tuple(row[key] for key in keys) if len(keys) > 1 else row[keys[0]]: row for row in rows}


def test_every_chapter_measures_scalars_of_the_same_network(measured):
    origin = dict.fromkeys(results.PROVENANCE, "")
    for chapter, tables in measured.items():
        results.Result(chapter, "smoke", SETTING.name, 0, {}, origin, tables)  # refuses what is no finite scalar
    whole = {
        measured[chapter]["base"][0]["accuracy"] for chapter in ("rq1_slicing", "rq2_restructuring", "rq3_readaptation")
    }
    assert len(whole) == 1


def test_pruning_obeys_the_law_and_stops_where_it_says(measured):
    tables = measured["rq2_restructuring"]
    steps, weights = by(tables["steps"], "method", "step"), 784 * 64 + 64 * 32 + 32 * 10
    for row in tables["pruned"]:
        start = steps[row["method"], 0]["compression_rate"]
        law = 1 - (1 - start) * 0.9 ** row["iterations"]
        assert row["compression_rate"] == pytest.approx(law, abs=row["iterations"] / weights)
        assert steps[row["method"], row["iterations"]]["accuracy"] == row["accuracy"]
        assert (start > 0) == row["method"].startswith("nss+")
    furthest = {}
    for row in tables["pruned"]:
        pruner = row["method"].removeprefix("nss+")
        furthest[pruner] = max(furthest.get(pruner, 0), row["compression_rate"])
    for method in by(tables["steps"], "method"):
        reached = max(row["compression_rate"] for row in tables["steps"] if row["method"] == method)
        assert reached >= furthest[method.removeprefix("nss+")]


def test_an_extracted_network_has_the_share_that_the_slice_keeps(measured):
    tables = measured["rq2_restructuring"]
    savings = by(tables["savings"], "tolerance", "variant")
    for one in tables["slices"]:
        whole, small = (savings[one["tolerance"], variant]["parameters"] for variant in ("whole", "extracted"))
        assert small / whole == pytest.approx(1 - one["compression_rate"])


def test_what_repair_trains_is_what_is_counted(measured):
    tables = measured["rq3_readaptation"]
    rows = by(tables["repairs"], "attack", "method")
    for attack in ("fgsm", "pgd"):
        share = {method: rows[attack, method]["tpr"] for method in ("full", "deeparc", "nss", "nss+deeparc")}
        assert share["full"] == 1
        assert share["nss"] == pytest.approx(1 - tables["slices"][0]["compression_rate"])
        assert share["nss+deeparc"] <= min(share["nss"], share["deeparc"])
        tried = {
            row["lr"]: row["accuracy"] for row in tables["rates"] if (row["attack"], row["method"]) == (attack, "nss")
        }
        assert tried[rows[attack, "nss"]["lr"]] == max(tried.values())
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


def test_nnslicer_s_applications_compare_equals(measured):
    tables = measured["nnslicer"]
    assert {row["attack"] for row in tables["attacks"]} == {"fgsm", "pgd", "pgd-l2"}
    assert all(row["left"] < tables["base"][0]["accuracy"] for row in tables["attacks"])
    judged = by(tables["detection"], "features", "attack", "strength")
    assert len(judged) == 3 * sum(row["fooled"] > 0 for row in tables["attacks"])
    sizes: dict = {}
    for row in tables["pruning"]:
        sizes.setdefault((row["classes"], row["level"], row["at"]), {})[row["method"]] = row["compression_rate"]
    for (_, level, at), rates in sizes.items():
        assert set(rates) == {"semantic", "nnslicer", "magnitude"} - ({"semantic"} if level == "synapses" else set())
        # One layer's neurons count for the same, so equal numbers of each layer are equal sizes.
        assert max(rates.values()) == pytest.approx(min(rates.values()))
        if level == "synapses":
            assert rates["nnslicer"] == pytest.approx((1 - at) * (784 * 64 + 64 * 32) / 52_650, abs=1e-4)
    hidden = by(tables["protection"], "method", "hidden")
    assert len(hidden) == 16 and hidden["everything", 1.0]["before"] < 0.3
    assert hidden["random", 0.01]["before"] > hidden["everything", 1.0]["before"]


def test_rq1_s_nnslicer_curve_ends_at_the_whole_network(measured):
    points = [row for row in measured["rq1_slicing"]["points"] if row["method"] == "nnslicer"]
    assert [row["at"] for row in points] == [round(0.1 * i, 1) for i in range(1, 11)]
    assert points[-1]["compression_rate"] == 0
    assert points[-1]["accuracy"] == measured["rq1_slicing"]["base"][0]["accuracy"]
    assert points[0]["compression_rate"] > 0.85
