"""The ledger of claims as the book shows it: each chapter's list, the page that can be searched, counts, downloads."""

import html
import json
from collections.abc import Mapping

import pandas as pd
from IPython.display import HTML, Markdown

from nssutils import files
from nssutils.companion import fragments, origins
from nssutils.companion.claims import rules
from nssutils.companion.claims.judging import JOINTLY, get, ledger, overall
from nssutils.companion.fragments import TITLES
from nssutils.companion.results import Result

NAMES = TITLES | {JOINTLY: "all together"}
SMALL = {"mlp-mnist", "mlp-fmnist"}


def claims_of(found: Mapping[str, list[Result]], chapter: str, label: str) -> Markdown:
    """A chapter's claims: for each, what the paper has, what ours say in each setting, and the verdict."""
    judged = ledger(found, chapter)
    table = []
    for row in overall(judged).itertuples():
        mine = judged[judged["id"] == row.id]
        table.append(
            {
                "claim": f"**{row.id}** {row.claim} <small>({_cited(row)}){_sure(row)}</small>",
                "verdict": f"{rules.SYMBOLS[row.verdict]} {row.verdict}{told_in(row)}",
                "by setting": "<br>".join(_line(one) for one in mine.itertuples()),
            }
        )
    here = [one for results in found.values() for one in results if one.chapter == chapter]
    caption = "The claims of this chapter, judged by the results above."
    note = (
        "✓ reproduced, ∼ direction holds, ✗ contradicted, ? cannot be told (an arrow says which way the few networks "
        "point), – not testable here."
    )
    return fragments.table(pd.DataFrame(table), label, caption, here, texts=3, note=note)


def claims_opening(judged: pd.DataFrame, label: str, picture: str) -> Markdown:
    """What the book's first page says of the claims, and the picture that `drawn.claims_figure` has made."""
    whole = overall(judged)
    said = {
        rules.REPRODUCED: "reproduced", rules.DIRECTION: "hold in direction", rules.CONTRADICTED: "contradicted",
        rules.UNTOLD: "cannot be told from the networks at hand", rules.UNTESTABLE: "not testable here",
    }  # fmt: skip
    papers = whole["source"] == "NeuSemSlice"
    counts, others = (whole[mine]["verdict"].value_counts() for mine in (papers, ~papers))
    parts = [f"**{counts.get(verdict, 0)} {rules.SYMBOLS[verdict]} {text}**" for verdict, text in said.items()]
    beside = ", ".join(f"{others.get(verdict, 0)} {rules.SYMBOLS[verdict]}" for verdict in said)
    told = whole[papers & whole["verdict"].isin(rules.TOLD)]
    partly = told[told["where"].map(len) < told["settings"]]
    small = sum(
        SMALL.issuperset(one.where) and not SMALL.issuperset(get(one.id).settings) for one in partly.itertuples()
    )
    holding = whole[papers & whole["verdict"].isin([rules.REPRODUCED, rules.DIRECTION])]
    unfailing = int((holding["unfailing"] != "").sum())
    mine = judged["id"].isin(whole[papers]["id"])
    weakened = {verdict: int((judged[mine]["otherwise"] == verdict).sum()) for verdict in rules.TOLD}
    text = (
        f"Of the paper's {counts.sum()} claims, by the published results: {', '.join(parts)}. Of the {others.sum()} "
        f"claims of its peers and this book: {beside}. [The ledger](claims) has each one.\n\n"
        f"Of the {len(told)} that can be told, {len(partly)} can only in some of their settings, {small} of these on "
        f"the MLPs alone. Of the {len(holding)} that hold, {unfailing} could hardly fail, by what they say. Networks "
        "less or more accurate than the paper's can give a direction at best: "
        f"{weakened[rules.REPRODUCED]} times, of a claim and a setting, it would be a reproduction, "
        f"{weakened[rules.CONTRADICTED]} times a contradiction."
    )
    legend = "A row is a claim, by its number in the ledger; a column is a setting, a network and its data."
    networks = (
        f"Networks, at most, each trained from a seed of its own: {_scales(judged)}. Each chapter says its own; fewer "
        f"than {rules.ENOUGH} tell nothing, unless the settings do together."
    )
    reproduced = counts.get(rules.REPRODUCED, 0)
    alt = f"A row for each claim, a column for each setting: of the paper's, {reproduced} reproduced."
    image = f"~~~{{shown-figure}} _generated/{picture}.svg\n:alt: {alt}\n~~~"
    fragments.write(f"{label}.md", f"{text}\n\n{image}\n\n{legend} {networks}\n")
    return Markdown(text)


def _scales(judged: pd.DataFrame) -> str:
    """How many networks of which preset the claims about each setting rest on, at most, as badges."""
    by_scale: dict[str, list[str]] = {}
    measured = judged[(judged["preset"] != "") & (judged["networks"] > 0) & (judged["setting"] != JOINTLY)]
    most = measured.sort_values("networks", ascending=False, kind="stable").drop_duplicates("setting")
    for one in most.itertuples():
        by_scale.setdefault(origins.badge(one.preset, one.networks), []).append(NAMES[one.setting])
    return "; ".join(f"{badge} {', '.join(names)}" for badge, names in by_scale.items())


def claims_counts(judged: Mapping[str, pd.DataFrame], label: str) -> Markdown:
    """How many claims got which verdict: by what they are judged ("published", a preset), and by setting."""
    table = []
    for by, one in judged.items():
        by_setting = {f"{by}, {NAMES[setting]}": mine for setting, mine in one.groupby("setting", sort=False)}
        for name, mine in ({by: overall(one)} | by_setting).items():
            counts = mine["verdict"].value_counts()
            cells = {f"{rules.SYMBOLS[each]} {each}": counts.get(each, 0) for each in rules.VERDICTS}
            table.append({"judged by": name} | cells)
    caption = "How many claims got which verdict, over all settings and in each."
    return fragments.table(pd.DataFrame(table), label, caption, [])


def claims_ledger(judged: pd.DataFrame, label: str) -> HTML:
    """The whole ledger as a table to search, each row with a link to the table or figure that decides; as CSV and JSON
    too, `_generated/<label>.csv` and `.json`."""
    whole = overall(judged)
    rows = "\n".join(_row(row, judged[judged["id"] == row.id]) for row in whole.itertuples())
    verdicts = "".join(f"<option>{verdict}</option>" for verdict in rules.VERDICTS)
    chapters = "".join(f"<option>{chapter}</option>" for chapter in whole["chapter"].unique())
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Claim", "Verdict", "In each setting", "Decided by"))
    page = (
        '<div class="claims">\n'
        '<form class="claims-filter" role="search" aria-label="Filter the claims">\n'
        f'<label>Verdict <select name="verdict"><option value="">all</option>{verdicts}</select></label>\n'
        f'<label>Chapter <select name="chapter"><option value="">all</option>{chapters}</select></label>\n'
        '<label>Order <select name="order"><option value="">as in the paper</option>'
        '<option value="verdict">by verdict</option></select></label>\n'
        '<label>Words <input type="search" name="words"></label>\n'
        f'<output name="count">{len(whole)} of {len(whole)} claims</output>\n</form>\n'
        f'<div class="claims-rows grid words" tabindex="0"><table class="table"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>\n</div>"
    )
    fragments.write(f"{label}.md", f"~~~{{raw}} html\n{page}\n~~~\n")
    for suffix, text in (("csv", _flat(whole, judged).to_csv(index=False)), ("json", _nested(whole, judged))):
        with files.atomically(fragments.FOLDER / f"{label}.{suffix}") as partial:
            partial.write_text(text)
    return HTML(page)


def _row(row, mine: pd.DataFrame) -> str:
    lines = "".join(f"<li>{html.escape(_line(one))}</li>" for one in mine.itertuples())
    verdict = f"{rules.SYMBOLS[row.verdict]} {row.verdict}{told_in(row)}"
    name = row.verdict.replace(" ", "-")
    return (
        f'<tr id="claim-{row.id}" data-verdict="{row.verdict}" data-chapter="{row.chapter}">'
        f'<th scope="row"><a href="#claim-{row.id}">{row.id}</a> {html.escape(row.claim)} '
        f"<small>{_cited(row)}</small><br>"
        f'<small class="measured">Measured: {html.escape(row.measured)}{_sure(row)}</small></th>'
        f'<td class="verdict verdict-{name}">{verdict}</td><td><ul>{lines}</ul></td>'
        f'<td><a href="{row.chapter}.html#{row.shown}">{row.shown}</a></td></tr>'
    )


def _line(one) -> str:
    """One setting's verdict in a line."""
    values = "; ".join(filter(None, (one.ours, one.paper and f"paper {one.paper}", one.note)))
    return f"{rules.mark(one.verdict, one.tendency)} {NAMES[one.setting]}" + (f": {values}" if values else "")


def told_in(row) -> str:
    """In how many settings a claim can be told, where that is not all."""
    partly = 0 < len(row.where) < row.settings
    return f" (told in {len(row.where)} of {row.settings} settings)" if partly else ""


def _sure(row) -> str:
    return f" It can hardly fail: {html.escape(row.unfailing)}." if row.unfailing else ""


def _cited(row) -> str:
    place = f"Section {row.section}" if row.section[0].isdigit() else row.section
    return place if row.source == "NeuSemSlice" else f"{row.source}, {place}"


def _flat(whole: pd.DataFrame, judged: pd.DataFrame) -> pd.DataFrame:
    fields = whole.drop(columns=["verdict", "where", "settings"])
    return judged.merge(fields, on="id")


def _nested(whole: pd.DataFrame, judged: pd.DataFrame) -> str:
    entries = [
        row | {"settings": judged[judged["id"] == row["id"]].drop(columns="id").to_dict("records")}
        for row in whole.to_dict("records")
    ]
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
