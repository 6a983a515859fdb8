"""What the open readings of RQ3 and RQ4 change: the answers, and the distance to the paper's Tables 5 and 6."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from IPython.display import Markdown

from nssutils.companion import fragments, results
from nssutils.companion.fragments import TITLES, paper_value
from nssutils.companion.intervals import marked, told_apart
from nssutils.companion.results import Result
from nssutils.companion.tables.common import interval, names, or_nothing, tenths, without_paper
from nssutils.companion.tables.rq3 import ATTACK_TITLES

OURS = ", this book"  # what marks the reading that is taken everywhere else
REPLAYS = ("replay5", "replay10", "replay100")


@dataclass(frozen=True)
class Repairs:
    """RQ3's repairs after one attack at one strength."""

    attack: str
    eps: float
    mark: str  # OURS where the strength is that of RQ3's own results
    by: dict[str, pd.DataFrame]  # a row a network, by method
    rows: pd.DataFrame

    def ahead(self, measure: str) -> pd.Series:
        """By how much full training is ahead of NeuSemSlice, a value a network."""
        return self.by["full"][measure] - self.by["nss"][measure]


def repairs_by_eps(found: list[Result], setting: str, base: Sequence[Result] = ()) -> list[Repairs]:
    """One setting's repairs, by attack and then by strength. base: RQ3's results, at the eps that is found."""
    base, repairs = _beside(base, found), []
    for attack in ATTACK_TITLES:
        rows = [(OURS, _attacked(base, setting, attack)), ("", _attacked(found, setting, attack))]
        each = [(eps, mark, mine) for mark, all_ in rows if len(all_) for eps, mine in all_.groupby("eps")]
        for eps, mark, mine in sorted(each, key=lambda one: one[0]):
            by = {method: part.set_index("seed") for method, part in mine.groupby("method")}
            repairs.append(Repairs(attack, eps, mark, by, mine))
    return repairs


@or_nothing
def sensitivity_eps(found: list[Result], label: str, base: Sequence[Result] = ()) -> Markdown:
    """RQ3's repair at several strengths of the attacks. base: RQ3's results, at the eps that is found."""
    table = []
    for name in names(found):
        for one in repairs_by_eps(found, name, base):
            row = {"setting": TITLES[name], "attack": ATTACK_TITLES[one.attack]}
            row |= {"eps (of 255)": f"{255 * one.eps:.1f}{one.mark}", "left (%)": interval(one.by["nss"]["left"])}
            for measure in ("ra", "raa"):
                row[f"{measure.upper()} (%)"] = interval(one.by["nss"][measure])
                row[f"full training ahead, {measure.upper()}"] = _points(one.ahead(measure))
            distance = _distance(one.rows, 5, ("RA", "RAA"), attack=one.attack, setting=name)
            table.append(row | {"distance (points)": tenths(distance)})
    base = _beside(base, found)
    caption = "Repair after attacks of several strengths: NeuSemSlice's RA and RAA, and how far full training is ahead."
    note = (
        "Left: the accuracy before the repair on the images to repair with. The distance is that of RA and RAA from "
        f"Table 5, on average over the methods; ≈ where a difference cannot be told.{without_paper(found)}"
    )
    return fragments.table(pd.DataFrame(table), label, caption, [*base, *found], texts=3, note=note)


def _beside(base, found: list[Result]) -> list[Result]:
    """Of this book's own results those of the same settings and presets."""
    same = {(one.setting, one.preset) for one in found}
    return [one for one in base if (one.setting, one.preset) in same]


def _attacked(found, setting: str, attack: str) -> pd.DataFrame:
    """The repairs of one setting after one attack, with the attack's eps and what it left."""
    attacks, repairs = (results.frame(found, kind) for kind in ("attacks", "repairs"))
    if repairs.empty:
        return repairs
    keys = ["setting", "seed", "attack"] + ["eps"] * ("eps" in repairs)
    whole = repairs.merge(attacks[[*dict.fromkeys([*keys, "eps"]), "left"]], on=keys)
    return whole[(whole["setting"] == setting) & (whole["attack"] == attack)]


def _distance(rows: pd.DataFrame, number: int, measures: tuple[str, ...], **cell: str) -> float:
    """How far measures are from a row of the paper's Table `number`, in points, on average over the methods that it
    has; NaN where it lacks the setting."""
    means = 100 * rows.groupby("method")[[measure.lower() for measure in measures]].mean()
    apart = [
        abs(ours - paper_value(number, measure=measure, method=method, **cell))
        for measure in measures for method, ours in means[measure.lower()].items()
    ]  # fmt: skip
    return float(pd.Series(apart).mean())


@dataclass(frozen=True)
class Mix:
    """RQ4's methods with one way to mix in what is replayed, and one half of the classes as task A."""

    task_a: str
    mix: str
    by: dict[str, pd.DataFrame]  # accuracy on tasks a and b, a row a network, by method
    rows: pd.DataFrame

    @property
    def lead(self) -> pd.Series:
        """NeuSemSlice's over the better of Replay 5% and 10%, on average over both tasks, a value a network."""
        averages = {method: part.mean(axis=1) for method, part in self.by.items()}
        return averages["nss"] - averages[max(REPLAYS[:2], key=lambda method: averages[method].mean())]


def mixes(found: list[Result], setting: str, base: Sequence[Result] = ()) -> list[Mix]:
    """One setting's ways to mix. base: RQ4's results, whose replayed images come shuffled among the new ones."""
    ours = results.frame(_beside(base, found), "methods").assign(mix=f"shuffled{OURS}")
    rows = pd.concat([ours, results.frame(found, "methods")])
    made = []
    for (which, mix), mine in rows[rows["setting"] == setting].groupby(["task_a", "mix"], sort=False):
        by = {method: part.set_index("seed")[["a", "b"]] for method, part in mine.groupby("method")}
        made.append(Mix(which, mix, by, mine))
    return made


@or_nothing
def sensitivity_mix(found: list[Result], label: str, base: Sequence[Result] = ()) -> Markdown:
    """RQ4 with replayed images mixed in otherwise, and with either half of the classes as task A. base: RQ4's
    results."""
    table = []
    for name in names(found):
        for one in mixes(found, name, base):
            row = {"setting": TITLES[name], "task A": f"{one.task_a} five", "replayed images come": one.mix}
            for method, title in (("replay10", "Replay 10%"), ("nss+replay10", "NeuSemSlice + Replay 10%")):
                row |= {f"{title}, {task.upper()}": interval(one.by[method][task]) for task in ("a", "b")}
            row["lead (points)"] = _points(one.lead)
            distance = _distance(one.rows, 6, ("A", "B"), setting=name)
            table.append(row | {"distance (points)": tenths(distance)})
    base = _beside(base, found)
    caption = "Accuracy (%) on both tasks by which is first and how replayed images are mixed in."
    note = (
        "The lead is NeuSemSlice's over the better of Replay 5% and 10%, on average over both tasks. The distance is "
        f"that from Table 6, on average over methods and tasks; ≈ where it cannot be told.{without_paper(found)}"
    )
    return fragments.table(pd.DataFrame(table), label, caption, [*base, *found], texts=3, note=note)


def _points(values: pd.Series) -> str:
    return marked(f"{100 * values.mean():+.2f}", told_apart(values))
