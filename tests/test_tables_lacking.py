"""Settings that the paper lacks, alone and beside the paper's, and each of the paper's alone: every table and figure of
every chapter shows their results, and nothing that the paper did not print of them."""

import dataclasses
import inspect
import json
from functools import cache
from pathlib import Path

import pytest
from written import body

from nssutils import settings
from nssutils.companion import colours, figures, fragments, results, tables
from nssutils.companion.figures import touch
from nssutils.studies import STUDIES

pytestmark = pytest.mark.usefixtures("here")

OWN = "resnet18-cifar10"
# What draws each chapter's results, by its label. Others of a chapter's results are read by name in `beside`.
DRAWN = {
    "pilot_global": ("pilot_slopes", "falls", "table1", "furthest"),
    "pilot_categorywise": ("pilot_slopes", "pilot_classes", "falls", "table2", "table3", "furthest"),
    "rq1_slicing": (
        "fig5", "rq1_depth", "rq1_star", "rq1_leads", "rq1_sentences", "rq1_layers", "rq1_rates", "rq1_deeparc",
        "rq1_seconds", "rq1_base", "furthest",
    ),
    "rq2_restructuring": (
        "rq2_curves", "rq2_summary", "rq2_matched", "table4", "rq2_taus", "slices", "rq2_savings", "furthest",
    ),
    "rq3_readaptation": (
        "rq3_shares", "rq3_summary", "table5", "rq3_effort", "rq3_beyond", "rq3_attacks", "slices", "furthest",
    ),
    "rq4_incremental": ("rq4_tasks", "rq4_summary", "rq4_fairness", "table6", "rq4_costs", "slices", "furthest"),
    "method": ("method_figure",),
    "explorer": ("explorer",),
    "deeparc": (
        "deeparc_similarities", "deeparc_base", "deeparc_modularity", "deeparc_edited", "deeparc_search",
        "deeparc_repair",
    ),
    "nnslicer": ("nnslicer_base", "nnslicer_seconds", "nnslicer_detection"),
    "nnslicer_detection": ("nnslicer_table4", "nnslicer_readings", "nnslicer_trees"),
    "nnslicer_pruning": ("nnslicer_fig3", "nnslicer_pruned", "nnslicer_tuned"),
    "nnslicer_protection": ("nnslicer_protected",),
    "nnslicer_rules": ("nnslicer_rules",),
    "sensitivity": (
        "sensitivity_tornado", "sensitivity_leads", "sensitivity_effects", "sensitivity_distances",
        "sensitivity_combined",
    ),
    "sensitivity_pilots": ("sensitivity_pilots",),
    "sensitivity_tasks": ("sensitivity_eps", "sensitivity_mix"),
    "your_model": ("your_curves", "rq1_leads", "your_shrunk", "your_repaired", "your_extended"),
}  # fmt: skip
PROTOCOLS = ("nnslicer_detection", "nnslicer_pruning", "nnslicer_protection", "nnslicer_rules")
MORE = {"furthest": {"of": {}}, "method_figure": {"number": 1}}


@cache
def published(chapter):
    """A published network of each setting."""
    found = {one.setting: one for one in reversed(results.published(chapter))}
    return [found[name] for name in settings.KNOWN if name in found]


@cache
def lacked(chapter):
    """One of them as if it were of a setting that the paper lacks."""
    return dataclasses.replace(published(chapter)[0], setting=OWN)


def drawn(chapter, found):
    """Every table and figure of the results, a label each."""
    for name in DRAWN[chapter]:
        draw = getattr(figures, name, None) or getattr(tables, name)
        more = MORE.get(name, {})
        if name == "furthest":
            more = {"of": dict.fromkeys([path.name.partition(".")[0] for path in written("compared.json")], ".")}
        if "base" in inspect.signature(draw).parameters:
            more = {"base": beside(found, "rq3_readaptation" if name == "sensitivity_eps" else "rq4_incremental")}
        draw(found, name, **more)
        assert (fragments.FOLDER / f"{name}.md").exists()
    if "table6" in DRAWN[chapter]:
        tables.table6(found, "other", which="other")


def beside(found, chapter):
    return [one for one in [*published(chapter), lacked(chapter)] if one.setting in {each.setting for each in found}]


def written(kind):
    return sorted(fragments.FOLDER.glob(f"*.{kind}"))


def test_every_table_and_figure_is_drawn_here():
    names = {name: getattr(room, name) for room in (tables, figures) for name in room.__all__}
    drawing = {name for name, what in names.items() if callable(what) and "label" in inspect.signature(what).parameters}
    assert drawing == {name for names in DRAWN.values() for name in names}
    assert DRAWN.keys() == STUDIES.keys()


@pytest.fixture
def unrendered(monkeypatch):
    """Figures are drawn, but not made SVG, which takes most of their time."""
    monkeypatch.setattr(colours, "svg", lambda *_: "")
    monkeypatch.setattr(touch, "html", lambda *_: "")


@pytest.mark.parametrize("chapter", DRAWN)
def test_a_setting_that_the_paper_lacks_alone(chapter):
    drawn(chapter, [lacked(chapter)])
    for file in written("csv"):
        assert "nan" not in file.read_text(), file.name
    for file in written("compared.json"):  # the tables of NNSlicer's protocols do not look at the setting
        assert chapter in PROTOCOLS or json.loads(file.read_text()) == [], file.name


@pytest.mark.parametrize("chapter", DRAWN)
def test_such_a_setting_beside_the_papers(chapter, unrendered):
    drawn(chapter, [*[one for one in published(chapter) if one.setting != OWN], lacked(chapter)])


@pytest.mark.parametrize("chapter", DRAWN)
def test_each_of_the_papers_alone(chapter, unrendered):
    for one in published(chapter):
        drawn(chapter, [one])


def test_what_the_paper_chooses_is_chosen_without_the_settings_that_it_lacks():
    for chapter, choose in (("rq2_restructuring", tables.nearest_tau), ("sensitivity", first_reading)):
        assert choose([*published(chapter), lacked(chapter)]) == choose(published(chapter))


def first_reading(found):
    return tables.nearest_reading(found, published("sensitivity")[0].setting)


def test_where_the_paper_has_nothing_to_choose_by_the_default_is_told():
    found = [lacked("rq2_restructuring")]
    taus = {row["tau"] for row in found[0].tables["pruned"]}
    assert tables.nearest_tau(found) == max(taus) and len(taus) > 1
    tables.rq2_taus(found, "taus")
    assert f"{100 * max(taus):g} is taken." in fragment("taus") and "Taken is the largest" in fragment("taus")
    assert {cell for row in body(Path(), "taus")[2:] for cell in row[-2:]} == {"–"}
    tables.table4(found, "four")
    assert f"falls by more than {100 * max(taus):g} point" in fragment("four")
    assert "The limit is the largest that was measured." in fragment("four")
    found = [lacked("rq4_incremental")]
    assert {row["task_a"] for row in found[0].tables["methods"]} == {"first", "last"}
    assert tables.nearer(found, OWN) == "first"
    tables.table6(found, "six")
    assert "ResNet18-CIFAR10. Of these the half that was measured first is shown." in fragment("six")
    found = [lacked("sensitivity")]
    assert tables.named(tables.nearest_reading(found, OWN)) == "–"
    tables.sensitivity_distances(found, "distances")
    assert "Nearest the paper" not in fragment("distances")
    assert {row[-1] for row in body(Path(), "distances")[2:]} == {"–"}


def test_only_the_papers_settings_are_in_its_averages():
    found = [one for one in published("rq2_restructuring") if one.setting in settings.NAMES]
    tables.rq2_summary(found, "without")
    tables.rq2_summary([*found, lacked("rq2_restructuring")], "with")
    theirs = [[row[:3] + row[4:5] for row in body(Path(), label)] for label in ("without", "with")]
    assert theirs[0] == theirs[1]
    assert "The paper has no numbers for ResNet18-CIFAR10." in fragment("with")


def test_fig_5_has_a_panel_for_each_that_the_paper_lacks(unrendered):
    panels, curves = figures.draw_fig5([lacked("rq1_slicing")])
    assert len(panels.axes) == 9 and {one["setting"] for one in curves} == {OWN}  # two panels stay empty


def fragment(label):
    return (fragments.FOLDER / f"{label}.md").read_text()
