"""The answer first: each chapter's question, what the paper answers, what ours say, and the verdict.

data/paper/questions.yaml has the questions and names the claims; every sentence about results is computed from the
ledger, so that a result that contradicts it changes it.
"""

import html
from collections.abc import Mapping
from functools import cache

import pandas as pd
import yaml
from IPython.display import HTML

from nssutils.companion import fragments, grids
from nssutils.companion.claims import beyond, rules
from nssutils.companion.claims.judging import get, ledger, overall
from nssutils.companion.claims.shown import NAMES, told_in
from nssutils.companion.results import DATA, Result

# Whose claims the first page tells: the headline, and what the paper's abstract says of it.
FINDINGS = ("rq1_slicing", "rq2_restructuring", "rq3_readaptation", "rq4_incremental")


WHO = {
    "NeuSemSlice": "The paper", "NNSlicer": "NNSlicer's paper", "DeepArc": "DeepArc's authors",
    "this book": "Asked here",
}  # fmt: skip
ARROWS = (
    '<p class="arrows">↑ points the way that is claimed, ↓ the contrary: too few networks, too little to tell, or '
    "networks unlike the paper's.</p>"
)
COUNTED = '<p class="arrows">≈ counts what cannot be told: too little, or by fewer than three networks.</p>'


@cache
def questions() -> dict[str, dict]:
    """By chapter: part (its name), question, the ids of the claims that answer it, the headline first, and that of the
    abstract's claim, if it has one."""
    return yaml.safe_load((DATA / "paper" / "questions.yaml").read_text())


def answer(found: Mapping[str, list[Result]], chapter: str, label: str) -> HTML:
    """A chapter's answer box: a row for each of its claims."""
    asked = questions()[chapter]
    judged = _judged(found, asked["claims"])
    rows = "".join(
        f'<div class="answer-claim"><dt>{WHO[get(name).source]}: {html.escape(get(name).claim)} '
        f'<a href="claims.html#claim-{name}">{name}</a></dt>'
        f"<dd>{_verdict(mine)} {_settings(mine)}</dd></div>"
        for name, mine in judged.items()
    )
    body = f"<dl>{rows}</dl>{ARROWS}" if rows else _without_claims(found, chapter)
    return _written(
        f'<aside class="answer" aria-label="The answer"><p class="question">{asked["question"]}</p>{body}</aside>',
        label,
    )


def findings(found: Mapping[str, list[Result]], label: str) -> HTML:
    """What the first page tells of each research question: its headline claim and the abstract's, and what became of
    them."""
    items = []
    for chapter in FINDINGS:
        asked = questions()[chapter]
        names = [asked["claims"][0], *filter(None, [asked.get("abstract")])]
        claims = "".join(
            f"<p>{'The abstract' if name == asked.get('abstract') else WHO[get(name).source]}: "
            f"{html.escape(get(name).claim)} {_verdict(mine)} {_settings(mine)}</p>"
            for name, mine in _judged(found, names).items()
        )
        items.append(f'<li><a href="{chapter}.html">{asked["question"]}</a>{claims}</li>')
    return _written(f'<ol class="findings">{"".join(items)}</ol>', label)


def cards(found: Mapping[str, list[Result]], label: str) -> HTML:
    """A card for each chapter: its question, and how its claims came out."""
    judged = overall(ledger(found))
    made = []
    for chapter, asked in questions().items():
        counts = judged[judged["chapter"] == chapter]["verdict"].value_counts()
        told = " ".join(
            f"<li>{_badge(verdict, counts[verdict])}</li>" for verdict in rules.VERDICTS if verdict in counts
        )
        verdicts = f'<ul class="verdicts">{told}</ul>' if told else ""
        made.append(
            f'<li class="card-of"><a href="{chapter}.html">{asked["part"]}</a><p>{asked["question"]}</p>{verdicts}</li>'
        )
    return _written(f'<ul class="cards">{"".join(made)}</ul>', label)


def _judged(found: Mapping[str, list[Result]], names: list[str]) -> dict[str, pd.DataFrame]:
    """The ledger's rows of some claims, by claim."""
    chapters = dict.fromkeys(get(name).chapter for name in names)
    rows = pd.concat([ledger(found, chapter) for chapter in chapters]) if names else pd.DataFrame({"id": []})
    return {name: rows[rows["id"] == name] for name in names}


def _verdict(mine: pd.DataFrame) -> str:
    """The verdict over the settings, and in how many it can be told where that is not all."""
    (one,) = overall(mine).itertuples()
    return _badge(one.verdict) + told_in(one)


def _settings(mine: pd.DataFrame) -> str:
    """What ours say: each setting that can be told with its values, the others in one sentence."""
    told = mine[mine["verdict"].isin(rules.TOLD)]
    parts = [
        f"{rules.SYMBOLS[one.verdict]} {NAMES[one.setting]}: {html.escape(one.ours)}"
        + (f" ({html.escape(one.note)})" if one.note else "")
        for one in told.itertuples()
    ]
    few = mine[mine["verdict"] == rules.UNTOLD]
    if len(few):
        pointing = ", ".join(NAMES[one.setting] + {1: " ↑", -1: " ↓", 0: ""}[one.tendency] for one in few.itertuples())
        parts.append(f"? not yet told: {pointing}")
    rest = mine[mine["verdict"] == rules.UNTESTABLE]
    if len(rest):
        parts.append(f"– not testable: {', '.join(NAMES[setting] for setting in rest['setting'])}")
    return f'<span class="by-setting">{grids.minus("; ".join(parts))}.</span>'


def _without_claims(found: Mapping[str, list[Result]], chapter: str) -> str:
    """What there is to say of a chapter that the paper claims nothing about: a sentence for each setting."""
    here = found.get(chapter, [])
    if not here:
        return "<p>The papers claim nothing of this, and no result is published yet. This run's are below.</p>"
    items = []
    for name in dict.fromkeys(one.setting for one in here):
        group = [one for one in here if one.setting == name]
        sentence = html.escape(beyond.SENTENCES[chapter](found, name))
        items.append(f"<li>{NAMES[name]} ({group[0].preset}, n = {len(group)}): {sentence}</li>")
    untold = COUNTED if any("≈" in item for item in items) else ""
    return f"<p>The papers claim nothing of this. Measured here:</p><ul>{''.join(items)}</ul>{untold}"


def _badge(verdict: str, count: int | None = None) -> str:
    kind = verdict.replace(" ", "-")
    number = "" if count is None else f"{count} "
    return f'<span class="verdict-badge verdict-{kind}">{number}{rules.SYMBOLS[verdict]} {verdict}</span>'


def _written(page: str, label: str) -> HTML:
    fragments.write(f"{label}.md", f"~~~{{raw}} html\n{page}\n~~~\n")
    return HTML(page)
