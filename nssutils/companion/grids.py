"""A table of cells as HTML: settings as headings, ours beside the paper's and the difference, row headers, the best.

A cell is text, or a pair (ours, the paper's) of texts: see `fragments.beside_paper`.
"""

import html as escaping
import re
from collections.abc import Mapping, Sequence

import pandas as pd

NONE: Mapping[str, str] = {}
BEST = "★"
LONG = 22  # letters, beyond which a row's name may be broken
NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*")
HALF = re.compile(r" ± (\S+)")
# The little markup that cells have. A link is to a page of the book.
INLINE = (
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"\[([^]]+)\]\((\w+)\)"), r'<a href="\2.html">\1</a>'),
)


def html(rows: pd.DataFrame, texts: int = 1, scales: Mapping[str, str] = NONE, best: Sequence[str] = ()) -> str:
    """One table; where settings have several rows, a table for each, under the setting's name.

    The first `texts` columns name a row. scales: for a setting's title, how large its experiment was, as HTML. best:
    columns whose highest value is marked among the rows that differ in their last name only.
    """
    rows = _marked(rows, texts, best)
    if "setting" not in rows or not rows["setting"].duplicated().any():
        return _table(rows, texts, "", scales)
    return "\n".join(
        _table(group.drop(columns="setting"), texts - 1, f"{_inline(name)} {_scale(name, scales)}", {})
        for name, group in rows.groupby("setting", sort=False)
    )


def flat(rows: pd.DataFrame) -> pd.DataFrame:
    """The same cells for a download: columns of pairs as ours, the paper's and the difference."""
    columns = {}
    for name in rows:
        cells = list(rows[name])
        if not any(isinstance(cell, tuple) for cell in cells):
            columns[name] = cells
            continue
        pairs = [cell if isinstance(cell, tuple) else (cell, "") for cell in cells]
        columns[name] = [ours for ours, _ in pairs]
        columns[f"{name}, paper"] = [paper for _, paper in pairs]
        columns[f"{name}, difference"] = [difference(*pair)[0] for pair in pairs]
    return pd.DataFrame(columns)


def compared(rows: pd.DataFrame, texts: int) -> list[dict]:
    """Each cell that has the paper's value beside it: its row, by the first `texts` columns, its column, both values,
    their difference, and whether that is clear of our own interval."""
    found = []
    for row in rows.to_dict("records"):
        names = {name: str(cell) for name, cell in list(row.items())[:texts]}
        for column, cell in row.items():
            change, told = difference(*cell) if isinstance(cell, tuple) else ("", False)
            if change:
                ours, paper = cell
                found.append({"row": names, "column": column, "ours": ours, "paper": paper, "told": told})
                found[-1]["difference"] = float(change)
    return found


def difference(ours: str, paper: str) -> tuple[str, bool]:
    """Ours minus the paper's as shown, to ours' places; and whether it is clear of our own interval."""
    found = [NUMBER.match(text) for text in (ours, paper)]
    if not all(found):
        return "", False
    first, second = (float(each.group().replace(",", "")) for each in found)
    half, places = HALF.search(ours), len(found[0].group().partition(".")[2])
    return f"{first - second:+.{places}f}", bool(half) and abs(first - second) > float(half.group(1))


def _marked(rows: pd.DataFrame, texts: int, best: Sequence[str]) -> pd.DataFrame:
    """The rows with a mark at the highest value of each column of `best`."""
    rows = rows.copy()
    names = list(rows.columns[: texts - 1])
    for column in best:
        shown = rows[column].map(lambda cell: cell[0] if isinstance(cell, tuple) else cell)
        values = shown.str.replace(",", "").str.extract(rf"^({NUMBER.pattern})")[0].astype(float)
        top = values.groupby([rows[name] for name in names], sort=False).transform("max") if names else values.max()
        low = values.groupby([rows[name] for name in names], sort=False).transform("min") if names else values.min()
        for at in rows.index[(values == top) & (values > low)]:
            cell = rows.at[at, column]
            rows.at[at, column] = (f"{cell[0]} {BEST}", cell[1]) if isinstance(cell, tuple) else f"{cell} {BEST}"
    return rows


def _table(rows: pd.DataFrame, texts: int, title: str, scales: Mapping[str, str]) -> str:
    pairs = {name for name in rows if any(isinstance(cell, tuple) for cell in rows[name])}
    caption = f"<caption>{title}</caption>" if title else ""
    words = " words" if texts == len(rows.columns) else ""
    first = 1 if words else texts
    letters = (
        0 if words else max(sum(len(str(cell)) for cell in row if not isinstance(cell, tuple)) for row in rows.values)
    )
    columns = len(rows.columns) + 2 * len(pairs)
    dense = " dense" * (columns > 6) + " densest" * (columns > 12 or letters > 110)
    body, before = [], None
    for row in rows.itertuples(index=False):
        cells = []
        for at, (name, cell) in enumerate(zip(rows, row, strict=True)):
            if at < first:
                known = before is not None and at < first - 1 and before[: at + 1] == row[: at + 1]
                again = ' class="again"' if known else ' class="long"' if len(str(cell)) > LONG else ""
                scale = f" {_scale(cell, scales)}" if name == "setting" else ""
                cells.append(f'<th scope="row"{again}>{_inline(cell)}{scale}</th>')
            elif name in pairs:
                cells += _three(cell)
            else:
                cells.append(f"<td{_kind(cell)}>{_number(cell)}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
        before = row
    lines = "\n".join(body)
    head = _head(rows, first, pairs)
    return (
        f'<div class="grid{dense}{words}" tabindex="0"><table class="table">{caption}\n<thead>{head}</thead>\n'
        f"<tbody>\n{lines}\n</tbody></table></div>"
    )


def _head(rows: pd.DataFrame, texts: int, pairs: set[str]) -> str:
    two = ' rowspan="2"' if pairs else ""
    first = "".join(
        f'<th scope="colgroup" colspan="3" class="pair">{_inline(name)}</th>'
        if name in pairs
        else f'<th scope="col"{two}{" class=name" if at < texts else ""}>{_inline(name)}</th>'
        for at, name in enumerate(rows)
    )
    three = '<th scope="col" class="ours">ours</th><th scope="col">paper</th><th scope="col">diff.</th>'
    second = "".join(three for name in rows if name in pairs)
    return f"<tr>{first}</tr>" + (f"<tr>{second}</tr>" if pairs else "")


def _three(cell: str | tuple[str, str]) -> list[str]:
    """Ours, the paper's and the difference, each a cell; grey where ours cannot be told from the paper's."""
    ours, paper = cell if isinstance(cell, tuple) else (cell, "")
    change, told = difference(ours, paper)
    grey = "" if told else " same"
    return [
        f'<td class="ours">{_number(ours)}</td>',
        f'<td class="paper">{_number(paper)}</td>',
        f'<td class="diff{grey}">{_number(change)}</td>',
    ]


def _scale(name: str, scales: Mapping[str, str]) -> str:
    return scales.get(str(name).partition(",")[0], "")


def _kind(cell: str) -> str:
    """A cell's class: what cannot be told is grey, several numbers in one may be broken."""
    return ' class="same"' if str(cell).startswith("≈") else ' class="several"' if " (" in str(cell) else ""


def _number(cell: str) -> str:
    """A cell of numbers: the interval small, a minus as one, several in one not broken."""
    text = HALF.sub(r' <small class="half">±\1</small>', _inline(cell)).replace(" / ", "/")
    return minus(text)


def minus(text: str) -> str:
    """A text with a minus in place of each hyphen before a number."""
    return re.sub(r"(^|[ ≈(])-(?=\d)", r"\1−", text)


def _inline(cell: str) -> str:
    text = str(cell)
    if "<" in text and not re.search(r"<(br|small|/)", text):
        text = escaping.escape(text, quote=False)
    for pattern, instead in INLINE:
        text = pattern.sub(instead, text)
    return text
