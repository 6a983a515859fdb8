"""The paper's own slips (data/paper/errors.yaml), each worked out again from its printed tables."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import yaml
from IPython.display import Markdown

from nssutils import settings
from nssutils.companion import fragments
from nssutils.companion.fragments import DAGGER, DATA, TITLES, paper_grid, paper_number, paper_table
from nssutils.errors import NssError

PRUNERS = ("lamp", "glob", "unif", "erk")
KINDS = {
    "slip": "one number is wrong",
    "not-reproducible": "no cells give the number",
    "contradiction": "two statements exclude each other",
    "overstatement": "the sentence claims more than the table shows",
}

Working = tuple[str, float]  # the arithmetic in words and numbers, and what it gives


class SlipError(NssError):
    """An entry of errors.yaml that no function works out, or whose value the tables do not give."""


@cache
def slips() -> list[dict]:
    """The entries of errors.yaml, each with its working. Raises SlipError where the tables give something else."""
    entries = yaml.safe_load((DATA / "paper" / "errors.yaml").read_text())
    for entry in entries:
        name = entry["id"]
        if name not in WORKINGS:
            raise SlipError(f"slip {name!r}: nothing works it out; expected one of {', '.join(WORKINGS)}.")
        entry["working"], value = WORKINGS[name]()
        if abs(value - entry["recomputed_value"]) > 0.0055:
            raise SlipError(f"slip {name!r}: the tables give {value:.4f}, expected {entry['recomputed_value']}.")
    return entries


def slips_table(label: str) -> Markdown:
    """A row for each slip: what is printed, what the tables give, and how."""
    rows = [
        {
            "where": entry["section"] if entry["section"].startswith("Table") else f"Section {entry['section']}",
            "kind": KINDS[entry["kind"]],
            "the paper": entry["printed"].strip(),
            "by its tables": f"{entry['follows'].strip()}<br><small>{entry['working']}</small>",
        }
        for entry in slips()
    ]
    caption = (
        f"Slips and contradictions in the paper's printed numbers, worked out by code. Their cells carry a {DAGGER}."
    )
    note = "The text at hand is the first version on arXiv; a later one may have mended some."
    return fragments.table(pd.DataFrame(rows), label, caption, [], texts=4, note=note)


# The workings


def kept(setting: str, pruners: tuple[str, ...] = PRUNERS) -> float:
    """The share that slicing left before Table 4's pruning, by its law: the median over pruners, since one cell is a
    misprint."""
    rates, steps = (paper_grid(4, measure).loc[setting] for measure in ("CR", "NI"))
    step = 0.90 if setting == "mlp-mnist" else 0.95
    return float(np.median([(1 - rates[f"nss+{p}"] / 100) / step ** steps[f"nss+{p}"] for p in pruners]))


def _average_of_two() -> Working:
    a, b = (paper_grid(6, task).loc["mlp-fmnist", "replay10"] for task in ("A", "B"))
    return f"({a:.2f} + {b:.2f}) / 2 = {(a + b) / 2:.2f}", (a + b) / 2


def _compression_by_the_law() -> Working:
    # Slicing left what the three other rows agree on; of the surviving weights each step prunes 5%.
    share = kept("vgg19-imagenet10", tuple(pruner for pruner in PRUNERS if pruner != "lamp"))
    steps = paper_grid(4, "NI").at["vgg19-imagenet10", "nss+lamp"]
    value = 100 * (1 - share * 0.95**steps)
    return f"1 − {share:.4f} × 0.95^{steps:.0f} = {value:.2f}%", value


def _gain_in_ra(method: str) -> Working:
    means = paper_grid(5, "RA").mean()
    gain = means[method] - means["full"]
    return f"{means[method]:.3f} − {means['full']:.3f} = {gain:.3f}", gain


def _largest_gain_in_raa() -> Working:
    raa = paper_grid(5, "RAA")
    gains = (raa["nss+deeparc"] - raa["full"]).sort_values()
    attack, setting = gains.index[-1]
    pair = raa.loc[(attack, setting), ["nss+deeparc", "full"]]
    where = f"{TITLES[setting]}, {attack.upper()}"
    return f"{where}: {pair.iloc[0]:.2f} − {pair.iloc[1]:.2f} = {gains.iloc[-1]:.2f}", gains.iloc[-1]


def _best_on_reattack() -> Working:
    raa = paper_grid(5, "RAA")
    first = raa["nss+deeparc"] >= raa.max(axis=1)
    others = "; ".join(
        f"{TITLES[setting]}, {attack.upper()}: {raa.at[(attack, setting), 'nss+deeparc']:.2f} against "
        f"{raa.loc[(attack, setting)].max():.2f}"
        for attack, setting in first.index[~first]
    )
    return f"not first: {others}", int(first.sum())


def _surpasses_all() -> Working:
    average = paper_grid(6, "Avg").drop(columns=["original", "nss+replay10"], errors="ignore")
    first = average["nss"] > average.drop(columns="nss").max(axis=1)
    others = "; ".join(
        f"{TITLES[name]}: {average.at[name, 'nss']:.2f} against {average.loc[name].max():.2f}"
        for name in first.index[~first]
    )
    return f"not first: {others}", int(first.sum())


def _settings_of_table_5() -> Working:
    count = paper_table(5)["setting"].nunique()
    return f"{count} settings", count


def _pairs(measure: str, rises: bool, without: tuple[str, ...] = ()) -> Working:
    table = paper_grid(4, measure).drop(index=list(without))
    change = pd.concat([table[f"nss+{pruner}"] - table[pruner] for pruner in PRUNERS])
    counts = [int((change > 0).sum()), int((change == 0).sum()), int((change < 0).sum())]
    text = f"{counts[0]} pairs rise, {counts[1]} stay, {counts[2]} fall, of {len(change)}"
    return text, counts[0 if rises else 2]


def _settings_with_one_slice() -> Working:
    trained, same, parts = paper_grid(5, "TPR").loc["fgsm", "nss"], 0, []
    for name in settings.NAMES:
        left = 100 * kept(name)
        same += abs(left - trained[name]) < 0.02
        parts.append(f"{left:.2f} and {trained[name]:.2f}")
    return "kept in Table 4, trained in Table 5: " + "; ".join(parts), same


def _settings_with_deeparcs_share() -> Working:
    removed = {
        "vgg16-cifar10": paper_number("rq1-deeparc-vgg16-cr"),
        "resnet101-cifar10": paper_number("rq1-deeparc-resnet101-cr"),
    }
    trained = paper_grid(5, "TPR").loc["fgsm", "deeparc"]
    pairs = [(100 - removed.get(name, 0.0), trained[name]) for name in settings.NAMES]
    text = "left by Section 5.2, trained in Table 5: " + "; ".join(f"{left:.2f} and {has:.2f}" for left, has in pairs)
    return text, sum(abs(left - has) < 0.02 for left, has in pairs)


def _metrics_that_fall() -> Working:
    table = paper_table(1)
    falls = table[table["arrow"] == "down"].groupby("metric", sort=False).size()
    return "falls: " + ", ".join(f"{metric} {count}" for metric, count in falls.items()), len(falls)


def _falls_of_table_3() -> Working:
    table = paper_table(3).pivot(index="band", columns="category", values="value")
    falls = table.diff() < 0
    ((category, band),) = falls.T.stack()[lambda cell: cell].index
    bands = list(table.index)
    pair = table.loc[[bands[bands.index(band) - 1], band], category]
    return f"category {category}: {pair.iloc[0]:.2f} → {pair.iloc[1]:.2f}", int(falls.to_numpy().sum())


WORKINGS: dict[str, Callable[[], Working]] = {
    "table6-fmnist-replay10-average": _average_of_two,
    "table4-vgg19-lamp-cr": _compression_by_the_law,
    "rq3-nss-ra-gain": lambda: _gain_in_ra("nss"),
    "rq3-combined-ra-gain": lambda: _gain_in_ra("nss+deeparc"),
    "rq3-combined-raa-gain-max": _largest_gain_in_raa,
    "rq3-combined-best-on-reattack": _best_on_reattack,
    "rq4-surpasses-all": _surpasses_all,
    "rq3-four-settings": _settings_of_table_5,
    "rq2-fewer-iterations-everywhere": lambda: _pairs("NI", rises=False),
    "rq2-accuracy-improves": lambda: _pairs("MA", rises=True, without=("vgg19-imagenet10",)),
    "rq2-rq3-same-slice": _settings_with_one_slice,
    "rq1-rq3-deeparc-share": _settings_with_deeparcs_share,
    "pilot-global-all-metrics": _metrics_that_fall,
    "table3-unmarked-fall": _falls_of_table_3,
}
