"""What the tables of several chapters share."""

from collections.abc import Callable, Iterable, Iterator
from functools import wraps

import numpy as np
import pandas as pd
from IPython.display import Markdown

from nssutils import settings
from nssutils.companion import fragments, results
from nssutils.companion.fragments import METRIC_TITLES, TITLES, percent
from nssutils.companion.results import Result
from nssutils.studies import answers

NO_RESULTS = "No results here."  # neither published nor computed
METRICS = ("avg", "var", "ens", "deeplift", "taylor")  # the paper's


def printed(group: list[Result], value: float | None, mark: str = "") -> str | None:
    """The paper's value as printed, for a cell, with fragments.dagger's mark; None where it has none (None or NaN), and
    at preset smoke, whose data and networks are not comparable."""
    return None if pd.isna(value) or group[0].preset == "smoke" else f"{value:.2f}{mark}"


def printed_cell(group: list[Result], number: int, **cell: str) -> str | None:
    """`printed`, of a cell of the paper's Tables 4 to 6, with its mark."""
    return printed(group, fragments.paper_value(number, **cell), fragments.dagger(number, **cell))


def lacking(found: list[Result]) -> list[str]:
    """The settings of results that the paper has no numbers for."""
    return [name for name in names(found) if name not in settings.NAMES]


def without_paper(found: list[Result]) -> str:
    """A sentence for a note, that names the settings which the paper lacks; "" where it has all."""
    lacks = ", ".join(TITLES[name] for name in lacking(found))
    return f" The paper has no numbers for {lacks}." if lacks else ""


def tenths(points: float) -> str:
    """A distance in points; a dash where there is nothing to be distant from."""
    return "–" if pd.isna(points) else f"{points:.1f}"


def metrics_in(found: list[Result], table: str) -> list[str]:
    """The metrics that a table of the results has, in their order; not all results have one of a reader's own."""
    present = {row["metric"] for result in found for row in result.tables[table]}
    return [metric for metric in METRIC_TITLES if metric in present]


def with_slips(caption: str, table: Iterable[dict]) -> str:
    """A caption that explains the daggers, where a cell of the table has one."""
    marked = any(fragments.DAGGER in str(cell) for row in table for cell in row.values())
    return f"{caption} {fragments.DAGGER}: [a slip of the paper's](claims)." if marked else caption


def or_nothing(draw: Callable) -> Callable:
    """Say so in the table's place where there are no results to show."""

    @wraps(draw)
    def wrapper(found: list[Result], label: str, **options) -> Markdown:
        if not found:
            return fragments.nothing(label, NO_RESULTS, "once")
        return draw(found, label, **options)

    return wrapper


def names(found: list[Result]) -> list[str]:
    """The settings that have results, in the paper's order."""
    present = {result.setting for result in found}
    return [name for name in settings.KNOWN if name in present]


def groups(found: list[Result]) -> dict[str, list[Result]]:
    """The results of each setting, in the paper's order."""
    return {name: [result for result in found if result.setting == name] for name in names(found)}


def by_setting(found: list[Result]) -> Iterator[tuple[list[Result], dict[str, str]]]:
    """The results of each setting, and the cell that names it where there are several."""
    several = len(names(found)) > 1
    for name, group in groups(found).items():
        yield group, {"setting": TITLES[name]} if several else {}


def right(result: Result, row: dict, base: dict | None = None) -> np.ndarray | None:
    """Which test images a row's network recognises, (N,) of 0 and 1; None where an older result does not say.

    base: the row of the network whose answers the text is relative to.
    """
    if "right" not in row:
        return None
    origin = None if base is None else answers.unpacked(base["right"], base["images"])
    return answers.unpacked(row["right"], (base or row)["images"], origin).numpy().astype(float)


def interval(values: pd.Series) -> str:
    """Mean and 95% interval over seeds of a share; a dash where a seed has none."""
    if values.empty or values.isna().any():
        return "–"
    row = results.aggregate(pd.DataFrame({"all": 1, "value": values}), ["all"], "value").iloc[0]
    return percent(row["mean"], row["half"])
