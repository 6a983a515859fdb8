"""Where a chapter's tables are furthest from the paper's, and what has been found out about it.

data/paper/differences.yaml says what is known of which cells. It is shown only where a cell is among the furthest and
lies on the side that is spoken of, so that no result contradicts it.
"""

import json
import re
from functools import cache

import pandas as pd
import yaml
from IPython.display import HTML, Markdown

from nssutils.companion import fragments
from nssutils.companion.fragments import TITLES
from nssutils.companion.results import DATA, Result
from nssutils.companion.tables.common import or_nothing

MOST = 5
KINDS = {
    "reading": "what the paper leaves open", "network": "another network", "noise": "chance",
    "slip": "a slip of the paper's", "open": "not explained",
}  # fmt: skip
OPEN = {"kind": "open", "why": "Nothing has been tried yet."}
CHANCE = {"kind": "noise", "why": "The paper's value lies within the interval over our own networks."}


@cache
def known() -> list[dict]:
    """What is known of which cells: table (a label's pattern), setting, row, column (patterns, of all unless given),
    ours (higher, lower or both), kind, why, and run: a command that looks into it."""
    return yaml.safe_load((DATA / "paper" / "differences.yaml").read_text())


@or_nothing
def furthest(found: list[Result], label: str, of: dict[str, str]) -> Markdown | HTML:
    """The cells of each table that differ most from the paper's, and what is known of them.

    of: {label of a table that has been written: what its columns in percent are called, as a pattern}. Cells of preset
    quick, whose networks are thin, are left out, and counted.
    """
    thin = {TITLES[result.setting] for result in found if result.preset in ("quick", "smoke")}
    alone = TITLES[found[0].setting] if len({result.setting for result in found}) == 1 else ""
    rows, said, left_out = [], {}, 0
    for table, columns in of.items():
        cells = []
        for cell in json.loads((fragments.FOLDER / f"{table}.compared.json").read_text()):
            setting = cell["row"].get("setting", alone).partition(",")[0]
            if not re.search(columns, cell["column"]):
                continue
            left_out += setting in thin
            cells += [cell | {"setting": setting}] if setting not in thin else []
        for cell in sorted(cells, key=lambda one: -abs(one["difference"]))[:MOST]:
            one = explained(table, cell)
            number = said.setdefault((one["kind"], one["why"], one.get("run", "")), len(said) + 1)
            names = ", ".join(text for text in cell["row"].values() if text != cell["setting"])
            rows.append(
                {
                    "setting": cell["setting"],
                    "cell": f"{names}: {cell['column']}",
                    "value": (cell["ours"], cell["paper"]),
                }
                | {"why": f"{KINDS[one['kind']]} ({number})"}
            )
    if not rows:
        return fragments.nothing(label, "No cell stands beside the paper's yet that was measured on its own network.")
    caption = f"Cells furthest from the paper's, at most {MOST} of each table; the numbers lead to the list below."
    note = f"Cells that rest on the thin networks of preset quick are left out ({left_out})." if left_out else ""
    shown = [result for result in found if TITLES[result.setting] in {row["setting"] for row in rows}]
    made = fragments.table(pd.DataFrame(rows), label, caption, shown, texts=2, note=note)
    told = (fragments.FOLDER / f"{label}.md").read_text()
    fragments.write(f"{label}.md", f"{told}\n{''.join(_item(*what) for what in said)}")
    return made


def explained(table: str, cell: dict) -> dict:
    """What is known of a cell: CHANCE where our interval has the paper's value, OPEN where nothing is known."""
    if "±" in cell["ours"] and not cell["told"]:
        return CHANCE
    side = "higher" if cell["difference"] > 0 else "lower"
    names = " | ".join(cell["row"].values())
    for one in known():
        where = ((one["table"], table), (one.get("setting", ""), cell["setting"]), (one.get("row", ""), names))
        where += ((one.get("column", ""), cell["column"]),)
        if re.search(one["ours"], side) and all(re.search(pattern, text) for pattern, text in where):
            return one
    return OPEN


def _item(kind: str, why: str, run: str) -> str:
    run = f" To look into it: `{run}`." if run else ""
    return f"1. *{KINDS[kind].capitalize()}.* {why.strip()}{run}\n"
