"""What it changes in the pilot studies where the mask acts, and which place is nearer to the paper's Tables 1 and 2."""

from itertools import pairwise

import pandas as pd
from IPython.display import Markdown

from nssutils.companion import fragments, results
from nssutils.companion.fragments import paper_table
from nssutils.companion.results import Result
from nssutils.companion.tables.common import METRICS, by_setting, or_nothing
from nssutils.companion.tables.pilot import is_the_papers

TABLES = {"global": 1, "category-wise": 2}
OURS = "after the rectifier"


@or_nothing
def sensitivity_pilots(found: list[Result], label: str) -> Markdown:
    """A row for each place of the mask, and the paper's: accuracy by band, falls, and how far it is from the paper."""
    table = []
    for group, lead in by_setting(found):
        rows = results.frame(group, "masking")
        for ranked, number in TABLES.items():
            printed = _printed(number)
            theirs = _comparable(group)
            row = lead | {"ranked": ranked}
            if theirs:
                table.append(row | {"masked": "the paper"} | _described(printed) | {"distance": "–", "nearer": "–"})
            for place, mine in rows[rows["ranked"] == ranked].groupby("masked", sort=False):
                means = _means(mine)
                apart = (means - printed).abs()
                distance = {"distance": f"{apart.stack().mean():.1f}" if theirs else "–"}
                others = _means(rows[(rows["ranked"] == ranked) & (rows["masked"] != place)])
                distance["nearer"] = f"{_nearer(means, others, printed)} of {apart.size}" if theirs else "–"
                name = f"{place}{', this book' * (place == OURS)}"
                table.append(row | {"masked": name} | _described(means) | distance)
    caption = "Accuracy (%) by the band that is masked, mean over the metrics, by where it is masked."
    note = (
        "Falls: steps to a lower band at which the accuracy falls, of all metrics. Distance: of the cells from the "
        "paper's, in points, on average. Nearer: how many cells are nearer to the paper's than at the other place."
    )
    texts = len(table[0]) - len(printed) - 3
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=texts, note=note)


def nearer_cells(group: list[Result]) -> tuple[dict[str, int], int]:
    """Of one setting: how many cells of both tables lie nearer to the paper's by each place, and how many there are; no
    place and 0 where the paper's are of another network."""
    rows, nearer, cells = results.frame(group, "masking"), {}, 0
    for ranked, number in TABLES.items() if _comparable(group) else ():
        printed, mine = _printed(number), rows[rows["ranked"] == ranked]
        by_place = {place: _means(each) for place, each in mine.groupby("masked", sort=False)}
        cells += printed.size
        for place, means in by_place.items():
            (others,) = (other for elsewhere, other in by_place.items() if elsewhere != place)
            nearer[place] = nearer.get(place, 0) + _nearer(means, others, printed)
    return nearer, cells


def _comparable(group: list[Result]) -> bool:
    return is_the_papers(group) and group[0].preset != "smoke"


def _printed(number: int) -> pd.DataFrame:
    return paper_table(number).astype({"value": float}).pivot(index="band", columns="metric", values="value")


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in percent, bands down and metrics across."""
    return 100 * rows.groupby(["band", "metric"], sort=False)["accuracy"].mean().unstack("metric")


def _nearer(means: pd.DataFrame, others: pd.DataFrame, printed: pd.DataFrame) -> int:
    return int(((means - printed).abs() < (others - printed).abs()).to_numpy().sum())


def _described(means: pd.DataFrame) -> dict[str, str]:
    """Of accuracies in percent, bands down and metrics across: each band's mean, and the falls."""
    means = means.loc[sorted(means.index, key=lambda band: int(band.partition("-")[0])), list(METRICS)]
    falls = sum(int(((after - before) < 0).sum()) for (_, before), (_, after) in pairwise(means.iterrows()))
    bands = {f"{band.replace('-', '–')}%": f"{row.mean():.1f}" for band, row in means.iterrows()}
    return bands | {"falls": f"{falls} of {means.size - means.shape[1]}"}
