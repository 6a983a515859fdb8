"""The slice explorer's picture and overlaps, from letters whose slices are known."""

import json
import re
from dataclasses import replace

import pytest
from written import result

from nssutils.companion import figures
from nssutils.companion.figures.explorer import jaccard

SLICES = [
    {"theta": 0.9, "compression_rate": 0.5, "accuracy": 0.8},
    {"theta": 0.95, "compression_rate": 0.25, "accuracy": 0.9},
]
# Two classes, four neurons: at 0.90 they share none, at 0.95 one of three.
LETTERS = [("fc1", 0, "0---"), ("fc1", 1, "---0"), ("fc2", 0, "01--"), ("fc2", 1, "-10-")]


def explored(here, letters=LETTERS, **readings):
    entries = [{"layer": layer, "category": c, "entry": entry} for layer, c, entry in letters]
    tables = {"base": [{"accuracy": 0.98}], "slices": SLICES, "entries": entries}
    figures.explorer([replace(result("explorer", tables, 0, "mlp-mnist", "paper"), readings=readings)], "e")
    files = [here / "_generated" / f"e.{suffix}" for suffix in ("md", "svg", "touch.html")]
    return [file.read_text() for file in files if file.exists()]


def test_the_picture_has_each_neuron_where_its_class_needs_it(here):
    text, drawing, touch = explored(here)
    assert "Layer 2 of MLP-MNIST: the neurons that each class needs at theta 0.95." in text
    assert "a class needs 2 to 2 of 4 neurons. Two classes share 33% of theirs." in text
    # Columns: neuron 1 (needed by both), neurons 0 and 2 (by one class each), neuron 3 (by none).
    cells = dict(enumerate(re.findall(r' d="([^"]*)"', drawing)))
    assert cells[0] == "M1 0h1v.9h-1zM2 1h1v.9h-1z" and cells[1] == "M0 0h1v.9h-1zM0 1h1v.9h-1z"
    assert drawing.count("2 of 4") == 2
    rows = [re.findall(r">(\d+)</td>", row) for row in touch.splitlines() if 'scope="row"' in row]
    assert rows == [["100", "33"], ["33", "100"]]
    data = json.loads(re.search(r'class="explorer">(.*)</script>', touch)[1])
    assert data["shown"] == 1 and data["networks"][0]["slices"][1]["left_out"] == "25.00%"
    assert [layer["entries"] for layer in data["networks"][0]["layers"]] == [["0---", "---0"], ["01--", "-10-"]]


def test_it_says_by_which_metric(here):
    assert "By DeepLIFT." in explored(here)[0]
    assert "By Taylor." in explored(here, metric="taylor")[0]


def test_where_there_is_no_slice_it_says_so(here):
    assert explored(here, [])[0].startswith("```{note}\n:name: e\n\nNo slice to explore")


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [([1, 0], [1, 0], 100), ([1, 0], [0, 1], 0), ([0, 0], [0, 0], 100), ([1] * 8, [1] + [0] * 7, 13)],
)
def test_overlap_is_rounded_half_up(first, second, share):
    assert jaccard(first, second) == share
