"""No sentence that a result could contradict is typed: what a page says of results is computed.

A number or a comparison in the pages' own text stands in typed.yaml, with what makes it one that no result can change.
"""

import json
import re
from pathlib import Path

import pytest
import yaml

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGES = sorted(path for path in BOOK.iterdir() if path.suffix in (".ipynb", ".md") and path.name != "references.md")
ALLOWED = [
    text for texts in yaml.safe_load(Path(__file__).with_name("typed.yaml").read_text()).values() for text in texts
]
COMPARISON = re.compile(
    r"\d|\b(more|less|fewer|most|least|best|worst|better|worse|higher|lower|highest|lowest|larger|smaller|largest|"
    r"smallest|faster|slower|ahead|behind|about half|nearly|almost|hardly|twice|never|outperform\w*|exceed\w*|beats?|"
    r"close to|cheaper|about as)\b"
)
# What is no statement: computed fragments and code, citations and targets, places in the paper, names that have digits.
SKIPPED = [
    (re.compile(r"(```|~~~).*?\1", re.S), ""),
    (re.compile(r"\{\w+\}`[^`]*`|`[^`]*`"), ""),
    (re.compile(r"\]\([^)]*\)"), "]"),
    (
        re.compile(
            r"\b(Sections?|Tables?|Figs?\.|Figures?|Eq\.|Algorithm)\s*\d+(\.\d+)?((,| to| and| or) \d+(\.\d+)?)*"
        ),
        "",
    ),
    (re.compile(r"\b(VGG|ResNet|CIFAR|SHA)-?\d+\b|\bRQ\d|\bImageNet\d*"), ""),
]


def text_of(page):
    if page.suffix == ".md":
        return page.read_text()
    cells = json.loads(page.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def sentences(text):
    """The statements of a page, as one line each; questions and headings are none."""
    for pattern, instead in SKIPPED:
        text = pattern.sub(instead, text)
    for block in re.split(r"\n\s*\n|\n(?=[-*|#])|\n(?=\d+\. )", text):
        line = re.sub(r"^\d+\. ", "", " ".join(block.split()))
        found = [] if line.startswith("#") else re.split(r"(?<=[.!?:;]) ", line)
        yield from (sentence for sentence in found if not sentence.endswith("?"))


def said(sentence):
    """What is left of a sentence without the phrases that are allowed, where a comparison is left in it."""
    for text in ALLOWED:
        sentence = sentence.replace(text, "")
    return sentence if COMPARISON.search(sentence) else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_page_types_what_a_result_could_contradict(page):
    assert [sentence for sentence in sentences(text_of(page)) if said(sentence)] == []


def test_every_allowed_phrase_is_used():
    whole = "\n".join(sentence for page in PAGES for sentence in sentences(text_of(page)))
    assert [text for text in ALLOWED if text not in whole] == []


@pytest.mark.parametrize(
    "sentence",
    [
        "DeepLIFT costs about as much as Taylor.",
        "In RAA no method stands out, and full training is best in 7 of 12.",
        "The more images are replayed, the more of task A is kept.",
        "Slicing gets further on the MLPs and is ahead on VGG-19.",
        "On MLP-MNIST 98.3% are kept.",
    ],
)
def test_a_typed_verdict_is_seen(sentence):
    assert said(sentence)
