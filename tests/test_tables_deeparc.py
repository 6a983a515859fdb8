"""DeepArc's tables and figure on results made up for the test."""

import pytest
from written import body, result

from nssutils.companion import figures, fragments, tables


def arc_result(seed=0, setting="resnet110-cifar10", preset="paper", blocks=True):
    content = {
        "base": [{"accuracy": 0.94, "parameters": 1_730_714, "images": 10_000, "blocks": 54}],
        "similarities": [
            {"kind": kind, "block": block, "unit": unit, "cka": 0.9 + 0.01 * block + 0.001 * seed}
            for kind in ("biased", "debiased")
            for block, unit in ((2, "layer1.1"), (3, "layer2.0"), (4, "layer2.1"))
        ],
        "modularity": [
            {"blocks": 54, "n_classes": classes, "images": images, "accuracy": 0.94, "kind": kind, "threshold": at,
             "share": share}
            for classes, images in ((10, 48_000), (10, 12_000), (2, 9_600))
            for at in (0.95, 0.99)
            for kind, share in (("biased", 0.5), ("debiased", 0.25))
        ],
        "edited": [
            {"what": what, "blocks": count, "units": "layer3.11", "accuracy": 0.93 - 0.01 * count + 0.001 * seed,
             "parameters": 1_700_000}
            for what in ("removed", "added")
            for count in (1, 2)
        ],
        "search": [
            {"size": size, "draw": draw, "units": "", "held": held, "accuracy": 0.9 + accuracy + 0.001 * seed}
            for size in (1, 4)
            for draw, held, accuracy in ((1, 0.8, 0.03), (2, 0.9, 0.01), (3, 0.7, 0.02))
        ],
        "repair": [
            {"attack": attack, "method": method, "eps": 0.03, "left": 0.12, "repaired": 0.9, "mix_before": 0.56,
             "mix": 0.95, "clean": 0.92, "lr": 0.01, "units": units, "names": ""}
            for attack in ("fgsm", "pgd")
            for method, units in (("full", None), ("threshold", 20 + seed), ("drop", 5))
        ],
    }  # fmt: skip
    if not blocks:
        content |= {"edited": [], "search": []}
    return result("deeparc", content, seed, setting, preset)


def test_every_number_has_its_place(here):
    found = [arc_result(seed) for seed in range(3)]
    tables.deeparc_base(found, "b")
    assert body(here, "b")[2] == [
        "ResNet110-CIFAR10", "54", "1,730,714", "94.00 ± 0.00<br><small>paper 93.72</small>",
    ]  # fmt: skip
    tables.deeparc_modularity(found, "m")
    rows = body(here, "m")[2:]
    assert len(rows) == 6
    assert rows[0][1:] == ["10", "48,000", "94.00 ± 0.00", "0.95", "50.00 ± 0.00", "25.00 ± 0.00"]
    assert rows[-1][1:5] == ["2", "9,600", "94.00 ± 0.00", "0.99"]
    tables.deeparc_edited(found, "e")
    rows = body(here, "e")[2:]
    assert [row[1] for row in rows] == ["1 removed", "2 removed", "1 added", "2 added"]
    assert rows[0][2:] == ["1,700,000", "92.10 ± 0.25<br><small>paper 93.65</small>", "-1.90 ± 0.25"]
    assert [row[3].split("paper ")[1][:5] for row in rows] == ["93.65", "92.87", "93.71", "93.20"]
    tables.deeparc_search(found, "s")
    rows = body(here, "s")[2:]
    assert rows[0][1:] == [
        "1", "3", "92.10 ± 0.25", "93.10 ± 0.25<br><small>paper 93.72</small>", "91.10 ± 0.25",
    ]  # fmt: skip
    assert "paper 91.35" in rows[1][4]
    tables.deeparc_repair(found, "r")
    rows = {tuple(row[1:3]): row[3:] for row in body(here, "r")[2:]}
    assert len(rows) == 6
    assert rows["PGD", "everything"][0] == "all" and rows["PGD", "changed and not redundant"][0] == "21"
    drop = rows["FGSM", "largest falls, DeepArc's loss"]
    assert drop[0] == "5" and drop[3].startswith("56.00")
    assert "prints 56.00 before and 98.25 after" in (here / "_generated" / "r.md").read_text()


@pytest.mark.parametrize("setting, preset", [("resnet110-cifar10", "smoke"), ("resnet44-cifar10", "paper")])
def test_what_is_not_the_same_is_not_compared(here, setting, preset):
    found = [arc_result(setting=setting, preset=preset)]
    for draw in (tables.deeparc_base, tables.deeparc_edited, tables.deeparc_search, tables.deeparc_repair):
        draw(found, "t")
        assert "<small>" not in (here / "_generated/t.md").read_text()
        assert "Small print" not in (here / "_generated/t.md").read_text()


def test_printed_numbers_are_shares_of_the_public_code():
    assert fragments.peer_numbers("deeparc")["accuracy"] == 0.9372
    kept = fragments._read("deeparc_numbers.csv", index_col="id")
    assert list(kept) == ["value", "unit", "source"] and kept["value"].between(0, 1).all()
    assert set(kept["unit"]) == {"share"} and kept.index.is_unique and len(kept) == 11


def test_a_panel_a_network_with_both_kinds(here):
    found = [arc_result(seed, name) for name in ("resnet14-cifar10", "resnet44-cifar10") for seed in range(3)]
    drawn = figures.deeparc_similarities([*found, arc_result()], "f")
    titles = [(ax.get_title(loc="left").strip(), ax.texts[0].get_text()) for ax in drawn.axes[:3]]
    assert titles == [
        ("ResNet14-CIFAR10", "paper, n = 3"),
        ("ResNet44-CIFAR10", "paper, n = 3"),
        ("ResNet110-CIFAR10", "paper, n = 1"),
    ]
    assert [len(ax.containers) for ax in drawn.axes] == [2, 2, 2, 0]
    assert (
        ":alt: The median of debiased CKA over consecutive blocks: ResNet14-CIFAR10 0.93"
        in (here / "_generated/f.md").read_text()
    )


@pytest.mark.parametrize(
    "draw",
    [tables.deeparc_base, tables.deeparc_modularity, tables.deeparc_edited, tables.deeparc_search,
     tables.deeparc_repair, figures.deeparc_similarities],
)  # fmt: skip
def test_nothing_to_show_says_so(here, draw):
    draw([], "n")
    assert "No results here" in (here / "_generated/n.md").read_text()


def test_a_plain_network_has_no_blocks_to_remove(here):
    for draw in (tables.deeparc_edited, tables.deeparc_search):
        draw([arc_result(blocks=False)], "n")
        assert "No network here has a residual block" in (here / "_generated/n.md").read_text()
