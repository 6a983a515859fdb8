"""NNSlicer's own tables: how large its slices are, what they take, and detectors that are trained on some attacks."""

import pandas as pd
from IPython.display import Markdown

from nssutils.companion import fragments, results
from nssutils.companion.fragments import TITLES, peer_numbers
from nssutils.companion.results import Result
from nssutils.companion.tables.common import groups, interval, names, or_nothing

FEATURE_TITLES = {"nnslicer": "NNSlicer", "feature maps": "feature maps", "confidence": "confidence"}
ATTACK_TITLES = {"fgsm": "FGSM", "pgd": "PGD", "pgd-l2": "PGD (L2), unseen"}


@or_nothing
def nnslicer_base(found: list[Result], label: str) -> Markdown:
    """The networks, and how large the slice of one image is."""
    table = []
    for name, group in groups(found).items():
        base, sizes = (results.frame(group, which) for which in ("base", "sizes"))
        table.append(
            {
                "setting": TITLES[name],
                "parameters": f"{base['parameters'].iloc[0]:,}",
                "accuracy (%)": interval(base["accuracy"]),
                "neurons in a slice (%)": interval(sizes[sizes["what"] == "neurons"]["share"]),
                "synapses (%)": interval(sizes[sizes["what"] == "synapses"]["share"]),
            }
        )
    caption = "The networks, and the slice of one test image: its share of the neurons and of the synapses."
    return fragments.table(pd.DataFrame(table), label, caption, found)


@or_nothing
def nnslicer_seconds(found: list[Result], label: str) -> Markdown:
    """NNSlicer's Table 3: seconds of an input, by itself and in a batch, beside the printed ones."""
    rows, table = results.frame(found, "seconds"), []
    printed = {} if found[0].preset == "smoke" else peer_numbers("nnslicer")
    for network in rows["network"].unique():
        mine, row = rows[rows["network"] == network], {"network": TITLES.get(network, "ResNet18, untrained")}
        row["parameters"] = f"{mine['parameters'].iloc[0]:,}"
        for what, title in (("single", "by itself"), ("batch", "in a batch")):
            ours = mine[mine["what"] == what]["seconds"].median()
            theirs = printed.get(f"nnslicer-seconds-{network}-{what}")
            row[f"{title} (ms)"] = f"{1000 * ours:.1f}"
            row[f"{title}, paper (ms)"] = "–" if theirs is None else f"{1000 * theirs:,.0f}"
            row[f"{title}, paper ÷ ours"] = "–" if theirs is None else f"{theirs / ours:,.0f}×"
        table.append(row)
    caption = "Time for the slice of one input: ours on one processor core, the paper's on two GPUs and sixteen cores."
    kinds = sorted({one.provenance.get("processor", one.provenance["device"]) for one in found})
    note = f"Neurons and synapses; medians, on {' and '.join(kinds)}. The paper's are from Table 3 of NNSlicer's."
    return fragments.table(pd.DataFrame(table), label, caption, found, note=note)


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
    chance = "; chance is 50" if measure != "recall" else ""
    caption = f"{what} (%) of detectors of adversarial images, by what they see{chance}."
    note = "An image is called adversarial where that is more likely than not. To call all so has a recall of 100."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note if measure != "auc" else "")
