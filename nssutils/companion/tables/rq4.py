"""RQ4's tables (Section 5.5, Table 6): two tasks one after the other, and who is told which."""

import pandas as pd
from IPython.display import Markdown

from nssutils import settings
from nssutils.companion import fragments, results
from nssutils.companion.fragments import TITLES, beside_paper, paper_table, paper_value
from nssutils.companion.results import Result
from nssutils.companion.tables.common import (
    groups,
    interval,
    lacking,
    names,
    or_nothing,
    printed,
    printed_cell,
    with_slips,
    without_paper,
)  # fmt: skip

METHOD_TITLES = {
    "original": "Original",
    "retrain": "Retrain",
    "replay5": "Replay 5%",
    "replay10": "Replay 10%",
    "replay100": "Replay 100%",
    "deeparc": "DeepArc",
    "nss": "NeuSemSlice",
    "nss+replay10": "NeuSemSlice + Replay 10%",
    "random": "a random slice instead",
}


def nearer(found: list[Result], setting: str) -> str:
    """Which half of the classes, as task A, fits the paper's Table 6 better in one setting: by what its first two rows
    say of the classes themselves, task A's accuracy before and task B's after plain retraining. The first that was
    measured for a setting that the paper lacks."""
    rows = [row for result in found if result.setting == setting for row in result.tables["methods"]]
    halves = dict.fromkeys(row["task_a"] for row in rows)
    if setting not in settings.NAMES:
        return next(iter(halves))

    def apart(task_a: str, method: str, column: str, measure: str) -> float:
        ours = [row[column] for row in rows if (row["task_a"], row["method"]) == (task_a, method)]
        return abs(100 * sum(ours) / len(ours) - paper_value(6, method=method, setting=setting, measure=measure))

    return min(
        halves,
        key=lambda task_a: apart(task_a, "original", "a", "A") + apart(task_a, "retrain", "b", "B"),
    )


@or_nothing
def table6(found: list[Result], label: str, which: str = "nearer") -> Markdown:
    """Accuracy on both tasks and their average, beside the paper's Table 6.

    which: "nearer" shows for each setting the half of the classes as task A that fits the paper better, with the
    paper's numbers beside; "other" shows the other half, without them. Of a setting that the paper lacks the nearer is
    the first.
    """
    rows, table, shown = results.frame(found, "methods"), [], []
    for name, group in groups(found).items():
        before = len(table)
        mine = rows[rows["setting"] == name]
        for task_a in mine["task_a"].unique():
            if (task_a == nearer(found, name)) != (which == "nearer"):
                continue
            for method, title in METHOD_TITLES.items():
                one = mine[(mine["task_a"] == task_a) & (mine["method"] == method)]
                columns = {"A": one["a"], "B": one["b"], "Avg": (one["a"] + one["b"]) / 2}
                cells = {}
                for measure, values in columns.items():
                    theirs = printed_cell(group, 6, method=method, setting=name, measure=measure)
                    cells[f"task {measure}".replace("task Avg", "average")] = beside_paper(
                        interval(values), theirs if which == "nearer" else None
                    )
                table.append({"setting": f"{TITLES[name]}, A = {task_a} five", "method": title} | cells)
        shown += group if len(table) > before else []
    if not table:
        return fragments.nothing(label, "Only one half of the classes was taken as task A.")
    caption = "Accuracy (%) on both tasks after learning task B, as the paper measures it."
    note = "NeuSemSlice is told when task A is asked for, and then reads it through its mask."
    if lacking(found):
        note += f"{without_paper(found)} Of these the half that was measured first is shown."
    if which == "other":
        caption = "The same with the other five classes as task A."
    caption = with_slips(caption, table)
    return fragments.table(pd.DataFrame(table), label, caption, shown, texts=2, note=note, best=("average",))


@or_nothing
def rq4_fairness(found: list[Result], label: str) -> Markdown:
    """Both tasks' accuracy with every method told the task, and with none told."""
    rows, table = results.frame(found, "methods"), []
    for name in names(found):
        mine = rows[(rows["setting"] == name) & (rows["task_a"] == nearer(found, name))]
        for method, title in METHOD_TITLES.items():
            one, cells = mine[mine["method"] == method], {}
            for know in ("told", "untold"):
                a, b = one[f"a_{know}"], one[f"b_{know}"]
                cells |= {
                    f"A, {know}": interval(a),
                    f"B, {know}": interval(b),
                    f"average, {know}": interval((a + b) / 2),
                }
            table.append({"setting": TITLES[name], "method": title} | cells)
    caption = "Accuracy (%) with equal knowledge: every method told which task is asked for, or none."
    note = (
        "Told: only the logits of the task asked for compete, and NeuSemSlice reads task A through its mask. Untold: "
        "all ten compete, and no mask is used."
    )
    best = ("average, told", "average, untold")
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note, best=best)


@or_nothing
def rq4_costs(found: list[Result], label: str) -> Markdown:
    """What each method trains, stores and how long it takes, relative to Replay 100%."""
    rows, table = results.frame(found, "methods"), []
    for name in names(found):
        mine = rows[(rows["setting"] == name) & (rows["task_a"] == nearer(found, name))]
        whole = mine[mine["method"] == "replay100"].set_index("seed")["seconds"]
        for method, title in METHOD_TITLES.items():
            one = mine[mine["method"] == method]
            if one.empty or method == "original":
                continue
            table.append(
                {
                    "setting": TITLES[name],
                    "method": title,
                    "trained (%)": f"{100 * one['trained'].mean():.1f}",
                    "images kept": f"{one['images'].mean():,.0f}",
                    "kept (KiB)": f"{one['stored'].mean() / 1024:,.1f}",
                    "time, of Replay 100%": f"{(one.set_index('seed')['seconds'] / whole).median():.2f}",
                }
            )
    caption = "Cost of learning task B: parameters trained, what is kept of task A, and time."
    note = (
        "Kept are images, at a byte a pixel and channel, or the slice's file. Time is relative to Replay 100%, at "
        "equal epochs, the median over seeds."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)


@or_nothing
def rq4_summary(found: list[Result], label: str) -> Markdown:
    """The averages of Section 5.5 over settings: the paper's table at the settings shown, and ours."""
    paper = paper_table(6)
    paper = paper[paper["setting"].isin(names(found))].assign(value=lambda t: pd.to_numeric(t["value"]))
    theirs = paper.pivot_table(index="method", columns="measure", values="value")
    theirs = theirs.reindex(index=list(METHOD_TITLES), columns=["A", "B"])  # NaN where the paper has none
    rows = results.frame(found, "methods")
    rows = rows[rows["task_a"] == rows["setting"].map({name: nearer(found, name) for name in names(found)})]
    means = rows.groupby(["method", "setting"])[["a", "b", "a_told", "b_told"]].mean() * 100
    ours, table = means.groupby("method").mean(), []
    for method, title in METHOD_TITLES.items():
        if method in ("original", "deeparc") or method not in ours.index:  # DeepArc has no value in some settings
            continue
        one = ours.loc[method]
        loss = ours.loc["original", "a"] - one["a"]
        told = ours.loc["original", "a_told"] - one["a_told"]
        printed_loss = theirs.at["original", "A"] - theirs.at[method, "A"]
        table.append(
            {
                "method": title,
                "lost on task A (points)": beside_paper(f"{loss:.2f}", printed(found, printed_loss)),
                "average of A and B": beside_paper(
                    f"{(one['a'] + one['b']) / 2:.2f}", printed(found, theirs.loc[method].mean(skipna=False))
                ),
                "lost on task A, all told": f"{told:.2f}",
                "average, all told": f"{(one['a_told'] + one['b_told']) / 2:.2f}",
            }
        )
    caption = "Both tasks on average over the settings shown; on the right every method is told the task."
    note = (
        "The paper's are from its Table 6 for the same settings. DeepArc has no row: where it finds no redundant "
        f"layer, as the paper on the MLPs, there is nothing to average.{without_paper(found)}"
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, note=note)
