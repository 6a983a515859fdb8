"""NNSlicer's tables and figure on results made up for the test."""

import pandas as pd
import pytest
from written import body, result

from nssutils.companion import figures, tables
from nssutils.companion.tables import nnslicer as page


def sliced_result(seed=0, setting="mlp-mnist"):
    detection, attacks = [], []
    for attack in ("fgsm", "pgd", "pgd-l2"):
        for strength in ("weak", "strong"):
            attacks.append({"attack": attack, "strength": strength, "eps": 0.1, "left": 0.5, "fooled": 9})
            for kind, auc in (("nnslicer", 0.9), ("feature maps", 0.8 + 0.01 * seed), ("confidence", 0.95)):
                row = {"features": kind, "attack": attack, "strength": strength}
                detection.append(row | {"precision": 0.7, "recall": 0.6, "auc": auc})
    pruning = [
        {"classes": "1+2", "n_classes": k, "level": level, "method": method, "at": at, "compression_rate": 1 - at,
         "accuracy": accuracy - 0.1 * k}
        for k in (2, 3)
        for level in ("neurons", "synapses")
        for method, accuracy in (("semantic", 1.0), ("nnslicer", 0.8), ("magnitude", 0.8))
        if (level, method) != ("synapses", "semantic")
        for at in (0.5, 0.9)
    ]  # fmt: skip
    protection = [
        {"method": method, "hidden": hidden, "before": 0.1, "regained": regained}
        for hidden in (0.01, 0.2)
        for method, regained in (("nnslicer", 0.5), ("magnitude", 0.6), ("random", 0.9))
    ] + [{"method": "everything", "hidden": 1.0, "before": 0.1, "regained": 0.4}]
    content = {
        "base": [{"accuracy": 0.97, "parameters": 10}],
        "sizes": [{"what": "neurons", "share": 0.2}, {"what": "synapses", "share": 0.01}],
        "seconds": [{"what": "profile", "seconds": 1.0}, {"what": "slice of one image", "seconds": 0.012}],
        "attacks": attacks,
        "detection": detection,
        "whole": [{"classes": "1+2", "n_classes": 2, "accuracy": 0.99}],
        "pruning": pruning,
        "protection": protection,
    }
    return result("nnslicer", content, seed, setting)


def test_every_number_has_its_place(here):
    found = [sliced_result(seed) for seed in range(3)]
    tables.nnslicer_base(found, "b")
    assert body(here, "b")[2] == ["MLP-MNIST", "97.00 ± 0.00", "20.00 ± 0.00", "1.00 ± 0.00", "12.0"]
    tables.nnslicer_detection(found, "d")
    rows = body(here, "d")
    assert rows[2] == ["MLP-MNIST", "FGSM, weak", "50.00 ± 0.00", "90.00 ± 0.00", "81.00 ± 2.48", "95.00 ± 0.00"]
    assert rows[7][1] == "PGD (L2), unseen, strong"
    tables.nnslicer_detection(found, "r", measure="recall")
    assert set(body(here, "r")[2][3:]) == {"60.00 ± 0.00"}
    tables.nnslicer_pruning(found, "p")
    rows = body(here, "p")
    assert rows[2][1:] == ["neurons, theta 0.5", "50.00 ± 0.00", "55.00 ± 0.00", "75.00 ± 0.00", "55.00 ± 0.00"]
    assert rows[4][1:] == ["synapses, kept 0.5", "50.00 ± 0.00", "55.00 ± 0.00", "–", "55.00 ± 0.00"]
    tables.nnslicer_protection(found, "s")
    rows = body(here, "s")
    assert rows[2][1:] == ["1%", *["10.00 ± 0.00"] * 3, "50.00 ± 0.00", "60.00 ± 0.00", "90.00 ± 0.00"]
    assert rows[4][1:] == ["everything", "", "", "", "40.00 ± 0.00", "", ""]


def test_claims_are_judged_seed_by_seed(here):
    tables.nnslicer_claims([sliced_result(seed) for seed in range(3)], "c")
    rows = {tuple(row[1:3]): row[3:] for row in body(here, "c")[2:]}
    assert rows["detection, known attacks", "feature maps"] == ["9.00 ± 2.48", "better"]
    assert rows["detection, unseen attack", "confidence"] == ["-5.00 ± 0.00", "worse"]
    assert rows["pruning of neurons", "semantic slicing"] == ["-20.00 ± 0.00", "worse"]
    assert rows["pruning of neurons", "magnitude"] == ["0.00 ± 0.00", "level"]
    assert rows["protection", "magnitude"] == ["10.00 ± 0.00", "better"]  # less is regained
    assert len(rows) == 9


def test_two_seeds_only_hint():
    assert page.verdict(pd.Series([0.1, 0.2])) == "better?"
    assert page.verdict(pd.Series([-0.1])) == "worse?"
    assert page.verdict(pd.Series([-0.1, 0.1, 0.05])) == "level"


def test_an_attack_that_fooled_nothing_leaves_a_dash(here):
    one = sliced_result()
    kept = [row for row in one.tables["detection"] if row["attack"] != "pgd-l2"]
    one = result("nnslicer", one.tables | {"detection": kept}, 0, "mlp-mnist")
    tables.nnslicer_detection([one], "d")
    assert body(here, "d")[6][3:] == ["–", "–", "–"]
    tables.nnslicer_claims([one], "c")
    assert "unseen" not in (here / "_generated" / "c.md").read_text().split("\n\n", 1)[1]


def test_three_panels_a_setting(here):
    drawn = figures.nnslicer_curves(
        [sliced_result(seed, name) for name in ("mlp-mnist", "vgg16-cifar10") for seed in (0, 1)], "f"
    )
    assert [ax.get_title() for ax in drawn.axes] == ["neurons pruned", "synapses pruned", "weights hidden"] * 2
    assert [len(ax.containers) for ax in drawn.axes[:3]] == [3, 2, 3]


@pytest.mark.parametrize(
    "draw",
    [tables.nnslicer_base, tables.nnslicer_detection, tables.nnslicer_pruning, tables.nnslicer_protection,
     tables.nnslicer_claims, figures.nnslicer_curves],
)  # fmt: skip
def test_nothing_to_show_says_so(here, draw):
    draw([], "n")
    assert "No results to show" in (here / "_generated" / "n.md").read_text()
