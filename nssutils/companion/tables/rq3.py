"""RQ3's tables (Section 5.4, Table 5): repair after an attack, and what RA does not say."""

import pandas as pd
from IPython.display import Markdown

from nssutils.companion import fragments, results
from nssutils.companion.fragments import TITLES, beside_paper, paper_number, paper_table
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
    "full": "full training", "deeparc": "DeepArc", "nss": "NeuSemSlice", "nss+deeparc": "NeuSemSlice + DeepArc",
}  # fmt: skip
ATTACK_TITLES = {"fgsm": "FGSM", "pgd": "PGD"}
SHOWN = (1, 2, 5, 10, 20)  # epochs at which the course of RA is shown


@or_nothing
def rq3_attacks(found: list[Result], label: str) -> Markdown:
    """The eps of each attack and the accuracy it leaves before the repair."""
    rows, table = results.frame(found, "attacks"), []
    for name in names(found):
        for attack, title in ATTACK_TITLES.items():
            mine = rows[(rows["setting"] == name) & (rows["attack"] == attack)]
            average = f"{paper_number(f'rq3-{attack}-accuracy-before-repair'):g} on average"
            theirs = None if name in lacking(found) else average
            table.append(
                {
                    "setting": TITLES[name],
                    "attack": title,
                    "eps (of 255)": f"{255 * mine['eps'].mean():.2f}",
                    "left, images to repair with (%)": beside_paper(interval(mine["left"]), theirs),
                    "left, test images (%)": interval(mine["robust"]),
                }
            )
    caption = "Accuracy left by each attack before the repair; eps is found on the first seed's network, then held."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2)


@or_nothing
def table5(found: list[Result], label: str) -> Markdown:
    """TPR, RA and RAA of the four methods under both attacks, beside the paper's Table 5."""
    rows, table = results.frame(found, "repairs"), []
    for name, group in groups(found).items():
        for attack, attacked in ATTACK_TITLES.items():
            for method, title in METHOD_TITLES.items():
                mine = _of(rows, name, attack, method)
                cells = {
                    measure: beside_paper(
                        interval(mine[measure.lower()]),
                        printed_cell(group, 5, attack=attack, method=method, setting=name, measure=measure),
                    )
                    for measure in ("TPR", "RA", "RAA")
                }
                table.append({"setting": TITLES[name], "attack": attacked, "method": title} | cells)
    caption = (
        "Repair in four ways (%): parameters trained (TPR), accuracy on these adversarials (RA) and on new ones (RAA)."
    )
    note = f"The new ones are made of test images, against the repaired network.{without_paper(found)}"
    caption = with_slips(caption, table)
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=3, note=note, best=("RA", "RAA"))


@or_nothing
def rq3_beyond(found: list[Result], label: str) -> Markdown:
    """What the repair does to clean and to unseen adversarial test images, what it costs, and the rate chosen."""
    rows, base, attacks, times = (results.frame(found, kind) for kind in ("repairs", "base", "attacks", "times"))
    table = []
    for name in names(found):
        whole = base[base["setting"] == name]
        for attack, attacked in ATTACK_TITLES.items():
            before = attacks[(attacks["setting"] == name) & (attacks["attack"] == attack)]
            first = {"setting": TITLES[name], "attack": attacked}
            table.append(
                first
                | {"method": "before the repair", "clean": interval(whole["accuracy"])}
                | {"adversarial, not trained on": interval(before["robust"]), "time": "–", "learning rate": "–"}
            )
            for method, title in METHOD_TITLES.items():
                mine = _of(rows, name, attack, method)
                time = times_of_full(times[times["setting"] == name], method)
                rates = sorted({f"{lr:g}" for lr in mine["lr"]}, key=float)
                table.append(
                    first
                    | {"method": title, "clean": interval(mine["clean"])}
                    | {"adversarial, not trained on": interval(mine["robust"]), "time": f"{100 * time:.0f}%"}
                    | {"learning rate": ", ".join(rates)}
                )
    caption = "After the repair: accuracy (%) on clean and on unseen adversarial test images, time, and learning rate."
    note = (
        f"The adversarials are made against the network before the repair. {_timed(found)}, the mean over networks. "
        "Validation images chose the learning rate."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=3, note=note)


@or_nothing
def rq3_summary(found: list[Result], label: str) -> Markdown:
    """The averages of Section 5.4 over attacks and settings: the paper's table at the settings shown, and ours."""
    rows = results.frame(found, "repairs")
    paper = paper_table(5).assign(value=lambda t: t["value"].astype(float))
    paper = paper[paper["setting"].isin(names(found))]
    shares = {"nss": paper_number("rq3-nss-time-share"), "nss+deeparc": paper_number("rq3-combined-time-share")}
    shares = {} if paper.empty else shares
    times, table = results.frame(found, "times"), []
    for method, title in METHOD_TITLES.items():
        theirs = paper[paper["method"] == method].groupby("measure")["value"].mean()
        mine = rows[rows["method"] == method]
        ours = mine.groupby(["setting", "attack"])[["tpr", "ra", "raa", "clean", "robust"]].mean().mean()
        time = times_of_full(times, method)
        cells = {
            measure: beside_paper(f"{100 * ours[measure.lower()]:.2f}", printed(found, theirs.get(measure)))
            for measure in ("TPR", "RA", "RAA")
        }
        table.append(
            {"method": title}
            | cells
            | {"clean": f"{100 * ours['clean']:.2f}", "unseen": f"{100 * ours['robust']:.2f}"}
            | {"time": beside_paper(f"{100 * time:.1f}", f"{shares[method]:g}" if method in shares else None)}
        )
    caption = "Repair on average over both attacks and the settings shown (%)."
    note = (
        "The paper's are from its Table 5 for the same settings, its times from the text over all six. "
        f"{_timed(found)}. Unseen: adversarial test images made against the network before the repair."
        f"{without_paper(found)}"
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, note=note)


@or_nothing
def rq3_effort(found: list[Result], label: str) -> Markdown:
    """RA at one common learning rate, by the epochs of training."""
    everyone, found = names(found), [result for result in found if result.tables.get("effort")]
    rows, table = results.frame(found, "effort"), []
    if not found:
        return fragments.nothing(label, "The course of RA has not been measured yet.")
    last = rows.groupby("setting")["epoch"].max()
    epochs = [epoch for epoch in sorted(rows["epoch"].unique()) if epoch in SHOWN or epoch in set(last)]
    for name in names(found):
        for attack, attacked in ATTACK_TITLES.items():
            for method, title in METHOD_TITLES.items():
                mine = _of(rows, name, attack, method)
                row = {"setting": TITLES[name], "attack": attacked, "method": title}
                for epoch in epochs:
                    row[f"epoch {epoch}"] = interval(mine[mine["epoch"] == epoch]["ra"])
                table.append(row)
    caption = f"RA (%) after so many epochs of repair, every method at the learning rate {rows['lr'].iloc[0]:g}."
    note = (
        "The rate falls to zero over the epochs shown, which at some presets are fewer than those of the repair that "
        "the table above is of: dashes stand beyond them."
    )
    if without := [TITLES[name] for name in everyone if name not in names(found)]:
        note += f" Not measured for {', '.join(without)}."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=3, note=note)


def times_of_full(times: pd.DataFrame, method: str) -> float:
    """A method's time for a step relative to full training's: the mean over settings of the means over networks."""
    by_method = times.groupby(["setting", "seed", "method"])["seconds"].mean().unstack("method")
    return float((by_method[method] / by_method["full"]).groupby("setting").mean().mean())


def _timed(found: list[Result]) -> str:
    """What a time is of, for a note."""
    whole = names([one for one in found if "seconds" in one.tables["repairs"][0]])
    told = "Time is that of a step relative to full training's"
    return told + (f"; of {', '.join(TITLES[name] for name in whole)} of a whole repair, timed once" if whole else "")


def _of(rows: pd.DataFrame, setting: str, attack: str, method: str) -> pd.DataFrame:
    return rows[(rows["setting"] == setting) & (rows["attack"] == attack) & (rows["method"] == method)]
