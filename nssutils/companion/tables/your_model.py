"""The tables of the chapter on a network of one's own: what is left of it, repaired, extended."""

import pandas as pd
from IPython.display import Markdown

from nssutils.companion import fragments, results
from nssutils.companion.fragments import METRIC_TITLES, TITLES
from nssutils.companion.results import Result
from nssutils.companion.tables.common import by_setting, interval, names, or_nothing

REPAIRS = {"before": "none", "all": "all parameters", "critical": "those that connect critical neurons"}
EXTENSIONS = {"all": "all parameters", "outside": "those that the slice does not need"}


@or_nothing
def your_shrunk(found: list[Result], label: str) -> Markdown:
    """What extraction leaves of each network."""
    table = []
    for name in names(found):
        mine = results.frame([one for one in found if one.setting == name], "shrunk")
        first = mine.iloc[0]
        row = {"setting": TITLES[name], "slice": f"{METRIC_TITLES[first['metric']]}, theta {first['theta']:g}"}
        for what, title in (("parameters", "parameters (%)"), ("operations", "operations (%)")):
            row[title] = interval(mine[f"{what}_left"] / mine[what])
        row |= {"accuracy, whole (%)": interval(mine["accuracy"]), "extracted (%)": interval(mine["accuracy_left"])}
        table.append(row)
    caption = (
        "What extraction leaves: the share of the parameters and of an image's operations, and the accuracy before any "
        "training."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2)


@or_nothing
def your_repaired(found: list[Result], label: str) -> Markdown:
    """Repaired against FGSM by all parameters, and by those of the slice."""
    columns = {"trained": "trained (%)", "accuracy": "accuracy (%)", "attacked": "attacked (%)"}
    caption = (
        "Repaired against FGSM: the share of the parameters that is trained, the accuracy on test images, and on those "
        "that were attacked before the repair."
    )
    return _ways(found, label, "repaired", "what is trained", REPAIRS, columns, caption)


@or_nothing
def your_extended(found: list[Result], label: str) -> Markdown:
    """Extended by the second half of the classes, nothing replayed."""
    columns = {"trained": "trained (%)", "old_told": "old classes, told (%)", "old": "untold (%)"}
    columns |= {"new": "new classes (%)"}
    caption = (
        "The second half of the classes learned after the first, nothing replayed. Told that an image is of an old "
        "class, the network is read through its slice where it has one."
    )
    return _ways(found, label, "extended", "what is trained", EXTENSIONS, columns, caption)


def _ways(found, label: str, which: str, title: str, ways: dict, columns: dict, caption: str) -> Markdown:
    """A row for each way of training, a column for each share."""
    table = []
    for group, setting in by_setting(found):
        rows = results.frame(group, which)
        for way, words in ways.items():
            mine = rows[rows["way"] == way]
            table.append(setting | {title: words} | {text: interval(mine[name]) for name, text in columns.items()})
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2)
