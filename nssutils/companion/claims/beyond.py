"""What the chapters that the paper claims nothing about have found: a sentence for each setting, computed."""

from collections.abc import Iterable, Mapping

import pandas as pd

from nssutils.companion import results, tables
from nssutils.companion.figures.explorer import shared
from nssutils.companion.intervals import told_apart
from nssutils.companion.results import Result

Found = Mapping[str, list[Result]]


def sensitivity(found: Found, setting: str) -> str:
    """What each value of a reading changes of the accuracy, and of semantic selection's lead; and what that is where
    slices are most like the paper's."""
    mine = [one for one in found["sensitivity"] if one.setting == setting]
    effects = [each["effect"] for _, each in tables.mean_effects(mine, setting).groupby(["reading", "value"])]
    rows = pd.concat([tables.leads(one).assign(seed=one.seed) for one in mine])
    by_reading = {key: tables.of_all_networks(each, len(mine)) for key, each in rows.groupby(["reading", "value"])}
    leads = {key: each.groupby("seed")["lead"].mean() for key, each in by_reading.items() if len(each)}
    nearest = tables.nearest_reading(mine, setting)
    said = (
        f"{len(effects)} values of a reading, each alone: {_counted(effects, 'add accuracy', 'cost some')}. Semantic "
        f"selection under {len(leads)} readings: {_counted(leads.values(), 'ahead', 'behind')}."
    )
    if nearest is None:
        return said
    there = {1: "ahead", -1: "behind", 0: "≈"}[told_apart(leads[nearest])] if nearest in leads else "not to be compared"
    return f"{said} Nearest the paper's slices is {tables.named(nearest)}; there it is {there}."


def sensitivity_tasks(found: Found, setting: str) -> str:
    """In how many readings of RQ3 and RQ4 NeuSemSlice is ahead of its rival there."""
    mine = [one for one in found["sensitivity_tasks"] if one.setting == setting]
    repairs = tables.repairs_by_eps(mine, setting, found.get("rq3_readaptation", []))
    full = [-each.ahead("ra") for each in repairs]
    replay = [each.lead for each in tables.mixes(mine, setting, found.get("rq4_incremental", []))]
    return (
        f"NeuSemSlice against full training, {len(full)} strengths of attacks: {_counted(full, 'ahead', 'behind')}. "
        f"Against replay, which is not told the task, {len(replay)} ways to mix it in: "
        f"{_counted(replay, 'ahead', 'behind')}."
    )


def sensitivity_pilots(found: Found, setting: str) -> str:
    """How many cells of Tables 1 and 2 lie nearer to the paper's by each place of the mask."""
    nearer, cells = tables.nearer_cells([one for one in found["sensitivity_pilots"] if one.setting == setting])
    if not cells:
        return "Nothing of the paper's compares with this network."
    by_place = ", ".join(f"{count} masked {place}" for place, count in nearer.items())
    return f"{cells} cells of Tables 1 and 2, nearer to the paper's: {by_place}."


def nnslicer(found: Found, setting: str) -> str:
    """On how many attacks NNSlicer's slices tell adversarial images better than what is seen without slicing."""
    rows = results.frame([one for one in found["nnslicer"] if one.setting == setting], "detection")
    if rows.empty:
        return "How large slices are and what they take; no detection."
    by = rows.pivot(index=["attack", "strength", "seed"], columns="features", values="auc")
    told = []
    for rival in ("feature maps", "confidence"):
        gains = [each.dropna() for _, each in (by["nnslicer"] - by[rival]).groupby(["attack", "strength"])]
        told.append(f"{_counted(gains, 'better', 'worse')} than by {rival}")
    return f"Adversarial images of {len(gains)} attacks, told by slices: {'; '.join(told)}."


def nnslicer_rules(found: Found, setting: str) -> str:
    """How many readings of NNSlicer's rules keep more than pruning by weight."""
    mine = [one for one in found["nnslicer_rules"] if one.setting == setting]
    kept, again = (tables.rules_against_weight(mine, statistics) for statistics in ("kept", "measured again"))
    return (
        f"{len(kept)} readings against pruning by weight, with the network's statistics: "
        f"{_counted(kept, 'keep more', 'keep less')}; measured again: {_counted(again, 'keep more', 'keep less')}."
    )


def explorer(found: Found, setting: str) -> str:
    """How classes share the last layer's neurons, in the first network that was measured."""
    return shared(next(one for one in found["explorer"] if one.setting == setting))


SENTENCES = {
    each.__name__: each
    for each in (sensitivity, sensitivity_tasks, sensitivity_pilots, nnslicer, nnslicer_rules, explorer)
}


def _counted(changes: Iterable, more: str, less: str) -> str:
    """How many changes, each a value a network, are a rise, a fall, or neither that can be told."""
    told = [told_apart(each) for each in changes]
    counts = f"{told.count(1)} {more}, {told.count(-1)} {less}"
    return f"{counts}, {told.count(0)} ≈" if 0 in told else counts
