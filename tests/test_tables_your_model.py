"""The chapter on a network of one's own: its figure and tables by hand-made results, and its claim."""

import pytest
from written import result

from nssutils.companion import claims, figures, tables
from nssutils.companion.claims import rules


def own_result(seed=0, name="vit-cifar10", lead=0.1):
    """Semantic selection is `lead` ahead of both others, along straight lines from the whole network down."""
    base = {"accuracy": 0.9, "parameters": 1000, "images": 100}
    points = [
        {"method": method, "metric": metric, "at": at, "compression_rate": 1 - at,
         "accuracy": (0.8 if method == "semantic" else 0.8 - lead) * at}
        for method in ("semantic", "global", "category-wise") for metric in ("deeplift", "taylor")
        for at in (0.1, 0.5, 1.0)
    ]  # fmt: skip
    small = {"parameters": 1000, "parameters_left": 400, "operations": 10_000, "operations_left": 5_000}
    repaired = [
        {"way": way, "eps": 0.1, "trained": share, "accuracy": 0.9, "attacked": robust}
        for way, share, robust in (("before", 0.0, 0.45), ("all", 1.0, 0.7), ("critical", 0.4, 0.65))
    ]
    extended = [
        {"way": way, "trained": share, "old": 0.1, "old_told": told, "new": 0.8}
        for way, share, told in (("all", 1.0, 0.5), ("outside", 0.6, 0.85))
    ]
    shrunk = [{"metric": "deeplift", "theta": 0.95, "accuracy": 0.9, "accuracy_left": 0.85} | small]
    made = {"base": [base], "points": points, "shrunk": shrunk, "repaired": repaired, "extended": extended}
    return result("your_model", made, seed, name, "quick")


@pytest.fixture
def found():
    return [own_result(seed, name) for name in ("resnet18-cifar10", "vit-cifar10") for seed in range(3)]


def test_a_panel_a_network_with_two_metrics(here, found):
    drawn = figures.your_curves(found, "f")
    assert [len(ax.get_lines()) > 6 for ax in drawn.axes] == [True, True]
    fragment = (here / "_generated" / "f.md").read_text()
    assert "ahead on average in 2 of 2 settings" in fragment
    figures.your_curves(found[:1], "one")
    figures.your_curves([], "none")
    assert "No results" in (here / "_generated" / "none.md").read_text()


def test_what_is_left_repaired_and_extended_is_told(here, found):
    text = {}
    for name in ("your_shrunk", "your_repaired", "your_extended"):
        getattr(tables, name)(found, name)
        text[name] = (here / "_generated" / f"{name}.csv").read_text()
    assert text["your_shrunk"].count("40.00 ± 0.00") == 2
    assert text["your_repaired"].count("those that connect critical neurons") == 2
    assert "65.00" in text["your_repaired"] and "85.00" in text["your_extended"]
    tables.rq1_leads(found, "leads", metrics=("deeplift", "taylor"))
    assert "+" in (here / "_generated" / "leads.csv").read_text()


@pytest.mark.parametrize(("lead", "verdict"), [(0.1, rules.REPRODUCED), (-0.1, rules.CONTRADICTED)])
def test_the_claim_is_judged_where_only_two_metrics_are_measured(lead, verdict):
    found = [own_result(seed, name, lead) for name in ("resnet18-cifar10", "vit-cifar10") for seed in range(3)]
    judged = claims.ledger({"your_model": found}, "your_model")
    assert set(judged["verdict"]) == {verdict}
