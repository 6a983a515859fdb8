"""A control of the rules: what they make of the paper's own tables, as if these were results of this book."""

from collections.abc import Iterator, Mapping

import pandas as pd
from IPython.display import HTML

from nssutils import settings
from nssutils.companion import fragments, schema
from nssutils.companion.claims import rules
from nssutils.companion.claims.evidence import printed_base
from nssutils.companion.claims.judging import get, ledger
from nssutils.companion.claims.shown import NAMES
from nssutils.companion.fragments import paper_grid, paper_table
from nssutils.companion.results import Result
from nssutils.companion.tables.rq2 import MEASURES

# What shows the cells of Tables 1, 2 and 4 to 6, or their means: claims decided there need nothing else.
DECIDED_BY = (
    "table-1", "table-1-falls", "table-2", "table-2-falls", "table-4", "rq2-summary", "table-5", "rq3-summary",
    "table-6", "rq4-summary",
)  # fmt: skip
PILOT = "vgg16-cifar10"  # the one setting of Tables 1 and 2
ALL = 0  # in place of a class, of which Table 2 has the mean alone
STOP = 0.01  # a reading of Table 4's stop rule; by the paper's own cells it is no matter which


def results_of_the_paper() -> dict[str, list[Result]]:
    """By chapter: the paper's cells as results of as few networks as can tell anything, each with just these cells."""
    found: dict[str, list[Result]] = {}
    for chapter, setting, tables in _printed():
        base = [{"accuracy": printed_base(setting), "category": ALL}]
        origin = {name: kind() for name, kind in schema.PROVENANCE.items()}
        found.setdefault(chapter, []).extend(
            Result(chapter, "paper", setting, seed, {}, origin, {"base": base} | tables) for seed in range(rules.ENOUGH)
        )
    return found


def judged() -> pd.DataFrame:
    """The ledger's rows of the claims that the paper's own tables decide, by these."""
    found = results_of_the_paper()
    return pd.concat([ledger(found, chapter, DECIDED_BY) for chapter in found], ignore_index=True)


def control_table(label: str) -> HTML:
    """The claims that the paper's own tables do not bear out in each setting, by the rules of the ledger."""
    rows = judged()
    settled = rows[rows["verdict"] != rules.UNTESTABLE]
    short = settled[settled["verdict"] != rules.REPRODUCED]
    table = [
        {
            "claim": f"**{one.id}**" + (f" {get(one.id).claim}" if first else ""),
            "where": f"{rules.SYMBOLS[one.verdict]} {NAMES[one.setting]}",
            "by the paper's own cells": one.ours.replace(" ± 0.00", ""),
        }
        for one, first in zip(short.itertuples(), ~short["id"].duplicated(), strict=True)
    ]
    whole, fallen = settled["id"].nunique(), short["id"].nunique()
    caption = (
        f"A control: of {whole} claims that the paper's tables decide, these {fallen} are not reproduced by its own "
        "cells."
    )
    note = (
        "The cells of Tables 1, 2 and 4 to 6 are judged as if they were those of three networks that are just alike; ≈ "
        "counts those that are equal. "
        f"The other {whole - fallen} claims are reproduced by them wherever they can be judged."
    )
    return fragments.table(pd.DataFrame(table), label, caption, [], texts=3, note=note)


def _printed() -> Iterator[tuple[str, str, dict]]:
    """The cells as a chapter's tables: chapter, setting, tables."""
    for number, chapter in ((1, "pilot_global"), (2, "pilot_categorywise")):
        cells = paper_table(number).assign(accuracy=lambda table: table["value"] / 100, category=ALL)
        yield chapter, PILOT, {"masking": cells[["metric", "band", "category", "accuracy"]].to_dict("records")}
    for setting in settings.NAMES:
        pruned = [{"tau": STOP} | row for row in _cells(4, setting, MEASURES)]
        # What the slice may lose is less than the stop rule gives up.
        yield "rq2_restructuring", setting, {"pruned": pruned, "slices": [{"tolerance": STOP / 2}]}
        repairs = [{"units": None} | row for row in _cells(5, setting, {"TPR": "tpr", "RA": "ra", "RAA": "raa"})]
        yield "rq3_readaptation", setting, {"repairs": repairs}
        methods = [{"task_a": "first"} | row for row in _cells(6, setting, {"A": "a", "B": "b"})]
        yield "rq4_incremental", setting, {"methods": methods}


def _cells(number: int, setting: str, columns: Mapping[str, str]) -> list[dict]:
    """A setting's rows of Tables 4 to 6 by measure: counts of iterations, else shares; those with a dash left out."""
    cells = {
        column: paper_grid(number, measure).stack().xs(setting, level="setting") / (1 if measure == "NI" else 100)
        for measure, column in columns.items()
    }
    return pd.DataFrame(cells).dropna().reset_index().to_dict("records")
