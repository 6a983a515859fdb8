"""NNSlicer's tables: its three applications, and whether the claims of its abstract hold here."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from IPython.display import Markdown
from scipy import stats

from nssutils.companion import fragments, results
from nssutils.companion.fragments import TITLES
from nssutils.companion.results import Result
from nssutils.companion.tables.common import interval, names, or_nothing

FEATURE_TITLES = {"nnslicer": "NNSlicer", "feature maps": "feature maps", "confidence": "confidence"}
ATTACK_TITLES = {"fgsm": "FGSM", "pgd": "PGD", "pgd-l2": "PGD (L2), unseen"}
PRUNING_TITLES = {"nnslicer": "NNSlicer", "semantic": "semantic slicing", "magnitude": "magnitude"}
HIDING_TITLES = {"nnslicer": "NNSlicer", "magnitude": "magnitude", "random": "random"}


@or_nothing
def nnslicer_base(found: list[Result], label: str) -> Markdown:
    """The networks, how large the slice of one image is, and how long it takes."""
    table = []
    for name in names(found):
        group = [result for result in found if result.setting == name]
        base, sizes, seconds = (results.frame(group, which) for which in ("base", "sizes", "seconds"))
        table.append(
            {
                "setting": TITLES[name],
                "accuracy (%)": interval(base["accuracy"]),
                "neurons in a slice (%)": interval(sizes[sizes["what"] == "neurons"]["share"]),
                "synapses (%)": interval(sizes[sizes["what"] == "synapses"]["share"]),
                "time (ms)": f"{1000 * seconds[seconds['what'] == 'slice of one image']['seconds'].median():.1f}",
            }
        )
    caption = "The networks, and the slice of one test image: its share of the neurons and synapses, and what it takes."
    return fragments.table(pd.DataFrame(table), label, caption, found)


@or_nothing
def nnslicer_detection(found: list[Result], label: str, measure: str = "auc") -> Markdown:
    """One measure (auc, precision or recall) of every detector on every attack."""
    rows, attacks, table = results.frame(found, "detection"), results.frame(found, "attacks"), []
    for name in names(found):
        mine, theirs = (frame[frame["setting"] == name] for frame in (rows, attacks))
        for (attack, strength), group in theirs.groupby(["attack", "strength"], sort=False):
            row = {"setting": TITLES[name], "attack": f"{ATTACK_TITLES[attack]}, {strength}"}
            row |= {"accuracy left (%)": interval(group["left"])}
            here = mine[(mine["attack"] == attack) & (mine["strength"] == strength)]
            row |= {title: interval(here[here["features"] == kind][measure]) for kind, title in FEATURE_TITLES.items()}
            table.append(row)
    what = {"auc": "Area under the ROC curve", "precision": "Precision", "recall": "Recall"}[measure]
    caption = f"{what} (%) of detectors of adversarial images, by what they see; chance is 50."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2)


@or_nothing
def nnslicer_pruning(found: list[Result], label: str) -> Markdown:
    """Accuracy on the chosen classes at equal size, averaged over two to five of them."""
    rows, table = results.frame(found, "pruning"), []
    for name in names(found):
        mine = rows[rows["setting"] == name]
        for (level, at), group in mine.groupby(["level", "at"], sort=False):
            mean = group.groupby(["method", "seed"])["accuracy"].mean()
            row = {"setting": TITLES[name], "pruned": f"{level}, {'theta' if level == 'neurons' else 'kept'} {at:g}"}
            row |= {"compression (%)": interval(group.groupby("seed")["compression_rate"].mean())}
            for method, title in PRUNING_TITLES.items():
                row[title] = interval(mean[method]) if method in mean else "–"
            table.append(row)
    caption = (
        "Accuracy (%) on the chosen classes among themselves, mean over 2, 3, 4 and 5 classes. Neurons: as many of "
        "each layer as the semantic slice at theta keeps; synapses: the same share of every layer's weights."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2)


@or_nothing
def nnslicer_protection(found: list[Result], label: str) -> Markdown:
    """Accuracy that an attacker regains, by what was hidden."""
    rows, table = results.frame(found, "protection"), []
    for name in names(found):
        mine = rows[rows["setting"] == name]
        for hidden in sorted(mine["hidden"].unique()):
            here = mine[mine["hidden"] == hidden].set_index("method")
            row = {"setting": TITLES[name], "hidden": f"{hidden:.0%}"}
            if hidden == 1:
                row |= {f"{title}, regained": "" for title in HIDING_TITLES.values()}
                row |= {"hidden": "everything", "NNSlicer, regained": interval(here.loc[["everything"], "regained"])}
            else:
                for method, title in HIDING_TITLES.items():
                    row[f"{title}, before"] = interval(here.loc[[method], "before"])
                    row[f"{title}, regained"] = interval(here.loc[[method], "regained"])
            table.append(row)
    columns = ["setting", "hidden"]
    columns += [f"{title}, {when}" for when in ("before", "regained") for title in HIDING_TITLES.values()]
    caption = (
        "Accuracy (%) of the stolen network, with zeros for the hidden weights (before) and after the attacker's "
        "training (regained). Lower protects better; the last row is training from nothing, whatever was hidden."
    )
    return fragments.table(pd.DataFrame(table)[columns].fillna(""), label, caption, found, texts=2)


def advantages(group: list[Result]) -> pd.DataFrame:
    """NNSlicer's lead over each baseline, seed by seed: columns claim, baseline, seed, lead (positive: NNSlicer is
    better), averaged over attacks, or over classes and sizes, or over hidden shares."""
    parts = []
    rows = results.frame(group, "detection").rename(columns={"features": "method", "auc": "value"})
    parts.append(_leads(rows, "detection, known attacks", rows["attack"] != "pgd-l2"))
    parts.append(_leads(rows, "detection, unseen attack", rows["attack"] == "pgd-l2"))
    rows = results.frame(group, "pruning").rename(columns={"accuracy": "value"})
    parts += [_leads(rows, f"pruning of {level}", rows["level"] == level) for level in ("synapses", "neurons")]
    rows = results.frame(group, "protection").assign(value=lambda frame: -frame["regained"])
    parts.append(_leads(rows, "protection", rows["method"] != "everything"))
    return pd.concat(parts, ignore_index=True)


def _leads(rows: pd.DataFrame, claim: str, chosen: pd.Series) -> pd.DataFrame:
    mean = rows[chosen].groupby(["method", "seed"], sort=False)["value"].mean().unstack("seed")
    if "nnslicer" not in mean.index:  # as where an attack fooled no image
        return pd.DataFrame(columns=["claim", "baseline", "seed", "lead"])
    leads = (mean.loc["nnslicer"] - mean.drop(index="nnslicer")).stack().rename("lead").reset_index()
    return leads.rename(columns={"method": "baseline"}).assign(claim=claim)


def verdict(leads: pd.Series) -> str:
    """What leads over seeds say: "better", "worse" or "level" by whether their 95% interval is clear of zero; below
    three seeds the sign alone, with a question mark."""
    if len(leads) < 3:
        return "better?" if leads.mean() > 0 else "worse?"
    if leads.std() == 0:
        return "level" if leads.mean() == 0 else "better" if leads.mean() > 0 else "worse"
    half = stats.t.ppf(0.975, len(leads) - 1) * leads.std() / np.sqrt(len(leads))
    return "level" if abs(leads.mean()) <= half else "better" if leads.mean() > 0 else "worse"


@or_nothing
def nnslicer_claims(found: list[Result], label: str) -> Markdown:
    """The three claims of the abstract: NNSlicer's mean lead over each baseline in points, and what that says."""
    titles: Mapping[str, str] = FEATURE_TITLES | PRUNING_TITLES | HIDING_TITLES
    table = []
    for name in names(found):
        leads = advantages([result for result in found if result.setting == name])
        for (claim, baseline), rows in leads.groupby(["claim", "baseline"], sort=False):
            values = rows["lead"].astype(float)
            row = {"setting": TITLES[name], "application": claim, "against": titles[baseline]}
            table.append(row | {"lead (points)": interval(values), "NNSlicer is": verdict(values)})
    caption = (
        "NNSlicer's lead over each baseline, averaged over attacks, sizes or shares: area under the ROC curve, "
        "accuracy kept, accuracy the attacker does not regain. Better or worse: the 95% interval is clear of zero."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=3)
