"""From results to tables and figures: the right number in the right cell, and where it is from."""

import importlib
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from written import body, result

from nssutils import NssError, contribution, files, settings
from nssutils.companion import chapters, colours, figures, fragments, older, origins, results, tables
from nssutils.companion.claims import beyond
from nssutils.companion.tables.common import right as right_of
from nssutils.companion.tables.pilot import counted_falls
from nssutils.companion.tables.rq1 import answers_at
from nssutils.studies import answers, common, pilot, rq1

pytestmark = pytest.mark.usefixtures("here")


def masking(seed, accuracy):
    """A pilot result whose accuracies are accuracy(metric's index, band's index)."""
    rows = [
        {"metric": metric, "band": pilot.band_name(*band), "accuracy": accuracy(m, b)}
        for m, metric in enumerate(contribution.METRICS)
        for b, band in enumerate(pilot.BANDS)
    ]
    return result("pilot_global", {"base": [{"accuracy": 0.9}], "masking": rows}, seed)


def slicing_result(seed=0, setting="alexnet-cifar10", base=0.8):
    """An RQ1 result whose semantic curve falls by half the compression rate, the others' by all of it."""
    points = []
    for metric in contribution.METRICS:
        for theta in common.THETAS:
            rate = 10 * (1 - theta) - 0.05
            point = {"at": theta, "compression_rate": rate, "accuracy": base - rate / 2}
            points.append({"method": "semantic", "metric": metric} | point)
        for share in rq1.SHARES:
            for method in ("global", "category-wise"):
                point = {"at": share, "compression_rate": 1 - share, "accuracy": max(0.0, base - (1 - share))}
                points.append({"method": method, "metric": metric} | point)
    removed = [{"threshold": t, "units": 1, "compression_rate": 0.3, "accuracy": 0.1} for t in (0.99, 0.95)]
    content = {
        "base": [{"accuracy": base, "parameters": 1234567}],
        "points": points,
        "layers": [],
        "deeparc": [{"unit": "b", "similarity": 0.5}, {"unit": "c", "similarity": 0.875}],
        "removed": removed,
        "seconds": [{"metric": m, "seconds": 2.0 * (i + 1)} for i, m in enumerate(contribution.METRICS)],
    }
    return result("rq1_slicing", content, seed, setting)


def test_table1_has_mean_interval_and_the_papers_value(here):
    found = [masking(seed, lambda m, b, seed=seed: 0.5 + 0.01 * seed + 0.1 * b - 0.02 * m) for seed in range(3)]
    tables.table1(found, "t")
    rows = body(here, "t")
    assert rows[0] == ["masked", "Avg", "Var", "Ens", "DeepLIFT", "Taylor"]
    assert rows[2] == ["nothing"] + ["90.00 ± 0.00"] * 5
    # Three seeds one point apart: t(0.975, 2) / sqrt(3) = 2.484.
    assert rows[3][:3] == [
        "0% → 10%",
        "51.00 ± 2.48<br><small>paper 42.85</small>",
        "49.00 ± 2.48<br><small>paper 46.78</small>",
    ]
    assert rows[7][0] == "40% → 50%" and rows[7][5].startswith("83.00 ± 2.48")


def test_falls_are_counted_by_metric_and_seed(here):
    falling = masking(0, lambda m, b: 0.5 - 0.1 * b if m == 0 else 0.1 * b)
    zigzag = masking(1, lambda m, b: 0.5 + 0.1 * (b % 2))
    tables.falls([falling, zigzag], "t")
    rows = {row[0]: row for row in body(here, "t")}
    assert rows["Avg"][1:4] == ["4", "2", "4 (4), 2 (2)"]  # the paper's Avg column falls twice
    assert rows["Taylor"][1:4] == ["4", "0", "0 (0), 2 (2)"]


def test_a_fall_within_the_sampling_error_of_the_test_images_is_none(here):
    """Of 100 images one less is recognised by the next band: a fall, but none that can be told; of ten less it can."""

    def answered(lost):
        base, rows = torch.ones(100, dtype=torch.bool), []
        for metric in contribution.METRICS:
            for b, band in enumerate(("0-10", "10-20", "20-30", "30-40", "40-50")):
                right = base.clone()
                right[: lost * b] = False
                accuracy = right.double().mean().item()
                rows.append(
                    {"metric": metric, "band": band, "accuracy": accuracy, "right": answers.packed(right, base)}
                )
        whole = [{"accuracy": 1.0, "images": 100, "right": answers.packed(base)}]
        return result("pilot_global", {"base": whole, "masking": rows})

    for lost, expected in ((1, "0 (4)"), (10, "4 (4)")):
        tables.falls([answered(lost)], "t")
        assert {row[0]: row for row in body(here, "t")}["Var"][3] == expected


def test_which_images_a_class_loses_is_read_off_its_own_base():
    """Of 12 images 3 less: 25 points, beyond 1.96 sqrt(0.25 - 0.25^2) / sqrt(12) = 24.5. The whole network recognises
    none of class 1's last four, so that by class 0's base two of the three would be gained, and 25 < 27.9."""
    bases = {0: torch.ones(6, dtype=torch.bool), 1: torch.tensor([True, True, False, False, False, False])}
    uppers = {0: bases[0], 1: torch.tensor([False, False, True, True, False, False])}
    lowers = {0: torch.arange(6) > 0, 1: torch.zeros(6, dtype=torch.bool)}

    def row(c, right, base=None):
        return {"category": c, "accuracy": right.double().mean().item(), "right": answers.packed(right, base)}

    masking = [
        {"metric": "var", "band": band} | row(c, right[c], bases[c])
        for band, right in (("0-10", uppers), ("10-20", lowers)) for c in bases
    ]  # fmt: skip
    base = [{"images": 6} | row(c, right) for c, right in bases.items()]
    one = result("pilot_categorywise", {"base": base, "masking": masking})
    assert counted_falls(one, "var") == (1, 1)


def test_the_papers_falls_stand_beside_its_own_network_only(here):
    found = [
        result("pilot_global", masking(0, lambda m, b: 0.5).tables, setting=name)
        for name in ("mlp-mnist", "vgg16-cifar10")
    ]
    tables.falls(found, "t")
    assert [(row[0], *row[3:5]) for row in body(here, "t") if row[1] == "Avg"] == [
        ("MLP-MNIST", "–", "0 (0)"),
        ("VGG16-CIFAR10", "2", "0 (0)"),
    ]


def test_table3_shows_the_four_categories(here):
    rows = [
        {"metric": "deeplift", "band": pilot.band_name(*band), "category": c, "accuracy": c / 100}
        for band in pilot.BANDS
        for c in range(1, 11)
    ]
    tables.table3([result("pilot_categorywise", {"base": [{"accuracy": 0.9}], "masking": rows})], "t")
    assert body(here, "t")[2] == [
        "0% → 10%",
        "1.00<br><small>paper 0.00</small>",
        "4.00<br><small>paper 3.00</small>",
        "7.00<br><small>paper 0.00</small>",
        "10.00<br><small>paper 0.00</small>",
    ]
    assert body(here, "t")[4][2] == "4.00<br><small>paper 80.40†</small>"
    assert "†: [a slip of the paper's](claims)." in (here / "_generated" / "t.md").read_text()


def test_accuracy_between_two_points_is_interpolated_and_never_extrapolated():
    points = pd.DataFrame({"compression_rate": [0.6, 0.2], "accuracy": [0.5, 0.9]})
    assert tables.at_rate(points, 0.3) == pytest.approx(0.8)
    assert tables.at_rate(points, 0.6) == pytest.approx(0.5)
    assert np.isnan(tables.at_rate(points, 0.1)) and np.isnan(tables.at_rate(points, 0.61))
    apart = pd.DataFrame({"compression_rate": [0.0, 0.1, 0.7], "accuracy": [0.9, 0.9, 0.9]})
    assert tables.at_rate(apart, 0.05) == 0.9 and np.isnan(tables.at_rate(apart, 0.3))  # nothing measured near it
    assert tables.at_rate(apart, 0.1) == 0.9 and np.isnan(tables.at_rate(apart, 0.69))
    edge = pd.DataFrame({"compression_rate": [0.25, 0.75], "accuracy": [0.9, 0.5]})
    assert tables.at_rate(edge, 0.5) == pytest.approx(0.7)  # as far apart as two points may be
    assert (tables.at_rate(edge, 0.25), tables.at_rate(edge, 0.75)) == (0.9, 0.5)


def test_answers_are_kept_relative_to_the_whole_networks():
    base, right = torch.tensor([True, False, True]), torch.tensor([False, False, True])
    whole, one = answers.row(base) | {"images": 3}, slicing_result()
    assert right_of(one, whole).tolist() == [1, 0, 1]
    assert right_of(one, answers.row(right, base), whole).tolist() == [0, 0, 1]
    assert right_of(one, {"accuracy": 0.5}, whole) is None  # of an older result


def test_rates_compare_the_three_methods(here):
    tables.rq1_rates([slicing_result()], "t")
    rows = body(here, "t")
    assert rows[0] == ["setting", "selection", *(f"{rate}0%" for rate in range(1, 9))]
    assert rows[2] == ["AlexNet-CIFAR10", "semantic", *(f"{80 - 5 * rate}.0" for rate in range(1, 9))]
    assert rows[3][2:] == [f"{80 - 10 * rate}.0" for rate in range(1, 9)]
    short = slicing_result(1)
    short.tables["points"] = [row for row in short.tables["points"] if row["compression_rate"] < 0.7]
    tables.rq1_rates([slicing_result(), short], "t")
    assert body(here, "t")[2][-3:] == ["50.0", "–", "–"]


def test_a_lead_within_the_sampling_error_of_the_test_images_is_none(here):
    """Of 100 images global selection recognises 40 less: the interval is 9.6 points."""
    found, whole = [slicing_result(seed) for seed in range(3)], torch.ones(100, dtype=torch.bool)
    for one in found:
        one.tables["base"][0] |= {"images": 100, "right": answers.packed(whole)}
        for row in one.tables["points"]:
            row["right"] = answers.packed(torch.arange(100) >= (10 if row["method"] == "semantic" else 50), whole)
    tables.rq1_leads(found, "t")
    assert body(here, "t")[2][2:5] == ["≈+5.0", "+10", "+15"]
    none, every = ({"compression_rate": rate, "right": answers.packed(whole == rate, whole)} for rate in (0, 1))
    assert answers_at(found[0], [every, none], 0.25).tolist() == [0.25] * 100


def test_a_lead_is_one_only_where_networks_and_images_say_so(here):
    def leads(*found):
        tables.rq1_leads(list(found), "t")
        rows = body(here, "t")
        assert rows[2][:2] == ["AlexNet-CIFAR10", "Avg"] and len(rows) == 2 + 5
        return rows[2][2:]

    assert leads(slicing_result()) == ["≈+5.0", *(f"≈+{5 * rate}" for rate in range(2, 9))]  # one network
    assert leads(*(slicing_result(seed) for seed in range(3)))[1] == "+10"
    worse = slicing_result(3)
    for row in worse.tables["points"]:
        row["accuracy"] -= 0.5 * (row["method"] == "semantic")
    assert leads(*(slicing_result(seed) for seed in range(2)), worse)[1] == "≈-6.7"  # networks disagree
    short = slicing_result(4)
    short.tables["points"] = [row for row in short.tables["points"] if row["at"] not in (0.9, 0.91)]
    assert leads(slicing_result(), short)[-1] == "–"


def test_nnslicer_s_curve_comes_from_its_own_chapter_at_the_same_preset():
    curve = [{"method": "nnslicer", "at": at, "compression_rate": 1 - at, "accuracy": at} for at in (0.2, 0.8)]
    for preset, drawn in (("quick", True), ("paper", False)):
        own = result("nnslicer", {"base": [], "curve": curve}, setting="alexnet-cifar10", preset=preset)
        panels, _ = figures.draw_fig5([slicing_result()], nnslicer=[own])
        lines = panels.axes[2].lines
        assert any(line.get_marker() == "d" for line in lines) == drawn


def test_results_of_earlier_studies_are_shown_as_todays():
    one = {"method": "nnslicer", "metric": None, "at": 0.5, "compression_rate": 0.5, "accuracy": 0.5}
    points = [{"method": "global", "metric": "avg"}, one]
    shown = older.presented("rq1_slicing", {"points": points})
    assert shown == {"points": points[:1], "curve": [one]}
    assert older.presented("rq1_slicing", shown) == shown
    stop = {"method": "lamp", "iterations": 3, "compression_rate": 0.2, "accuracy": 0.9, "finetuned": 0.95}
    shown = older.presented("rq2_restructuring", {"pruned": [stop]})
    assert shown["pruned"][0]["tau"] == 0.01 and shown["finetuned"] == [{"method": "lamp", "accuracy": 0.95}]
    assert older.presented("rq2_restructuring", shown) == shown
    repair = {"method": "full", "ra": 0.9, "seconds": 2.0}
    assert older.presented("rq3_readaptation", {"repairs": [repair]})["times"] == [{"method": "full", "seconds": 2.0}]


def test_depth_is_read_from_the_first_layer_to_the_last(here):
    one = slicing_result()
    one.tables["layers"] = [
        {"metric": metric, "layer": str(i), "share": share}
        for metric in contribution.METRICS
        for i, share in enumerate((0.9, 0.5, 0.7, 0.1))
    ]
    tables.rq1_layers([one], "t")
    assert body(here, "t")[2] == ["AlexNet-CIFAR10", "Avg", "4", "90.00", "60.00", "10.00", "-0.80"]


def test_sentences_set_ours_beside_the_texts_numbers(here):
    tables.rq1_sentences([slicing_result()], "t")
    rows = {row[1]: row[2:] for row in body(here, "t")}
    assert rows["Taylor at 50%: points lost"] == ["0.38", "25.00"]
    assert rows["Taylor, global, at 50%: accuracy"] == ["23.24", "30.00"]
    assert not any("MLP" in row[0] for row in body(here, "t"))  # no result, no row
    better = slicing_result(setting="vgg16-cifar10")
    for row in better.tables["points"]:
        row["accuracy"] += 0.1 * ((row["method"], row["metric"]) == ("semantic", "deeplift"))
    tables.rq1_sentences([better], "t")
    rows = {row[1]: row[3] for row in body(here, "t")}
    assert rows["DeepLIFT at about 10%: points saved against global"] == "15.00"
    tables.rq1_sentences([slicing_result(setting="vgg19-imagenet10")], "t")
    (row,) = body(here, "t")[2:]
    assert row[1:] == ["Taylor at 24.67%: points lost", "2.54", "12.33"]


def test_deeparc_and_seconds(here):
    tables.rq1_deeparc([slicing_result()], "d")
    assert body(here, "d")[2] == [
        "AlexNet-CIFAR10", "0.99", "0.875<br><small>paper 0.95</small>", "1", "30.00", "10.00", "65.00",
    ]  # fmt: skip
    assert body(here, "d")[3][4:] == [
        "30.00<br><small>paper 87.97</small>", "10.00<br><small>paper 10.94</small>", "65.00",
    ]  # fmt: skip
    tables.rq1_seconds([slicing_result()], "s")
    assert body(here, "s")[2][1:5:3] == ["5.4 s (1.0×)", "30.9 s (5.7×)"]
    assert body(here, "s")[3][1:5:3] == ["2.00 s (1.0×)", "8.00 s (4.0×)"]


def test_deeparcs_star_beside_slices_of_its_size(here):
    def said():
        return (here / "_generated" / "s.md").read_text()

    figures.rq1_star([slicing_result()], "s")
    assert "in 2 of 2 cases: AlexNet-CIFAR10 (> 0.99) and AlexNet-CIFAR10 (> 0.95)." in said()
    one = slicing_result()
    for row, rate in zip(one.tables["removed"], (0.01, 0.99), strict=True):  # no slice is as large; none as small
        row["compression_rate"] = rate
    ax = figures.rq1_star([one], "s").axes[0]
    assert "in 1 of 1 cases: AlexNet-CIFAR10 (> 0.99)." in said()
    slices = [line for line in ax.lines if line.get_color() == colours.SEMANTIC]
    hollow = [line for line in slices if line.get_markerfacecolor() == "none"]
    assert len(slices) == 10 and len(hollow) == 5
    assert np.allclose([line.get_xdata()[0] for line in hollow], 77.5)  # at theta 0.99, which leaves out 5%
    tables.rq1_deeparc([one], "d")
    assert [row[-1] for row in body(here, "d")[2:]] == ["77.50 (smaller)", "–"]
    whole = slicing_result(1)
    for row in whole.tables["removed"]:
        row |= {"units": 0, "compression_rate": 0.0, "accuracy": 0.8}
    ax = figures.rq1_star([slicing_result(), whole], "s").axes[0]  # what no network has is not drawn
    assert "> 0.99 in 1 of 2: 30% left out" in ax.get_yticklabels()[0].get_text()
    assert [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "*"] == [10, 10]
    tables.rq1_deeparc([slicing_result(), whole], "d")
    assert body(here, "d")[2][3:] == ["1, 0", "30.00", "10.00", "65.00"]
    figures.fig5([slicing_result(), whole], "f")
    assert "that lose a unit, where some do (1 of 2 in AlexNet-CIFAR10)." in (here / "_generated" / "f.md").read_text()
    figures.rq1_star([whole], "s")
    assert "nothing to remove" in said()


def test_the_fold_says_where_results_are_from_and_warns_of_smoke(here):
    found = [slicing_result(seed) for seed in range(2)] + [slicing_result(setting="vgg16-cifar10")]
    fold = origins.fold(found, fragments.TITLES)
    summary = fold[fold.index("<summary>") : fold.index("</summary>")]
    assert re.sub("<[^>]+>", "", summary) == "quick, n = 2 AlexNet-CIFAR10; quick, n = 1 VGG16-CIFAR10"
    assert "<td>a device</td>" in fold and "<code>01234567</code>" in fold
    assert "`nss run rq1_slicing -p preset=quick -p setting=alexnet-cifar10,vgg16-cifar10`" in fold
    tasks = origins.fold([result("rq4_incremental", {"base": [{"accuracy": 0.9, "parameters": 1}]})], fragments.TITLES)
    assert "2,000" not in tasks  # an older result says not how many images a task has
    smoke = result("rq1_slicing", {"base": []}, preset="smoke")
    assert "no reproduction" in origins.fold([smoke], fragments.TITLES)


def test_the_fold_has_a_row_of_each_cell_with_all_that_its_results_say(here):
    def made(chapter, name, seed, preset="quick", content=None, **said):
        one = result(chapter, content or {"base": [{"images": 2_000}]}, seed, name, preset)
        return replace(one, provenance=one.provenance | said)

    on, code = "CPU (x86_64, 1 threads)", ("a" * 64, "b" * 64)
    classes = {"base": [{"category": c, "images": 10 + c} for c in range(3)]}
    found = [
        made("rq1_slicing", "mlp-mnist", 0, device=on, processor="a kind", code_sha256=code[1], data_sha256="d" * 64),
        made("rq1_slicing", "mlp-mnist", 1, device="a GPU", processor="a kind", code_sha256=code[0]),
        made("rq1_slicing", "mlp-mnist", 0, "smoke", device=on),
        made("pilot_categorywise", "vgg16-cifar10", 0, content=classes),
        made("rq4_incremental", "vgg16-cifar10", 0, content={"base": [{"a": 0.9}]}, setting={"test_size": 3_000}),
        made("rq2_restructuring", "vgg16-cifar10", 0, content={"base": [{"a": 0.9}]}, setting={"test_size": 3_000}),
    ]
    fold = origins.fold(found, fragments.TITLES, "a file", "A note.")
    rows = [re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall("<tr>(.*?)</tr>", fold)]
    data, tail = "<code>01234567</code>", ["<code></code>", "<code>01234567</code>"]
    assert rows == [
        ["setting", "preset", "networks", "test images", "measured on", "code", "data"],
        ["MLP-MNIST", "quick", "2", "2,000", "CPU (x86_64, 1 thread) a kind and a GPU",
         "<code>aaaaaaaa</code> <code>bbbbbbbb</code>", f"{data} <code>dddddddd</code>"],
        ["MLP-MNIST", "smoke", "1", "2,000", "CPU (x86_64, 1 thread) of a kind not recorded", *tail],
        ["VGG16-CIFAR10", "quick", "1", "33", "a device", *tail],  # of all classes
        ["VGG16-CIFAR10", "quick", "1", "–", "a device", *tail],  # those of one task
        ["VGG16-CIFAR10", "quick", "1", "3,000", "a device", *tail],
    ]  # fmt: skip
    assert fold.index("A note.") < fold.index("<table") and "The same as data: a file." in fold
    assert "no reproduction" in fold[: fold.index("</summary>")]  # of one cell at least
    assert "no reproduction" not in origins.fold(found[:2], fragments.TITLES)
    fragments.table(pd.DataFrame([{"a": 1}]), "t", "c", [], note="Alone.")
    assert "Alone." in (here / "_generated" / "t.md").read_text()
    commands = [f"`nss run {each}`" for each in (
        "rq1_slicing -p preset=quick -p setting=mlp-mnist", "rq1_slicing -p preset=smoke -p setting=mlp-mnist",
        "pilot_categorywise -p preset=quick -p setting=vgg16-cifar10",
        "rq4_incremental -p preset=quick -p setting=vgg16-cifar10",
        "rq2_restructuring -p preset=quick -p setting=vgg16-cifar10",
    )]  # fmt: skip
    assert f"Made anew by {', '.join(commands)}." in fold


def test_several_settings_are_kept_apart_and_only_the_papers_has_its_values(here):
    one = masking(0, lambda m, b: 0.5)
    other = results.Result(**{**vars(masking(0, lambda m, b: 0.7)), "setting": "mlp-mnist"})
    tables.table1([one, other], "t")
    rows = body(here, "t")
    assert rows[0][:2] == ["setting", "masked"] and len(rows) == 2 + 2 * 6
    assert rows[3] == ["MLP-MNIST", "0% → 10%"] + ["70.00"] * 5
    assert rows[9][:3] == ["VGG16-CIFAR10", "0% → 10%", "50.00<br><small>paper 42.85</small>"]
    tables.falls([one, other], "f")
    assert len(body(here, "f")) == 2 + 2 * 5


def test_a_metric_of_ones_own_is_shown_where_it_was_measured(here, monkeypatch):
    monkeypatch.setitem(fragments.METRIC_TITLES, "std", "Std")
    before = masking(0, lambda m, b: 0.5)
    tables.table1([before], "t")
    assert "Std" not in body(here, "t")[0]
    monkeypatch.setattr(contribution, "METRICS", (*contribution.METRICS, "std"))
    found = [masking(0, lambda m, b: 0.5)]
    tables.table1(found, "t")
    assert body(here, "t")[0][-1] == "Std" and body(here, "t")[3][-2:] == [
        "50.00<br><small>paper 41.29</small>",
        "50.00",
    ]
    tables.falls(found, "f")
    assert [row[-5] for row in body(here, "f")[1:]][-1] == "Std"
    tables.rq1_leads([slicing_result()], "l")
    assert "Std" in {row[1] for row in body(here, "l")[1:]}
    figures.pilot_slopes(found, "s")


def test_smoke_stands_alone(here):
    """Other data, other networks: the paper's values are not set beside smoke's."""
    smoke = masking(0, lambda m, b: 0.5)
    tables.table1([results.Result(**{**vars(smoke), "preset": "smoke"})], "t")
    assert body(here, "t")[3] == ["0% → 10%"] + ["50.00"] * 5


def test_a_caption_with_backticks_still_makes_a_table(here):
    """A fence of backticks would end in plain text on the page, without a warning."""
    fragments.table(pd.DataFrame({"a": [1]}), "t", "With `code`.", [slicing_result()])
    written = (here / "_generated" / "t.md").read_text()
    assert written.startswith("~~~{shown-table} _generated/t.html\n:name: t\n\nWith `code`.\n~~~\n")


def test_nothing_to_show_is_said(here):
    tables.table1([], "t")
    figures.fig5([], "f")
    for label in "tf":
        assert "No results here" in (here / "_generated" / f"{label}.md").read_text()
    assert ":class: once\n" in (here / "_generated" / "t.md").read_text()  # said once in a fold


def test_figure_is_written_with_caption_alt_text_and_reproducibly(here):
    found = [slicing_result(seed, name) for name in settings.NAMES[:3] for seed in range(3)]
    figures.fig5(found, "f")
    first = (here / "_generated" / "f.svg").read_bytes()
    text = (here / "_generated" / "f.md").read_text()
    assert "in 3 of 3 settings: MLP-MNIST, MLP-FMNIST and AlexNet-CIFAR10" in text and "quick, n = 3" in text
    figures.fig5(found, "f")
    assert (here / "_generated" / "f.svg").read_bytes() == first
    assert first.count(b"no result yet") == 3


def test_a_point_to_be_read_is_where_it_is_drawn(here):
    figures.fig5([slicing_result(seed, name) for name in settings.NAMES for seed in range(3)], "f")
    drawn = (here / "_generated" / "f.svg").read_text()
    told = re.search(r">(.*)</script>", (here / "_generated" / "f.touch.html").read_text(), re.DOTALL)
    told = json.loads(told[1])
    assert len(told["curves"]) == 6 * 3 * 3
    for curve in told["curves"]:
        parts = drawn.split(f'id="f-{curve["id"]}"')[1:]
        places = [
            m for part in parts for m in re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', part.split("<g id=")[0])
        ]
        marks = np.array(places, dtype=float)
        left, top, width, height = told["panels"][curve["setting"]]
        for x, y, *_ in curve["points"]:
            assert np.abs(marks - (x, y)).max(axis=1).min() < 0.1
            assert left < x < left + width and top < y < top + height


def test_figure_shows_the_three_best_metrics_or_all():
    found = [slicing_result()]
    for name, count in (("top3", 3), ("all", 5)):
        _, curves = figures.draw_fig5(found, name)
        assert len(curves) == 3 * count and len({curve["id"] for curve in curves}) == len(curves)
        assert {curve["setting"] for curve in curves} == {"alexnet-cifar10"}
    with pytest.raises(NssError, match="'top3' or 'all'"):
        figures.draw_fig5(found, "top4")


def test_the_cells_furthest_from_the_paper_are_told_with_what_is_known(here, monkeypatch):
    furthest = importlib.import_module("nssutils.companion.tables.furthest")
    found = [masking(0, lambda m, b: 0.9 if (m, b) == (1, 4) else 0.5 - 0.06 * b)]
    found = [results.Result(**{**vars(found[0]), "preset": "overnight"})]
    entry = {"table": "^t$", "column": "Var", "ours": "higher", "kind": "reading", "why": "It is not printed."}
    monkeypatch.setattr(furthest, "known", lambda: [entry | {"run": "nss run it"}])
    tables.table1(found, "t")
    tables.furthest(found, "f", of={"t": "."})
    rows = body(here, "f")[2:]
    assert len(rows) == 5
    assert rows[0] == ["VGG16-CIFAR10", "40% → 50%: Taylor", "26.00<br><small>paper 72.05</small>", "not explained (1)"]
    above = next(row for row in rows if row[1].endswith("Var"))
    assert above[1:] == ["40% → 50%: Var", "90.00<br><small>paper 49.47</small>", "what the paper leaves open (2)"]
    text = (here / "_generated" / "f.md").read_text()
    assert "1. *Not explained.* Nothing has been tried yet.\n" in text
    assert "1. *What the paper leaves open.* It is not printed. To look into it: `nss run it`.\n" in text
    entry["ours"] = "lower"  # what is said of the other side is not said of this one
    tables.furthest(found, "f", of={"t": "."})
    assert "not printed" not in (here / "_generated" / "f.md").read_text()
    tables.table1([masking(0, lambda m, b: 0.5)], "t")
    tables.furthest([masking(0, lambda m, b: 0.5)], "f", of={"t": "."})
    assert "No cell stands beside the paper's yet" in (here / "_generated" / "f.md").read_text()


def test_the_furthest_are_of_the_columns_asked_for_and_of_whole_networks(here, monkeypatch):
    furthest = importlib.import_module("nssutils.companion.tables.furthest")

    def cell(column, difference, **row):
        values = {"column": column, "ours": "9.00", "paper": "1.00", "told": True, "difference": difference}
        return {"row": row} | values

    cells = [
        cell("RA", 3.0, setting="MLP-MNIST", method="one"), cell("NI", 50.0, setting="MLP-MNIST", method="one"),
        cell("RA", -5.0, method="mean"), *(cell("RA", by, setting="VGG16-CIFAR10", method="one") for by in (9, 8, 7)),
    ]  # fmt: skip
    fragments.write("t.compared.json", json.dumps(cells))
    one = {"table": "t", "row": "one", "ours": "higher|lower", "kind": "reading", "why": "It is not printed."}
    monkeypatch.setattr(furthest, "known", lambda: [one])
    presets = {"mlp-mnist": "paper", "vgg16-cifar10": "quick"}
    found = [result("rq3_readaptation", {}, 0, setting, preset) for setting, preset in presets.items()]
    tables.furthest(found, "f", of={"t": "RA"})
    assert [[row[0], row[1], row[3]] for row in body(here, "f")[2:]] == [
        ["", "mean: RA", "not explained (1)"], ["MLP-MNIST", "one: RA", "what the paper leaves open (2)"]
    ]  # fmt: skip
    text = (here / "_generated" / "f.md").read_text()
    assert "Cells that rest on the thin networks of preset quick are left out (3)." in text
    assert "preset=paper" in text and "preset=quick" not in text


def test_a_difference_within_our_own_interval_is_chance():
    furthest = importlib.import_module("nssutils.companion.tables.furthest")
    cell = {"row": {"a": "b"}, "setting": "VGG16-CIFAR10", "column": "c", "ours": "9.00 ± 5.00", "difference": 4.0}
    assert furthest.explained("t", cell | {"told": False})["kind"] == "noise"
    for other in ({"told": True}, {"told": False, "ours": "9.00"}):
        assert furthest.explained("t", cell | other) == furthest.OPEN


def test_what_is_known_of_differences_can_be_read_and_run():
    furthest = importlib.import_module("nssutils.companion.tables.furthest")
    pages = "".join(path.read_text() for path in (files.ROOT / "book").glob("*.ipynb"))
    for one in furthest.known():
        assert one.keys() <= {"table", "setting", "row", "column", "ours", "kind", "why", "run"}
        assert one["kind"] in furthest.KINDS and set(one["ours"].split("|")) <= {"higher", "lower"}
        assert f'\\"{one["table"].strip("^$").replace("[123]", "1")}\\"' in pages
        if "run" in one:
            _, _, chapter, *given = one["run"].replace(" -p", "").split()
            chapters.check(given, chapters.parameters(chapters.find(chapter)))


def test_where_the_mask_acts_is_compared_with_the_papers_tables(here):
    def cells(place, shift):
        return [
            {"ranked": ranked, "masked": place, "metric": metric, "band": pilot.band_name(*band)}
            | {"accuracy": 0.5 + 0.1 * b + shift}
            for ranked in ("global", "category-wise")
            for metric in contribution.METRICS
            for b, band in enumerate(pilot.BANDS)
        ]

    both = cells("after the rectifier", 0) + cells("before batch normalisation", -0.3)
    content = {"base": [{"accuracy": 0.9}], "masking": both}
    found = [result("sensitivity_pilots", content, 0, "vgg16-cifar10", "overnight")]
    tables.sensitivity_pilots(found, "p")
    rows = body(here, "p")
    assert rows[2][:3] == ["global", "the paper", "41.5"] and rows[2][7] == "9 of 20"
    assert rows[3][:7] == ["global", "after the rectifier, this book", "50.0", "60.0", "70.0", "80.0", "90.0"]
    assert rows[3][7] == "0 of 20" and rows[4][1:3] == ["before batch normalisation", "20.0"]
    nearer = [[int(row[9].split()[0]) for row in rows[at : at + 2]] for at in (3, 6)]
    assert [sum(each) for each in nearer] == [25, 25] and nearer[1][1] > nearer[1][0]
    after, before = (sum(each) for each in zip(*nearer, strict=True))
    assert beyond.sensitivity_pilots({"sensitivity_pilots": found}, "vgg16-cifar10") == (
        f"50 cells of Tables 1 and 2, nearer to the paper's: {after} masked after the rectifier, {before} masked "
        "before batch normalisation."
    )
    for setting, preset in (("mlp-mnist", "overnight"), ("vgg16-cifar10", "smoke")):
        other = [result("sensitivity_pilots", content, 0, setting, preset)]
        assert beyond.sensitivity_pilots({"sensitivity_pilots": other}, setting).startswith("Nothing of the paper's")
