"""Judges of what Sections 4 and 5.3 to 5.5 claim: restructuring, re-adaptation, incremental development."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from nssutils.companion.claims.evidence import Evidence, Numbers, Unmeasured
from nssutils.companion.claims.rules import (
    Estimate,
    Opinion,
    ahead,
    at_least,
    at_most,
    compared,
    noted,
    over_networks,
    over_settings,
    untestable,
    valued,
)  # fmt: skip
from nssutils.companion.fragments import paper_grid
from nssutils.companion.results import Result
from nssutils.companion.tables.rq2 import MEASURES, PRUNER_TITLES, changes, matched, nearest_tau
from nssutils.companion.tables.rq3 import ATTACK_TITLES
from nssutils.companion.tables.rq4 import nearer
from nssutils.studies import answers

PRUNERS = tuple(PRUNER_TITLES)
ATTACKS = tuple(ATTACK_TITLES)


# RQ2


def slice_takes_less(evidence: Evidence, numbers: Numbers) -> Opinion:
    """Share of the bytes on disk that the extracted network saves."""
    saved = []
    for one in evidence.group("rq2_restructuring"):
        rows = one.frame("savings")
        first = rows[rows["tolerance"] == rows["tolerance"].min()].set_index("variant")["bytes"]
        saved.append(1 - first["extracted"] / first["whole"])
    return ahead(over_networks(saved, unit="%"))


def slice_keeps_accuracy(evidence: Evidence, numbers: Numbers, tolerance: float) -> Opinion:
    """Points of test accuracy that the slice chosen for pruning loses, unpruned."""
    losses = [
        one.tables["base"][0]["accuracy"] - one.tables["slices"][0]["accuracy"]
        for one in evidence.group("rq2_restructuring")
    ]
    return at_most(over_networks(losses), 0.0, tolerance)


def slicing_first(evidence: Evidence, numbers: Numbers, measure: str, rises: bool = True) -> Opinion:
    """Whether slicing first raises (or lowers) a measure of Table 4 with each of the four pruners."""
    group, tau = evidence.group("rq2_restructuring"), nearest_tau(_all(evidence, "rq2_restructuring"))
    sign = 1 if rises else -1
    cases = [changes(group, pruner, MEASURES[measure], tau) for pruner in PRUNERS]
    cases = [([sign * change for change in moved], halves) for moved, halves in cases]
    table = paper_grid(4, measure).loc[group[0].setting]
    paper = [sign * (table["nss+" + pruner] - table[pruner]) > 0 for pruner in PRUNERS]
    return compared(cases, "pruners", len(group), f"{sum(paper)} of {len(paper)} pruners")


def slicing_first_matched(evidence: Evidence, numbers: Numbers) -> Opinion:
    """Whether slicing first gives more accuracy at equal compression with each of the four pruners."""
    group, tau = evidence.group("rq2_restructuring"), nearest_tau(_all(evidence, "rq2_restructuring"))
    pairs = [[matched(one, pruner, tau) for one in group] for pruner in PRUNERS]
    gains = [[row["nss+"] - row[""] for row in rows] for rows in pairs]
    return compared([(gain, ()) for gain in gains if not np.isnan(gain).any()], "pruners", len(group))


def mean_change(evidence: Evidence, numbers: Numbers, measure: str, relative: bool = False) -> Opinion:
    """The mean change of a measure of Table 4 by slicing first, over pruners and settings, beside Table 4's own.

    relative: to the measure's mean without slicing, over the settings too.
    """
    by_setting = evidence.settings("rq2_restructuring")
    tau = nearest_tau(_all(evidence, "rq2_restructuring"))
    estimates, alone, printed = {}, [], []
    for name, group in by_setting.items():
        estimates[name] = np.mean([changes(group, pruner, MEASURES[measure], tau)[0] for pruner in PRUNERS], axis=0)
        alone.append(np.mean([[_stop(one, pruner, tau)[MEASURES[measure]] for one in group] for pruner in PRUNERS]))
        table = paper_grid(4, measure).loc[name]
        printed.append([table[[prefix + pruner for pruner in PRUNERS]].mean() for prefix in ("", "nss+")])
    before, after = np.mean(printed, axis=0)
    if relative:
        relative_to = np.mean(alone)
        estimates = {name: changed / relative_to for name, changed in estimates.items()}
        return valued(over_settings(estimates, "%"), float((after - before) / before))
    unit, scale = ("iterations", 1.0) if measure == "NI" else ("points", 100.0)
    return valued(over_settings(estimates, unit, scale), float(after - before) / scale)


# RQ3


def trained_share(evidence: Evidence, numbers: Numbers, method: str, tolerance: float) -> Opinion:
    """The share of the parameters that a method trains, beside Table 5's; everything would be 1."""
    values = [_repairs(one, method)["tpr"].mean() for one in evidence.group("rq3_readaptation")]
    printed = _table5("TPR", evidence.setting, method)
    return valued(over_networks(values, unit="%"), printed, null=1.0, tolerance=tolerance)


def trained_share_on_average(evidence: Evidence, numbers: Numbers, method: str, tolerance: float) -> Opinion:
    """The share of the parameters that a method trains, on average over the settings, beside Table 5's for the same."""
    estimate, printed = _repairs_on_average(
        evidence, lambda one: _repairs(one, method)["tpr"].mean(), lambda name: _table5("TPR", name, method), "%"
    )
    return valued(estimate, printed, null=1.0, tolerance=tolerance)


def trains_less_on_average(evidence: Evidence, numbers: Numbers, method: str, than: str, tolerance: float) -> Opinion:
    """Points of the parameters that a method trains less than another, on average over the settings, beside Table 5's
    for the same."""

    def less(one: Result) -> float:
        return _repairs(one, than)["tpr"].mean() - _repairs(one, method)["tpr"].mean()

    def paper(name: str) -> float:
        return _table5("TPR", name, than) - _table5("TPR", name, method)

    return valued(*_repairs_on_average(evidence, less, paper), tolerance=tolerance)


def trains_less(evidence: Evidence, numbers: Numbers, method: str, than: list[str]) -> Opinion:
    """By how much a method trains less than the least of some others."""
    gaps = []
    for one in evidence.group("rq3_readaptation"):
        least = min(_repairs(one, other)["tpr"].mean() for other in than)
        gaps.append(least - _repairs(one, method)["tpr"].mean())
    return ahead(over_networks(gaps))


def repaired_ahead_on_average(evidence: Evidence, numbers: Numbers, method: str, than: str) -> Opinion:
    """By how much a method's RA is above another's, on average over attacks and settings, beside Table 5's for the
    same."""

    def gain(one: Result) -> float:
        return (_repairs(one, method)["ra"] - _repairs(one, than)["ra"]).mean()

    def paper(name: str) -> float:
        return _table5("RA", name, method) - _table5("RA", name, than)

    return valued(*_repairs_on_average(evidence, gain, paper))


def ahead_in(evidence: Evidence, numbers: Numbers, method: str, than: list[str], measure: str) -> Opinion:
    """Whether a method is ahead of each of some others in a measure, under each attack."""
    group = evidence.group("rq3_readaptation")
    cases = [_gains(group, attack, method, other, measure) for attack in ATTACKS for other in than]
    return compared(cases, "comparisons", len(group))


def largest_gain(evidence: Evidence, numbers: Numbers, method: str, than: str, measure: str) -> Opinion:
    """The largest gain of a method over another in any setting under any attack: at least the printed one. The largest
    of several is drawn towards the claim, and its interval with it."""
    groups = evidence.settings("rq3_readaptation").values()
    cells = [_gains(group, attack, method, than, measure) for group in groups for attack in ATTACKS]
    gains, images = max(cells, key=lambda cell: np.mean(cell[0]))
    return at_least(over_networks(gains, images), numbers[0] / 100, printed=numbers[0] / 100)


def lost_on_reattack(evidence: Evidence, numbers: Numbers, least: float) -> Opinion:
    """RA minus RAA, the smallest over methods and attacks."""
    lost = [float((_repairs(one)["ra"] - _repairs(one)["raa"]).min()) for one in evidence.group("rq3_readaptation")]
    return at_least(over_networks(lost), least)


def repaired(
    evidence: Evidence, numbers: Numbers, method: str, least: float, most: float = 1.0
) -> Opinion:  # fmt: skip
    """A method's RA, the lower of the two attacks'.

    most: the share of the parameters above which what is trained is no part of the network.
    """
    group = evidence.group("rq3_readaptation")
    if (share := np.mean([_repairs(one, method)["tpr"].mean() for one in group])) > most:
        return untestable(f"{share:.1%} of the parameters are trained")
    values = [float(_repairs(one, method)["ra"].min()) for one in group]
    return at_least(over_networks(values, unit="%"), least)


def repair_time_on_average(evidence: Evidence, numbers: Numbers, method: str, tolerance: float) -> Opinion:
    """A method's time for a step relative to full training's, on average over the settings."""
    shares = {}
    for name, group in evidence.settings("rq3_readaptation").items():
        seconds = [one.frame("times").groupby("method")["seconds"].mean() for one in group]
        shares[name] = [one[method] / one["full"] for one in seconds]
    return valued(over_settings(shares, "%"), numbers[0] / 100, null=1.0, tolerance=tolerance)


# RQ4


def forgets(evidence: Evidence, numbers: Numbers, method: str, tolerance: float) -> Opinion:
    """Points of task A that a method forgets, as the paper reads it, beside Table 6's."""
    return valued(*_lost_of_a(evidence, method), tolerance=tolerance)


def left_of_a(evidence: Evidence, numbers: Numbers, method: str, tolerance: float) -> Opinion:
    """What a method leaves of task A, as the paper reads it, beside Table 6's."""
    printed = _table6("A", evidence.setting, method)
    return at_most(_tasks(evidence, lambda m: m.loc[method, "a"], unit="%"), printed, tolerance, printed=printed)


def loses_of_a(evidence: Evidence, numbers: Numbers, method: str, tolerance: float) -> Opinion:
    """Points of task A that a method loses, beside Table 6's."""
    estimate, printed = _lost_of_a(evidence, method)
    return at_most(estimate, max(printed, 0.0), tolerance, printed=printed)


def loss_of_a_on_average(
    evidence: Evidence, numbers: Numbers, method: str, tolerance: float, only: bool = False
) -> Opinion:  # fmt: skip
    """Points of task A that a method loses, on average over the settings.

    only: the claim is that it is no more.
    """

    def lost(m: pd.DataFrame) -> float:
        return m.loc["original", "a"] - m.loc[method, "a"]

    estimate, printed = _tasks_on_average(evidence, lost, lambda name: _printed_loss(name, method))
    return at_most(estimate, printed, tolerance, printed) if only else valued(estimate, printed, tolerance=tolerance)


def more_replay_less_forgetting(evidence: Evidence, numbers: Numbers) -> Opinion:
    """Points of task A by which more replay keeps more: the smaller of the two steps from 5 to 10 and 100%."""
    steps = [("replay10", "replay5"), ("replay100", "replay10")]
    smaller = [
        min((_apart(m, "a", more, [less]) for more, less in steps), key=lambda step: step[0])
        for m in _methods(evidence, evidence.setting)
    ]
    return ahead(_over(smaller))


def average_ahead(evidence: Evidence, numbers: Numbers, method: str, than: list[str], told: str = "") -> Opinion:
    """By how much a method's average over both tasks is above the best of some others.

    told: "_told" and "_untold" are readings with equal knowledge of the task, "" is the paper's.
    """
    leads = [_apart(m, "ab", method, than, told) for m in _methods(evidence, evidence.setting)]
    paper = ""
    if not told:
        best = np.nanmax([_average6(evidence.setting, other) for other in than])
        paper = f"{100 * (_average6(evidence.setting, method) - best):+.2f} points"
    return ahead(_over(leads), paper=paper)


def average_on_average(evidence: Evidence, numbers: Numbers, method: str, tolerance: float) -> Opinion:
    """A method's average over both tasks, over the settings; half is what a network has that knows one of them."""
    estimate, printed = _tasks_on_average(
        evidence, lambda m: m.loc[method, ["a", "b"]].mean(), lambda name: _average6(name, method), "%"
    )
    return valued(estimate, printed, null=0.5, tolerance=tolerance)


def lead_on_average(
    evidence: Evidence, numbers: Numbers, method: str, than: str, tolerance: float = 0.0, over: bool = False
) -> Opinion:  # fmt: skip
    """By how much a method's average over both tasks is above another's, over the settings.

    over: the claim is that it is more than the number in the text.
    """

    def value(m: pd.DataFrame) -> float:
        average = (m["a"] + m["b"]) / 2
        return average[method] - average[than]

    def paper(name: str) -> float:
        return _average6(name, method) - _average6(name, than)

    estimate, printed = _tasks_on_average(evidence, value, paper)
    if over:
        return ahead(estimate, numbers[0] / 100, estimate.shown(printed))
    return valued(estimate, printed, tolerance=tolerance)


def learns_b(evidence: Evidence, numbers: Numbers, method: str, tolerance: float, against: str) -> Opinion:
    """Points of task B that a method gives up against another, beside Table 6's."""
    estimate = _over([_apart(m, "b", against, [method]) for m in _methods(evidence, evidence.setting)])
    printed = _table6("B", evidence.setting, against) - _table6("B", evidence.setting, method)
    return at_most(estimate, max(printed, 0.0), tolerance, printed=printed)


def learns_b_on_average(evidence: Evidence, numbers: Numbers, method: str, tolerance: float) -> Opinion:
    """Points of task B that a method gives up against plain retraining, on average over settings, beside Table 6's."""

    def given_up(m: pd.DataFrame) -> float:
        return m.loc["retrain", "b"] - m.loc[method, "b"]

    def paper(name: str) -> float:
        return _table6("B", name, "retrain") - _table6("B", name, method)

    estimate, printed = _tasks_on_average(evidence, given_up, paper)
    return at_most(estimate, printed, tolerance, printed)


def stored(evidence: Evidence, numbers: Numbers, method: str, most: float | None = None, least: float = 0) -> Opinion:
    """KiB that a method keeps of task A."""
    estimate = _tasks(evidence, lambda m: m.loc[method, "stored"] / 1024, unit="KiB", scale=1.0)
    return at_least(estimate, least) if most is None else at_most(estimate, most)


def faster(evidence: Evidence, numbers: Numbers, than: list[str], tolerance: float = 0.0) -> Opinion:
    """How many times as long another method trains as NeuSemSlice, for equal epochs; of several, the fastest."""

    def times(rows: pd.DataFrame) -> float:
        return rows.loc[than, "seconds"].min() / rows.loc["nss", "seconds"]

    estimate = _tasks(evidence, times, unit="times", scale=1.0)
    if numbers:
        return valued(estimate, numbers[0], null=1.0, tolerance=tolerance)
    return ahead(estimate, margin=1.0)


def deeparc_keeps_one_task(evidence: Evidence, numbers: Numbers, most: float) -> Opinion:
    """Of training only DeepArc's redundant layers: the worse of the two tasks, of the networks that have some."""
    networks = _methods(evidence, evidence.setting)
    worse = [float(rows.loc["deeparc", ["a", "b"]].min()) for rows in networks if "deeparc" in rows.index]
    if not worse:
        return untestable("DeepArc finds nothing redundant to train")
    opinion = at_most(over_networks(worse, unit="%"), most)
    few = f"{len(worse)} of {len(networks)} networks have redundant layers" if len(worse) < len(networks) else ""
    return noted(opinion, few)


# What several judges read off


def _all(evidence: Evidence, chapter: str) -> list[Result]:
    return [one for group in evidence.settings(chapter).values() for one in group]


def _stop(one: Result, method: str, tau: float) -> dict:
    return next(row for row in one.tables["pruned"] if row["method"] == method and np.isclose(row["tau"], tau))


def _repairs(one: Result, method: str | None = None) -> pd.DataFrame:
    """The repairs of one network; those by one method, indexed by attack."""
    rows = one.frame("repairs")
    return rows if method is None else rows[rows["method"] == method].set_index("attack")


def _repairs_on_average(
    evidence: Evidence, value: Callable[[Result], float], paper: Callable[[str], float], unit: str = "points"
) -> tuple[Estimate, float]:  # fmt: skip
    """A value of Table 5 on average over the settings, ours and the paper's."""
    by_setting = evidence.settings("rq3_readaptation")
    values = {name: [value(one) for one in group] for name, group in by_setting.items()}
    return over_settings(values, unit), float(np.mean([paper(name) for name in by_setting]))


def _gains(
    group: list[Result], attack: str, method: str, than: str, measure: str
) -> tuple[list[float], list[np.ndarray]]:  # fmt: skip
    """By how much a method's measure is above another's under an attack, one a network, and on each image."""
    gains, images = [], []
    for one in group:
        rows = one.frame("repairs").query("attack == @attack").set_index("method")
        gains.append(rows.loc[method, measure] - rows.loc[than, measure])
        if right := _recognised(rows, measure):
            images.append(right[method] - right[than])
    return gains, images


def _recognised(rows: pd.DataFrame, measure: str) -> dict[str, np.ndarray]:
    """Which images each row's network recognises, (N,) of 0 and 1, by the rows' index; none where an older result does
    not say."""
    if f"{measure}_right" not in rows:
        return {}
    bits = {name: answers.unpacked(text, None) for name, text in rows[f"{measure}_right"].items()}
    most = rows[measure].idxmax()
    share = rows.at[most, measure]
    n = round(int(bits[most].sum()) / share) if share else None  # the rest is what fills the last byte
    return {name: each[:n].numpy().astype(float) for name, each in bits.items()}


def _methods(evidence: Evidence, setting: str) -> list[pd.DataFrame]:
    """Table 6's rows of each network of a setting, indexed by method, for the half of the classes that fits the paper
    better."""
    group = evidence.settings("rq4_incremental").get(setting, [])
    if not group:
        raise Unmeasured("what it speaks of")
    which = nearer(group, setting)
    tables = [one.frame("methods") for one in group]
    return [rows[rows["task_a"] == which].set_index("method") for rows in tables]


def _tasks(
    evidence: Evidence, value: Callable[[pd.DataFrame], float], unit: str = "points", scale: float = 100.0
) -> Estimate:
    return over_networks([float(value(m)) for m in _methods(evidence, evidence.setting)], unit=unit, scale=scale)


def _apart(
    rows: pd.DataFrame, tasks: str, method: str, others: list[str], told: str = ""
) -> tuple[float, list[np.ndarray]]:  # fmt: skip
    """By how much a method is above the best of some others, and on each test image; one network's rows of Table 6.

    tasks: "a", "b", or "ab" for the mean of both. told: as in `average_ahead`; of "_told" and "_untold" results do not
    say which images were recognised.
    """
    means = rows[[f"{task}{told}" for task in tasks]].mean(axis=1)
    rival = means[[other for other in others if other in means.index]].idxmax()
    right = [] if told else [_recognised(rows, task) for task in tasks]
    changed = [each[method] - each[rival] for each in right if each]
    total = sum(map(len, changed))  # each task weighs as much, however many images it has
    images = [np.concatenate([each * total / (len(changed) * len(each)) for each in changed])] if changed else []
    return float(means[method] - means[rival]), images


def _over(apart: list[tuple[float, list[np.ndarray]]]) -> Estimate:
    """What `_apart` says of each network, over the networks."""
    return over_networks([value for value, _ in apart], [each for _, images in apart for each in images])


def _lost_of_a(evidence: Evidence, method: str) -> tuple[Estimate, float]:
    """What a method loses of task A, ours and the paper's."""
    estimate = _over([_apart(m, "a", "original", [method]) for m in _methods(evidence, evidence.setting)])
    return estimate, _printed_loss(evidence.setting, method)


def _printed_loss(setting: str, method: str) -> float:
    """What a method loses of task A in the paper's Table 6."""
    return _table6("A", setting, "original") - _table6("A", setting, method)


def _tasks_on_average(
    evidence: Evidence, value: Callable, paper: Callable, unit: str = "points"
) -> tuple[Estimate, float]:  # fmt: skip
    """A value of Table 6 on average over the settings, ours and the paper's."""
    by_setting = evidence.settings("rq4_incremental")
    values = {name: [float(value(m)) for m in _methods(evidence, name)] for name in by_setting}
    return over_settings(values, unit), float(np.mean([paper(name) for name in by_setting]))


def _table5(measure: str, setting: str, method: str) -> float:
    """A share of the paper's Table 5, on average over the attacks."""
    return float(paper_grid(5, measure)[method].xs(setting, level="setting").mean()) / 100


def _table6(measure: str, setting: str, method: str) -> float:
    """A share of the paper's Table 6; NaN for a dash."""
    return float(paper_grid(6, measure).at[setting, method]) / 100


def _average6(setting: str, method: str) -> float:
    """The average over both tasks, of the cells of these in the paper's Table 6: one that is printed is a slip."""
    return (_table6("A", setting, method) + _table6("B", setting, method)) / 2
