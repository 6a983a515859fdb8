"""DeepArc's tables: how modular its networks are, blocks removed and added, what a search finds, and repair."""

import pandas as pd
from IPython.display import Markdown

from nssutils.companion import fragments, results
from nssutils.companion.fragments import TITLES, beside_paper
from nssutils.companion.results import Result
from nssutils.companion.tables.common import interval, names, or_nothing, printed
from nssutils.companion.tables.rq3 import ATTACK_TITLES

PRINTED_FOR = "resnet110-cifar10"  # the network of the public code's notebooks
METHOD_TITLES = {
    "full": "everything",
    "threshold": "changed and not redundant",
    "drop": "largest falls, DeepArc's loss",
}
BESIDE = " The paper's: what DeepArc's public code prints for its ResNet-110."


@or_nothing
def deeparc_base(found: list[Result], label: str) -> Markdown:
    """The networks: blocks, parameters and accuracy."""
    rows, table, beside = results.frame(found, "base"), [], False
    for name in names(found):
        group, mine = _of(found, name), rows[rows["setting"] == name]
        theirs = _printed(group, "accuracy")
        beside |= theirs is not None
        row = {"setting": TITLES[name], "blocks": mine["blocks"].iloc[0], "parameters": _count(mine["parameters"])}
        table.append(row | {"accuracy (%)": beside_paper(interval(mine["accuracy"]), theirs)})
    caption = f"The networks.{BESIDE if beside else ''}"
    return fragments.table(pd.DataFrame(table), label, caption, found)


@or_nothing
def deeparc_modularity(found: list[Result], label: str) -> Markdown:
    """The share of blocks in modules of more than one, by classes, training images, threshold and kind of CKA."""
    rows, table = results.frame(found, "modularity"), []
    for name in names(found):
        mine = rows[rows["setting"] == name]
        for (classes, images, threshold), group in mine.groupby(["n_classes", "images", "threshold"], sort=False):
            row = {"setting": TITLES[name], "classes": classes, "training images": f"{images:,}"}
            row |= {"accuracy (%)": interval(group.drop_duplicates("seed")["accuracy"]), "threshold": f"{threshold:g}"}
            for kind in ("biased", "debiased"):
                row[f"{kind} CKA"] = interval(group[group["kind"] == kind]["share"])
            table.append(row)
    caption = "Share (%) of the blocks that are in a module of more than one, by threshold."
    note = "The networks for fewer classes and on fewer images are trained for this."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)


@or_nothing
def deeparc_edited(found: list[Result], label: str) -> Markdown:
    """Accuracy with blocks removed or added, nothing retrained."""
    rows, base, table, beside = results.frame(found, "edited"), results.frame(found, "base"), [], False
    if rows.empty:
        return fragments.nothing(label, "No network here has a residual block that keeps the shape of its input.")
    for name in names(found):
        mine, whole = (frame[frame["setting"] == name].set_index("seed") for frame in (rows, base))
        for (what, blocks), group in mine.groupby(["what", "blocks"], sort=False):
            theirs = _printed(_of(found, name), f"{what}-{blocks}")
            beside |= theirs is not None
            row = {"setting": TITLES[name], "blocks": f"{blocks} {what}"}
            row |= {"parameters": _count(group["parameters"])}
            row |= {"accuracy (%)": beside_paper(interval(group["accuracy"]), theirs)}
            table.append(row | {"change (points)": interval(group["accuracy"] - whole["accuracy"])})
    caption = "Accuracy with blocks removed, or followed by a copy of themselves, without retraining."
    note = f"Blocks most like their predecessor come first.{BESIDE if beside else ''}"
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)


@or_nothing
def deeparc_search(found: list[Result], label: str) -> Markdown:
    """What random draws of blocks to remove give: their mean, their best, and the one chosen on held-out images."""
    rows, table, beside = results.frame(found, "search"), [], False
    if rows.empty:
        return fragments.nothing(label, "No network here has a residual block that keeps the shape of its input.")
    for name in names(found):
        for size, group in rows[rows["setting"] == name].groupby("size", sort=False):
            by_seed = group.groupby("seed")
            theirs = _printed(_of(found, name), f"search-{size}")
            beside |= theirs is not None
            chosen = group.loc[by_seed["held"].idxmax()]["accuracy"]
            table.append(
                {
                    "setting": TITLES[name],
                    "blocks removed": size,
                    "draws": by_seed.size().max(),
                    "mean of the draws": interval(by_seed["accuracy"].mean()),
                    "best of the draws": beside_paper(interval(by_seed["accuracy"].max()), theirs),
                    "chosen on held-out images": interval(chosen),
                }
            )
    caption = "Test accuracy (%) without random subsets of the blocks that are most like their predecessor."
    note = (
        "Nothing is retrained. The best is chosen by the test images themselves, as the public code does; the last "
        f"column is not.{BESIDE if beside else ''}"
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)


@or_nothing
def deeparc_repair(found: list[Result], label: str) -> Markdown:
    """Repair after both attacks, by what is trained."""
    rows, table, theirs = results.frame(found, "repair"), [], None
    for name in names(found):
        mine = rows[rows["setting"] == name]
        before, after = (_printed(_of(found, name), f"repair-{when}") for when in ("before", "after"))
        theirs = (before, after) if before else theirs
        for (attack, method), group in mine.groupby(["attack", "method"], sort=False):
            units = group["units"].mean()
            table.append(
                {
                    "setting": TITLES[name],
                    "attack": ATTACK_TITLES[attack],
                    "trained": METHOD_TITLES[method],
                    "blocks": "all" if pd.isna(units) else f"{units:.3g}",
                    "adversarials, before": interval(group["left"]),
                    "after": interval(group["repaired"]),
                    "mixture, before": interval(group["mix_before"]),
                    "mixture, after": interval(group["mix"]),
                    "test images": interval(group["clean"]),
                }
            )
    caption = "Accuracy (%) before and after the repair: on its adversarials, mixed with clean images, on test images."
    note = "The mixture is what the repair was trained on."
    if theirs:  # columns for it would make the table wider than a page
        first, last = theirs
        note += f" DeepArc's public code prints {first} before and {last} after: its ResNet-110, by the largest falls."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=3, note=note)


def _of(found: list[Result], name: str) -> list[Result]:
    return [result for result in found if result.setting == name]


def _printed(group: list[Result], name: str) -> str | None:
    """A number of data/paper/deeparc_numbers.csv in percent, beside results of its own network and not at smoke."""
    return printed(group, 100 * fragments.peer_numbers("deeparc")[name]) if group[0].setting == PRINTED_FOR else None


def _count(parameters: pd.Series) -> str:
    """How many parameters: the mean over seeds, which may edit different blocks."""
    return f"{parameters.mean():,.0f}"
