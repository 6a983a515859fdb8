"""The tables of the chapter on a network of one's own: what is left of it, repaired, extended."""

import pandas as pd
from IPython.display import HTML

from nssutils.companion import fragments, results
from nssutils.companion.fragments import METRIC_TITLES, TITLES
from nssutils.companion.results import Result
from nssutils.companion.tables.common import by_setting, groups, interval, or_nothing

REPAIRS = {"before": "none", "all": "all parameters", "critical": "those that connect critical neurons"}
EXTENSIONS = {"all": "all parameters", "outside": "those that the slice does not need"}


@or_nothing
def your_shrunk(found: list[Result], label: str) -> HTML:
    """What extraction leaves of each network."""
    table = []
    for name, group in groups(found).items():
        mine = results.frame(group, "shrunk")
        first = mine.iloc[0]
        row = {"setting": TITLES[name], "slice": f"{METRIC_TITLES[first['metric']]}, theta {first['theta']:g}"}
        for what, title in (("parameters", "parameters (%)"), ("operations", "operations (%)")):
            row[title] = interval(mine[f"{what}_left"] / mine[what])
        row |= {"accuracy, whole (%)": interval(mine["accuracy"]), "extracted (%)": interval(mine["accuracy_left"])}
        table.append(row)
    caption = "What extraction leaves: parameters, an image's operations, and the accuracy before any training."
    note = "Operations are those of convolutions and matrix products, without the products within attention."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)


@or_nothing
def your_repaired(found: list[Result], label: str) -> HTML:
    """Repaired against FGSM by all parameters, and by those of the slice."""
    columns = {"trained": "share (%)", "accuracy": "accuracy (%)", "attacked": "attacked (%)"}
    caption = "Repaired against FGSM: accuracy on test images, and on those that were attacked before the repair."
    note = "The attack is strong enough to halve the accuracy on training images."
    return _ways(found, label, "repaired", REPAIRS, columns, caption, note)


@or_nothing
def your_extended(found: list[Result], label: str) -> HTML:
    """Extended by the second half of the classes, nothing replayed."""
    columns = {"trained": "share (%)", "old_told": "old classes, told (%)", "old": "untold (%)"}
    columns |= {"new": "new classes (%)"}
    caption = "Extended: the second half of the classes learned after the first, nothing replayed."
    note = "Told that an image is of an old class, the network is read through its slice where that was frozen."
    return _ways(found, label, "extended", EXTENSIONS, columns, caption, note)


def _ways(found, label: str, which: str, ways: dict, columns: dict, caption: str, note: str) -> HTML:
    """A row for each way of training, a column for each share."""
    table = []
    for group, setting in by_setting(found):
        rows = results.frame(group, which)
        for way, words in ways.items():
            mine = rows[rows["way"] == way]
            table.append(setting | {"trained": words} | {text: interval(mine[name]) for name, text in columns.items()})
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)
