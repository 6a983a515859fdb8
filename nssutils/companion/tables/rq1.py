"""RQ1's tables (Section 5.2)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from IPython.display import Markdown

from nssutils.companion import fragments, results
from nssutils.companion.fragments import METRIC_TITLES, TITLES, beside_paper, paper_number, percent
from nssutils.companion.intervals import marked, told_apart
from nssutils.companion.results import Result
from nssutils.companion.tables.common import METRICS, groups, interval, metrics_in, names, or_nothing, printed, right

METHODS = ("semantic", "global", "category-wise")
RATES = tuple(round(0.1 * i, 1) for i in range(1, 9))  # compression rates at which selections are compared
WIDEST = 0.5  # compression between two points of a curve, beyond which nothing is read off between them
_APART = f", or has no two points around it that are at most {100 * WIDEST:g} points of compression apart"


def at_rate(points: pd.DataFrame | list[dict], rate: float) -> float:
    """Accuracy at a compression rate, linear between the two nearest points of one curve (a frame, or its rows); NaN
    outside its range, where these points are more than WIDEST apart, and of a curve that was not measured."""
    if not len(points):
        return float("nan")
    if isinstance(points, list):  # much faster than a frame made for this
        points = {name: np.array([row[name] for row in points]) for name in ("compression_rate", "accuracy")}
    rates, which = np.unique(np.asarray(points["compression_rate"], float), return_inverse=True)
    above = np.searchsorted(rates, rate)
    if not rates[0] <= rate <= rates[-1] or rates[above] - rates[max(above - 1, 0)] > WIDEST:
        return float("nan")
    accuracy = np.bincount(which, np.asarray(points["accuracy"], float)) / np.bincount(which)
    return float(np.interp(rate, rates, accuracy))


def curve(result: Result, method: str, metric: str) -> list[dict]:
    """The points of one method and metric, as they are in a result."""
    return [row for row in result.tables["points"] if (row["method"], row["metric"]) == (method, metric)]


def accuracy_at(found: list[Result], setting: str, method: str, metric: str, rate: float) -> pd.DataFrame:
    """`at_rate` of each seed's curve: columns seed, accuracy, loss (base minus accuracy), for one setting."""
    chosen = [result for result in found if result.setting == setting]
    rows = []
    for result in chosen:
        accuracy = at_rate(curve(result, method, metric), rate)
        base = result.tables["base"][0]["accuracy"]
        rows.append({"seed": result.seed, "accuracy": accuracy, "loss": base - accuracy})
    return pd.DataFrame(rows, columns=["seed", "accuracy", "loss"])


@or_nothing
def rq1_base(found: list[Result], label: str) -> Markdown:
    """The networks behind the figure: size, data, accuracy before slicing."""
    base, table = results.frame(found, "base"), []
    for name in names(found):
        mine = base[base["setting"] == name]
        first = next(result for result in found if result.setting == name)
        shape = first.provenance["setting"]
        table.append(
            {
                "setting": TITLES[name],
                "width": f"{shape['width']:g}",
                "pixels": f"{shape['image_size']}²",
                "parameters": f"{mine['parameters'].iloc[0]:,}",
                "epochs": shape["epochs"],
                "accuracy (%)": interval(mine["accuracy"]),
                "data": f"`{first.provenance['data_sha256'][:8]}`",
            }
        )
    return fragments.table(
        pd.DataFrame(table),
        label,
        "The networks that are sliced: width 1 is the paper's; `data` begins the SHA-256 of the dataset.",
        found,
    )


@or_nothing
def rq1_rates(found: list[Result], label: str, metric: str = "taylor") -> Markdown:
    """Accuracy of the three selections at equal compression rates, by one metric."""
    table = []
    for setting in names(found):
        for method in METHODS:
            row = {"setting": TITLES[setting], "selection": method}
            for rate in RATES:
                mean = accuracy_at(found, setting, method, metric, rate)["accuracy"].mean(skipna=False)
                row[f"{rate:.0%}"] = "–" if np.isnan(mean) else f"{100 * mean:.1f}"
            table.append(row)
    caption = f"Accuracy (%) by compression with only the slice active, ranked by {METRIC_TITLES[metric]}."
    note = (
        "Means over networks, linear between the measured points; a dash where the curve of a network does not reach "
        f"a compression{_APART}."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)


@or_nothing
def rq1_leads(found: list[Result], label: str, metrics: Sequence[str] = ()) -> Markdown:
    """How far semantic selection is ahead of the better of the other two, at the rates that all three reach; by all
    metrics unless some are given."""
    table = []
    for setting, group in groups(found).items():
        for metric in metrics or metrics_in(group, "points"):
            row = {"setting": TITLES[setting], "metric": METRIC_TITLES[metric]}
            for rate in RATES:
                row[f"{rate:.0%}"] = _lead(group, metric, rate)
            table.append(row)
    caption = "Points by which semantic selection is ahead of the better of the two others, by compression."
    note = f"A dash where one of the three does not reach the compression{_APART}; ≈ where nothing can be told."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)


def lead_at(
    result: Result, metric: str, rate: float, of: Sequence[str] = METHODS[1:]
) -> tuple[float, np.ndarray | None]:  # fmt: skip
    """One network's lead of semantic selection over the best of others at a rate, and what it is on each test image
    (None where an older result does not say which were recognised); (NaN, None) out of reach."""
    curves = {method: curve(result, method, metric) for method in (METHODS[0], *of)}
    at = {method: at_rate(points, rate) for method, points in curves.items()}
    if any(np.isnan(value) for value in at.values()):
        return float("nan"), None
    rival = max(of, key=at.get)
    answers = [answers_at(result, curves[method], rate) for method in (METHODS[0], rival)]
    known = all(one is not None for one in answers)
    return at[METHODS[0]] - at[rival], np.subtract(*answers) if known else None


def answers_at(result: Result, points: list[dict], rate: float) -> np.ndarray | None:
    """Which test images are recognised at a compression rate, (N,), linear between a curve's two nearest points."""
    (base,) = result.tables["base"]
    points = sorted(points, key=lambda row: row["compression_rate"])
    above = next(i for i, row in enumerate(points) if row["compression_rate"] >= rate)
    high, low = points[above], points[max(above - 1, 0)]
    gap = high["compression_rate"] - low["compression_rate"]
    share = (rate - low["compression_rate"]) / gap if gap > 0 else 1.0
    ends = [right(result, row, base) for row in (low, high)]
    return None if ends[0] is None else (1 - share) * ends[0] + share * ends[1]


def _lead(group: list[Result], metric: str, rate: float) -> str:
    leads = [lead_at(result, metric, rate) for result in group]
    changes = [lead for lead, _ in leads]
    if any(np.isnan(change) for change in changes):
        return "–"
    told = told_apart(changes, [images for _, images in leads if images is not None])
    points = 100 * float(np.mean(changes))
    return marked(f"{points:+z.1f}" if abs(points) < 9.95 else f"{points:+.0f}", told)  # +10, not +10.0


@or_nothing
def rq1_layers(found: list[Result], label: str) -> Markdown:
    """What share of each layer the semantic slice at theta 0.95 keeps, from the first layer to the last."""
    rows, table = results.frame(found, "layers"), []
    for setting, group in groups(found).items():
        for metric in metrics_in(group, "layers"):
            mine = rows[(rows["setting"] == setting) & (rows["metric"] == metric)]
            mean = mine.groupby("layer", sort=False)["share"].mean()
            trends = [
                one["share"].reset_index(drop=True).rank().corr(pd.Series(range(len(one))))
                for _, one in mine.groupby("seed")
            ]
            table.append(
                {"setting": TITLES[setting], "metric": METRIC_TITLES[metric], "layers": len(mean)}
                | {"first (%)": percent(mean.iloc[0]), "median (%)": percent(mean.median())}
                | {"last (%)": percent(mean.iloc[-1])}
                | {"trend with depth": "–" if len(mean) < 3 else f"{np.nanmean(trends):+z.2f}"}
            )
    caption = "Share of the neurons that the semantic slice at theta 0.95 keeps, by layer."
    note = (
        "The trend is Spearman's rank correlation of a layer's share with its depth: below zero, the critical neurons "
        "get sparser."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)


@or_nothing
def rq1_sentences(found: list[Result], label: str) -> Markdown:
    """The comparisons that Section 5.2 states in words: the paper's number and ours."""
    table = []

    def add(setting: str, what: str, paper: str, ours: pd.Series) -> None:
        if setting in names(found):
            row = {"setting": TITLES[setting], "in the text": what, "paper": paper, "ours": interval(ours)}
            table.append(row)

    def loss(setting: str, metric: str, rate_id: str, loss_id: str, what: str) -> None:
        rate = paper_number(rate_id)
        ours = accuracy_at(found, setting, "semantic", metric, rate / 100)["loss"]
        add(
            setting,
            f"{METRIC_TITLES[metric]} at {rate:g}%: points lost{what}",
            f"{paper_number(loss_id):g}",
            ours,
        )

    for metric in METRICS:
        loss("mlp-mnist", metric, "rq1-mlp-mnist-cr", "rq1-mlp-mnist-loss", " (about)")
    loss("alexnet-cifar10", "taylor", "rq1-alexnet-taylor-cr", "rq1-alexnet-taylor-loss-semantic", "")
    for method, name in (("semantic", "semantic"), ("global", "global"), ("category-wise", "categorywise")):
        rate = paper_number("rq1-answer-alexnet-cr")
        ours = accuracy_at(found, "alexnet-cifar10", method, "taylor", rate / 100)["accuracy"]
        paper = f"{paper_number(f'rq1-answer-alexnet-{name}'):.2f}"
        add("alexnet-cifar10", f"Taylor, {method}, at {rate:g}%: accuracy", paper, ours)
    loss("alexnet-cifar10", "taylor", "rq1-alexnet-taylor-high-cr", "rq1-alexnet-taylor-high-cr-loss", "")
    for method, name in (("global", "global"), ("category-wise", "categorywise")):
        rate = paper_number("rq1-vgg16-deeplift-cr")
        pair = [
            accuracy_at(found, "vgg16-cifar10", m, "deeplift", rate / 100)["accuracy"] for m in ("semantic", method)
        ]
        paper = f"{paper_number(f'rq1-vgg16-deeplift-gain-{name}'):.2f}"
        what = f"DeepLIFT at about {rate:g}%: points saved against {method}"
        add("vgg16-cifar10", what, paper, pair[0] - pair[1])
    for metric in ("deeplift", "taylor"):
        loss("vgg16-cifar10", metric, "rq1-vgg16-metrics-cr", "rq1-vgg16-metrics-loss", " (at most)")
    loss("resnet101-cifar10", "ens", "rq1-resnet101-ens-cr", "rq1-resnet101-ens-loss", "")
    loss("vgg19-imagenet10", "taylor", "rq1-vgg19-taylor-cr", "rq1-vgg19-taylor-loss", "")
    if not table:
        return fragments.nothing(label, "Section 5.2 states nothing in words of the settings that have results here.")
    caption = "What Section 5.2 states in words of slices at a compression rate, in percent or points."
    note = (
        "A dash where a network has no slice as small. The claims of a loss take its largest slice there, if even that "
        "loses no more than is claimed."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)


@or_nothing
def rq1_deeparc(found: list[Result], label: str) -> Markdown:
    """DeepArc: the highest similarity of consecutive units, and what removing redundant ones costs."""
    paper = {
        ("alexnet-cifar10", "similarity"): "rq1-deeparc-alexnet-max-similarity",
        ("alexnet-cifar10", "rate", 0.95): "rq1-deeparc-alexnet-removed-share",
        ("alexnet-cifar10", "accuracy", 0.95): "rq1-deeparc-alexnet-accuracy",
        ("vgg16-cifar10", "rate", 0.99): "rq1-deeparc-vgg16-cr",
        ("vgg16-cifar10", "accuracy", 0.99): "rq1-deeparc-vgg16-accuracy",
        ("resnet101-cifar10", "rate", 0.99): "rq1-deeparc-resnet101-cr",
        ("resnet101-cifar10", "accuracy", 0.99): "rq1-deeparc-resnet101-accuracy",
        ("vgg19-imagenet10", "similarity"): "rq1-deeparc-vgg19-max-similarity",
    }
    metric = "taylor"

    def theirs(*key):
        return printed(found, paper_number(paper[key]) if key in paper else None)

    pairs, removed, table = results.frame(found, "deeparc"), results.frame(found, "removed"), []
    for setting, group in groups(found).items():
        highest = pairs[pairs["setting"] == setting].groupby("seed")["similarity"].max()
        for threshold in (0.99, 0.95):
            mine = removed[(removed["setting"] == setting) & (removed["threshold"] == threshold)]
            rate, accuracy = (interval(losing(mine)[column]) for column in ("compression_rate", "accuracy"))
            slices = slices_beside(group, mine, metric)
            table.append(
                {
                    "setting": TITLES[setting],
                    "threshold": threshold,
                    "highest similarity": beside_paper(f"{highest.mean():.3f}", theirs(setting, "similarity")),
                    "units removed, by seed": ", ".join(map(str, mine["units"])),
                    "compression (%)": beside_paper(rate, theirs(setting, "rate", threshold)),
                    "accuracy (%)": beside_paper(accuracy, theirs(setting, "accuracy", threshold)),
                    "a slice of that size (%)": interval(slices["accuracy"])
                    + " (smaller)" * bool(slices["smaller"].any()),
                }
            )
    caption = (
        "DeepArc removes units that are more similar than a threshold to the one before; beside it, "
        f"the semantic slice ({METRIC_TITLES[metric]}) of that size."
    )
    note = (
        "Nothing is retrained. The highest similarity is that of a network's most alike pair, the mean over networks. "
        "The columns after the units are means over the networks that lose one, where some do. Smaller: the largest "
        "slice, where even that is smaller than what DeepArc leaves. A dash where no network loses a unit, or one of "
        "them has no slice as small."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2, note=note)


def losing(removed: pd.DataFrame) -> pd.DataFrame:
    """Rows of the table `removed` whose network loses a unit to DeepArc; all, where none does."""
    some = removed[removed["units"] > 0]
    return removed if some.empty else some


def slices_beside(group: list[Result], removed: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A row for each network that loses a unit to DeepArc: `accuracy` of the semantic slice of the size that is left,
    or of the largest slice where even that is `smaller`; NaN where none is as small.

    removed: rows of the table `removed` at one threshold, of one setting's networks.
    """
    rates = removed[removed["units"] > 0].set_index("seed")["compression_rate"]
    rows = [no_larger(curve(one, "semantic", metric), rates[one.seed]) for one in group if one.seed in rates.index]
    return pd.DataFrame(rows, columns=["accuracy", "smaller"])


def no_larger(points: list[dict], rate: float) -> tuple[float, bool]:
    """The accuracy of a curve at a compression rate, or of its first point where that lies beyond; and which it is."""
    first = min(points, key=lambda row: row["compression_rate"])
    beyond = first["compression_rate"] > rate
    return first["accuracy"] if beyond else at_rate(points, rate), beyond


@or_nothing
def rq1_seconds(found: list[Result], label: str) -> Markdown:
    """Time to compute each metric by itself, and relative to Avg, beside the paper's on MNIST."""
    seconds = results.frame(found, "seconds")
    paper = {metric: paper_number(f"rq1-metric-seconds-{metric}") for metric in METRICS}
    table = [
        {"setting": "the paper, MNIST"}
        | {METRIC_TITLES[m]: f"{paper[m]} s ({paper[m] / paper['avg']:.1f}×)" for m in METRICS}
    ]
    for setting, group in groups(found).items():
        mean = seconds[seconds["setting"] == setting].groupby("metric")["seconds"].mean()
        shown = metrics_in(group, "seconds")
        cells = {METRIC_TITLES[m]: f"{mean[m]:.2f} s ({mean[m] / mean['avg']:.1f}×)" for m in shown}
        table.append({"setting": TITLES[setting]} | cells)
    caption = "Seconds to compute each metric by itself, for all layers and classes, and relative to Avg."
    return fragments.table(pd.DataFrame(table), label, caption, found)
