"""NNSlicer's three applications by its own protocols: its Table 4 and Figs. 3 to 5, ours beside the paper's."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from IPython.display import Markdown

from nssutils.attacks import ATTACKS, GAPS
from nssutils.companion import fragments, results
from nssutils.companion.fragments import beside_paper, peer_numbers, peer_table
from nssutils.companion.results import Result
from nssutils.companion.tables.common import interval, or_nothing

PRINTED_FOR = "resnet10-cifar10"
FEATURES = ("synapses", "inner synapses", "synapses, all outputs", "neurons", "feature map")
BY_ATTACK = ("synapses", "synapses, all outputs", "neurons", "feature map")  # as many as a page is wide
PRINTED = {"nnslicer": "NNSlicer", "featuremap": "FeatureMap", "effectivepath": "EffectivePath"}
METHODS = {
    "nnslicer": "NNSlicer, these classes", "all classes": "NNSlicer, all classes", "weight": "weight",
    "channel": "channel", "semantic": "semantic slice", "random": "random", "everything": "everything hidden",
}  # fmt: skip
MEASURES = ("precision", "recall", "f1")
STATISTICS = ("kept", "measured again")  # of batch normalisation, once synapses are gone


@or_nothing
def nnslicer_table4(found: list[Result], label: str) -> Markdown:
    """Precision, recall and F1 of the trees on each attack, by what they see, beside NNSlicer's Table 4."""
    printed = _paper(found)
    rows, attacks = _told(found, "answer"), results.frame(found, "attacks")
    failed, table = {row["attack"] for one in found for row in one.tables["failed"]}, []
    for attack in [*ATTACKS, *GAPS]:
        mine = rows[rows["attack"] == attack] if len(rows) else rows
        row = {"attack": attack, "misled": "could not be made" if attack in failed else "–"}
        if len(mine):
            theirs = attacks[attacks["attack"] == attack]
            row["misled"] = f"{100 * theirs['misled'].sum() / theirs['images'].sum():.0f}%"
        row |= {kind: _three(mine[mine["features"] == kind]) if len(mine) else "–" for kind in BY_ATTACK}
        row |= {f"paper: {title}": _printed(printed, attack, method) for method, title in PRINTED.items()}
        table.append(row)
    average = {"attack": "average", "misled": ""} | {kind: _three(rows[rows["features"] == kind]) for kind in BY_ATTACK}
    average |= {f"paper: {title}": _printed(printed, "Average", method) for method, title in PRINTED.items()}
    always = dict.fromkeys(average, "0.50 / 1.00 / 0.67") | {"attack": "always yes", "misled": ""}
    caption = "Precision / recall / F1 of trees that tell adversarial images by their slices, by what they see."
    note = (
        "Misled: the share of the images that an attack makes mislead. Attacks without ours are not in foolbox 3; "
        "those without the paper's are not among its seventeen, and each average is over its own column's. Where "
        "nothing is called adversarial, precision counts as 0. Last, what a detector has that always says yes."
    )
    return fragments.table(pd.DataFrame([*table, average, always]), label, caption, found, note=note)


def _paper(found: Sequence[Result]) -> pd.DataFrame:
    """The paper's Table 4 by attack, measure and method; nothing of it where there is nothing to compare with."""
    printed = peer_table("nnslicer_table4").pivot(index="attack", columns="method", values=list(MEASURES)).astype(float)
    return printed if _its_network(found) else printed.iloc[:0]


def _told(found: Sequence[Result], against: str) -> pd.DataFrame:
    rows = results.frame(found, "detection")
    return rows[rows["against"] == against] if len(rows) else rows


@or_nothing
def nnslicer_readings(found: list[Result], label: str) -> Markdown:
    """What the trees tell on average over the attacks, held against the network's answer or the image's label."""
    by_answer, by_label = _told(found, "answer"), _told(found, "label")
    table = [
        {"what the tree sees": kind}
        | {"against the network's answer": _three(by_answer[by_answer["features"] == kind])}
        | {"against the image's label": _three(by_label[by_label["features"] == kind])}
        for kind in FEATURES
    ]
    for method, title in PRINTED.items():
        average = _printed(_paper(found), "Average", method)
        table.append({"what the tree sees": f"paper: {title}", "against the network's answer": average})
    caption = "Precision / recall / F1 on average over the attacks, by what the tree's class is held against."
    note = "The paper says that it is the network's answer. The label is that of the image before the attack."
    return fragments.table(pd.DataFrame(table).fillna(""), label, caption, found, note=note)


def _three(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "–"
    means = rows.groupby("seed")[list(MEASURES)].mean().mean()
    return " / ".join(f"{means[measure]:.2f}" for measure in MEASURES)


def _printed(printed: pd.DataFrame, attack: str, method: str) -> str:
    if attack not in printed.index:
        return "–"
    return " / ".join(f"{printed.loc[attack, (measure, method)]:.2f}" for measure in MEASURES)


@or_nothing
def nnslicer_trees(found: list[Result], label: str) -> Markdown:
    """How large the trees are, and how often they take a normal test image for another class."""
    rows, table = results.frame(found, "trees"), []
    for kind in filter(set(rows["features"]).__contains__, FEATURES):
        mine = rows[rows["features"] == kind]
        table.append(
            {"what the tree sees": kind, "learned from": f"{mine['normal'].iloc[0]:,} images"}
            | {"nodes": f"{mine['nodes'].mean():.0f}", "normal images called adversarial (%)": interval(mine["wrong"])}
        )
    caption = "The trees: how large they are, and how many normal test images they take for another class."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2)


@or_nothing
def nnslicer_pruned(found: list[Result], label: str) -> Markdown:
    """NNSlicer's Fig. 3 at the shares that its text speaks of: accuracy on subsets of classes."""
    printed, table = peer_numbers("nnslicer"), []
    for share in (0.3, 0.5, 0.55, 0.8):
        for method in ("nnslicer", "all classes", "weight", "channel"):
            row = {"pruned": f"{100 * share:.0f}%", "method": METHODS[method]}
            for statistics in STATISTICS:
                row[f"statistics {statistics}"] = interval(_pruned(found, method, statistics, share))
            value = _comparable(found, printed.get(f"nnslicer-pruned-{100 * share:.0f}-{method}"))
            if not _pruned(found, method, "kept", share).empty:
                table.append(row | {"paper": value or "–"})
    rows = numbered(found)
    for _, mine in rows[rows["method"] == "semantic"].groupby("at"):
        row = {"pruned": f"{100 * mine['share'].mean():.0f}%", "method": METHODS["semantic"]}
        row |= {f"statistics {statistics}": interval(_by_seed(mine, statistics)) for statistics in STATISTICS}
        table.append(row | {"paper": "–"})
    caption = "Accuracy (%) on the chosen classes, pruned, nothing trained, by the statistics of batch normalisation."
    note = (
        "The answer is any of the ten classes; a share of every layer's synapses is pruned; on average over subsets of "
        "two to ten classes. A semantic slice has its own size in every layer: a row for each theta, by how much goes "
        "on average. The paper's are read off its Fig. 3."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)


def numbered(found: Sequence[Result]) -> pd.DataFrame:
    """What is pruned; `at` counts the shares of a subset and method. A semantic slice's follow from its thetas."""
    rows = results.frame(found, "pruned")
    order = ["seed", "classes", "method", "statistics"]
    return rows.assign(at=rows.groupby(order, sort=False).cumcount())


def _pruned(found: Sequence[Result], method: str, statistics: str, share: float) -> pd.Series:
    """Accuracy of each network, on average over the subsets."""
    rows = results.frame(found, "pruned")
    return _by_seed(rows[(rows["method"] == method) & np.isclose(rows["share"], share)], statistics)


@or_nothing
def nnslicer_tuned(found: list[Result], label: str) -> Markdown:
    """NNSlicer's Fig. 4: accuracy on three classes after an epoch on images of them."""
    rows, printed, table = results.frame(found, "tuned"), peer_numbers("nnslicer"), []
    for share in sorted(rows["share"].unique()):
        for method in ("nnslicer", "all classes", "weight"):
            mine = rows[(rows["method"] == method) & (rows["share"] == share)]
            value = printed.get(f"nnslicer-tuned-{100 * share:.0f}-{method}")
            row = {"pruned": f"{100 * share:.0f}%", "method": METHODS[method], "before": interval(mine["before"])}
            table.append(row | {"after": beside_paper(interval(mine["accuracy"]), _comparable(found, value))})
    caption = "Accuracy (%) on classes 0, 1 and 5, pruned, before and after an epoch on images of these classes."
    note = "A share of every layer's synapses is pruned. The paper's are read off its Fig. 4."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)


@or_nothing
def nnslicer_rules(found: list[Result], label: str) -> Markdown:
    """Pruning for chosen classes by each reading of NNSlicer's rules, beside pruning by weight."""
    rows, zeros = results.frame(found, "pruned"), results.frame(found, "zeros")
    reading, table = ["method", "unit", "theta", "summed"], []
    for (method, unit, theta, summed), mine in rows.groupby(reading, sort=False):
        none = zeros[(zeros["unit"] == unit) & (zeros["theta"] == theta) & (zeros["summed"] == summed)]
        by_weight = method == "weight"
        row = {"neuron": METHODS["weight"] if by_weight else unit, "theta": "–" if by_weight else f"{theta:g}"}
        row["summed"] = summed or "–"
        row["contribute nothing"] = interval(none.groupby("seed")["share"].mean())
        for statistics in STATISTICS:
            means = _by_seed(mine, statistics)
            row[f"statistics {statistics}"] = interval(means)
        table.append(row)
    kept, again = ([one.mean() > 0 for one in rules_against_weight(found, each)] for each in STATISTICS)
    caption = (
        f"Accuracy (%) on chosen classes by reading of the rules: {sum(kept)} of {len(kept)} keep more on average than "
        f"by weight with the network's statistics, {sum(again)} with statistics measured again."
    )
    share = found[0].readings.get("share", 0.5)
    note = (
        f"{100 * share:.0f}% of every layer's synapses go, nothing is trained. The answer is any of the ten classes, "
        "on average over subsets of two to ten. Summed over images is what each gives to a synapse with its sign, or "
        "its size. Contribute nothing: the share of synapses (%) whose sum is zero; among these the smaller weight "
        "goes first."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=3, note=note)


def rules_against_weight(found: list[Result], statistics: str) -> list[pd.Series]:
    """For each reading of the rules, the accuracy that it keeps above pruning by weight, a value a network."""
    rows = results.frame(found, "pruned")
    by_weight = _by_seed(rows[rows["method"] == "weight"], statistics)
    readings = rows[rows["method"] != "weight"].groupby(["method", "unit", "theta", "summed"], sort=False)
    return [_by_seed(mine, statistics) - by_weight for _, mine in readings]


def _by_seed(rows: pd.DataFrame, statistics: str) -> pd.Series:
    """Accuracy of each network, on average over the subsets, by these statistics."""
    return rows[rows["statistics"] == statistics].groupby("seed")["accuracy"].mean()


@or_nothing
def nnslicer_protected(found: list[Result], label: str) -> Markdown:
    """NNSlicer's Fig. 5: what an attacker regains when half of the synapses are hidden."""
    rows, printed, table = results.frame(found, "protection"), peer_numbers("nnslicer"), []
    sizes = sorted(rows["images"].unique())
    for method in ("nnslicer", "all classes", "weight", "random", "everything"):
        row = {"hidden": METHODS[method]}
        for size, extent in zip(sizes, ("fewest", "most"), strict=True):
            mine = rows[(rows["method"] == method) & (rows["images"] == size)]
            value = printed.get(f"nnslicer-protected-{extent}-{method}")
            row[f"target, {size:,} images"] = beside_paper(interval(mine["target"]), _comparable(found, value))
            row[f"all, {size:,} images"] = interval(mine["accuracy"])
        table.append(row)
    caption = "Accuracy (%) that an attacker regains on classes 0, 1 and 5 and on all: lower protects better."
    note = "Half of every layer's synapses are hidden. The paper's are read off its Fig. 5 (10,000 and 50,000 images)."
    return fragments.table(pd.DataFrame(table), label, caption, found, note=note)


def _comparable(found: list[Result], value: float | None) -> str | None:
    """A number as it was read off a figure, for its network; None at preset smoke, as tables.common.printed."""
    return None if value is None or not _its_network(found) else f"{value:g}"


def _its_network(found: Sequence[Result]) -> bool:
    """Whether all results are of the network that NNSlicer's paper prints numbers for, at a preset to compare."""
    return all(one.setting == PRINTED_FOR and one.preset != "smoke" for one in found)
