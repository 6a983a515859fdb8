"""Tables as HTML: ours beside the paper's, what names a row, what is marked."""

import re

import pandas as pd
import pytest

from nssutils.companion import grids

ROWS = pd.DataFrame(
    [
        {"setting": "MLP", "method": "one", "RA": ("90.00 ± 0.50", "89.00"), "time": "3"},
        {"setting": "MLP", "method": "two", "RA": ("88.10 ± 2.00", "89.00†"), "time": "≈-1.5"},
        {"setting": "VGG", "method": "one", "RA": "70.00", "time": "–"},
        {"setting": "VGG", "method": "two", "RA": "71.00", "time": "4"},
    ]
)


def cells(html, tag="td"):
    return [re.sub("<[^>]+>", "", cell) for cell in re.findall(rf"<{tag}\b.*?</{tag}>", html)]


def test_the_difference_stands_beside_and_is_grey_where_it_cannot_be_told():
    first, _ = grids.html(ROWS, texts=2).split("</table>", 1)
    assert cells(first) == ["90.00 ±0.50", "89.00", "+1.00", "3", "88.10 ±2.00", "89.00†", "−0.90", "≈−1.5"]
    assert '<td class="diff">+1.00</td>' in first and '<td class="diff same">−0.90</td>' in first
    assert '<td class="same">≈−1.5</td>' in first


@pytest.mark.parametrize(
    "ours, paper, expected",
    [
        ("1,234.5 ± 1.0", "1,200", ("+34.5", True)),
        ("1.50 ± 0.50", "1.00", ("+0.50", False)),  # at the end of the interval
        ("50.00", "42.85", ("+7.15", False)),  # fewer than three networks have no interval
        ("–", "42.85", ("", False)),
        ("18.00 ± 0.10", "18.53 on average", ("-0.53", True)),
    ],
)
def test_differences(ours, paper, expected):
    assert grids.difference(ours, paper) == expected


def test_a_setting_is_a_heading_and_only_where_the_paper_has_numbers_there_are_columns_for_them():
    mlp, vgg = grids.html(ROWS, texts=2, scales={"MLP": "<i>n = 5</i>"}).split("</table>")[:2]
    assert "<caption>MLP <i>n = 5</i></caption>" in mlp and "<caption>VGG </caption>" in vgg
    assert cells(mlp, "th") == ["method", "RA", "time", "ours", "paper", "diff.", "one", "two"]
    assert cells(vgg, "th") == ["method", "RA", "time", "one", "two"]
    assert 'colspan="3" class="pair">RA</th>' in mlp and mlp.count('rowspan="2"') == 2 and "rowspan" not in vgg
    half = grids.html(ROWS.replace("MLP", "MLP, first five"), texts=2, scales={"MLP": "<i>n = 5</i>"})
    assert "<caption>MLP, first five <i>n = 5</i></caption>" in half


def test_what_names_a_row_heads_it():
    html = grids.html(ROWS.assign(setting=["a", "b", "c", "d"]), texts=2)
    assert html.count('<th scope="row">') == 8 and html.count("<caption>") == 0


def test_the_highest_is_marked_among_the_rows_that_compete():
    html = grids.html(ROWS, texts=2, best=("RA",))
    assert [cell for cell in cells(html) if "★" in cell] == ["90.00 ±0.50 ★", "71.00 ★"]
    thousands = grids.html(ROWS.assign(RA=["999", "1,234", "8", "7"]), texts=2, best=("RA",))
    assert [cell for cell in cells(thousands) if "★" in cell] == ["1,234 ★", "8 ★"]
    level = ROWS.assign(RA="50.00")
    assert "★" not in grids.html(level, texts=2, best=("RA",))


def test_a_download_has_what_is_shown():
    flat = grids.flat(ROWS)
    assert list(flat) == ["setting", "method", "RA", "RA, paper", "RA, difference", "time"]
    assert list(flat["RA, difference"]) == ["+1.00", "-0.90", "", ""]


def test_what_stands_beside_the_papers_is_told_by_row_and_column():
    one, two = ({"row": {"setting": "MLP", "method": name}, "column": "RA"} for name in ("one", "two"))
    assert grids.compared(ROWS, texts=2) == [
        one | {"ours": "90.00 ± 0.50", "paper": "89.00", "told": True, "difference": 1.0},
        two | {"ours": "88.10 ± 2.00", "paper": "89.00†", "told": False, "difference": -0.9},
    ]


def test_a_name_is_repeated_in_grey_under_itself_alone():
    rows = pd.DataFrame([list(row) for row in ("axc1", "ayc2", "byc3", "byd4")], columns=list("pqrs"))
    heads = re.findall(r'<th scope="row"( class="again")?>', grids.html(rows, texts=3))
    assert [bool(head) for head in heads] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0]


def test_markup_in_a_cell():
    row = pd.DataFrame([{"what": "`code`, **S1**, [the ledger](claims)", "n": "< 3 & more"}])
    html = grids.html(row)
    assert '<code>code</code>, <strong>S1</strong>, <a href="claims.html">the ledger</a>' in html
    assert "&lt; 3 &amp; more" in html
