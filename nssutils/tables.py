"""Each chapter's tables: the paper's value, ours with its 95% interval, and where ours is from."""

from collections.abc import Callable, Iterator
from functools import wraps

import numpy as np
import pandas as pd
from IPython.display import Markdown

from nssutils import fragments, results, settings
from nssutils.fragments import METRIC_TITLES, TITLES, beside_paper, paper_number, paper_table, percent
from nssutils.results import Result

METRICS = tuple(METRIC_TITLES)
METHODS = ("semantic", "global", "category-wise")
# Compression rates at which the three selections are compared: those of which Section 5.2 speaks.
RATES = {
    "mlp-mnist": 0.70,
    "mlp-fmnist": 0.70,  # not in the text; the other MLP's
    "alexnet-cifar10": 0.50,
    "vgg16-cifar10": 0.10,
    "resnet101-cifar10": 0.10,
    "vgg19-imagenet10": 0.25,
}


def _printed(group: list[Result], value: float | None) -> str | None:
    """The paper's value as printed, for a cell; None at preset smoke, whose data and networks are not comparable."""
    return None if value is None or group[0].preset == "smoke" else f"{value:.2f}"


def _or_nothing(draw: Callable) -> Callable:
    """Say so in the table's place where there are no results to show."""

    @wraps(draw)
    def wrapper(found: list[Result], label: str) -> Markdown:
        if not found:
            return fragments.nothing(label, "No results to show here: none are published, or this book computed none.")
        return draw(found, label)

    return wrapper


# Pilot studies


@_or_nothing
def table1(found: list[Result], label: str) -> Markdown:
    """Accuracy after masking bands of globally ranked neurons, beside the paper's Table 1."""
    return _bands(found, label, 1, "Accuracy (%) after masking a band of the neurons ranked over the whole dataset.")


@_or_nothing
def table2(found: list[Result], label: str) -> Markdown:
    """Class-averaged accuracy after masking bands of per-class ranked neurons, beside the paper's Table 2."""
    return _bands(
        found, label, 2, "Accuracy (%), averaged over the classes, after masking a band ranked for each class."
    )


@_or_nothing
def table3(found: list[Result], label: str) -> Markdown:
    """Accuracy on four classes after masking bands ranked by DeepLIFT for each, beside the paper's Table 3."""
    paper = paper_table(3).set_index(["band", "category"])["value"]
    bands, categories = (paper.index.get_level_values(level).unique() for level in ("band", "category"))
    table = []
    for group, lead in _by_setting(found):
        rows = results.frame(group, "masking").query("metric == 'deeplift'")
        ours = results.aggregate(rows, ["band", "category"], "accuracy").set_index(["band", "category"])
        for band in bands:
            cells = {f"Category {c}": _cell(group, ours.loc[(band, c)], paper[band, c]) for c in categories}
            table.append(lead | {"masked": _band(band)} | cells)
    caption = "Accuracy (%) on single classes, neurons ranked for each by DeepLIFT."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=len(lead) + 1)


@_or_nothing
def falls(found: list[Result], label: str) -> Markdown:
    """How often masking a lower band hurts more than the band above it, by metric: theirs and ours."""
    paper, table = paper_table(2 if found[0].chapter == "pilot_categorywise" else 1), []
    for group, lead in _by_setting(found):
        rows, base = _class_means(group), results.frame(group, "base").groupby("seed")["accuracy"].mean()
        for metric in METRICS:
            printed = paper[paper["metric"] == metric]["value"]
            mine = rows[rows["metric"] == metric]
            counts = mine.groupby("seed")["accuracy"].apply(lambda values: int((np.diff(values) < 0).sum()))
            drop = mine[mine["band"] == "0-10"].set_index("seed")["accuracy"] - base
            table.append(
                lead
                | {
                    "metric": METRIC_TITLES[metric],
                    "steps": len(printed) - 1,
                    "falls, the paper": int((np.diff(printed) < 0).sum()),
                    "falls, ours, by seed": ", ".join(map(str, counts)),
                    "top band minus base (points), ours": f"{100 * drop.mean():.2f}",
                }
            )
    caption = "Steps from a band to the next lower one at which the accuracy falls although it should rise."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=len(lead) + 1)


def _bands(found: list[Result], label: str, number: int, caption: str) -> Markdown:
    paper, table = paper_table(number).set_index(["band", "metric"])["value"], []
    for group, lead in _by_setting(found):
        ours = results.aggregate(_class_means(group), ["band", "metric"], "accuracy").set_index(["band", "metric"])
        base = _interval(results.frame(group, "base").groupby("seed")["accuracy"].mean())
        table.append(lead | {"masked": "nothing"} | {METRIC_TITLES[m]: base for m in METRICS})
        for band in paper.index.get_level_values("band").unique():
            cells = {METRIC_TITLES[m]: _cell(group, ours.loc[(band, m)], paper[band, m]) for m in METRICS}
            table.append(lead | {"masked": _band(band)} | cells)
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=len(lead) + 1)


def _cell(group: list[Result], ours: pd.Series, paper: float) -> str:
    """Our mean and interval above the paper's value, which the pilot studies have for one setting only."""
    comparable = group[0].setting == "vgg16-cifar10"
    return beside_paper(percent(ours["mean"], ours["half"]), _printed(group, paper if comparable else None))


def _by_setting(found: list[Result]) -> Iterator[tuple[list[Result], dict[str, str]]]:
    """The results of each setting, and the cell that names it where there are several."""
    names = _settings(found)
    for name in names:
        group = [result for result in found if result.setting == name]
        yield group, {"setting": TITLES[name]} if len(names) > 1 else {}


def _class_means(found: list[Result]) -> pd.DataFrame:
    """The masking rows; where they are by category, averaged over the categories."""
    rows = results.frame(found, "masking")
    return rows.groupby(["seed", "metric", "band"], sort=False, as_index=False)["accuracy"].mean()


def _interval(values: pd.Series) -> str:
    """Mean and 95% interval over seeds of a share; a dash where a seed has none."""
    if values.empty or values.isna().any():
        return "–"
    row = results.aggregate(pd.DataFrame({"all": 1, "value": values}), ["all"], "value").iloc[0]
    return percent(row["mean"], row["half"])


def _band(band: str) -> str:
    low, high = band.split("-")
    return f"{low}% → {high}%"


# RQ1


def at_rate(points: pd.DataFrame, rate: float) -> float:
    """Accuracy at a compression rate, linear between the two nearest points of one curve; NaN outside its range."""
    curve = points.groupby("compression_rate")["accuracy"].mean().sort_index()
    if not curve.index[0] <= rate <= curve.index[-1]:
        return float("nan")
    return float(np.interp(rate, curve.index, curve))


def accuracy_at(found: list[Result], setting: str, method: str, metric: str, rate: float) -> pd.DataFrame:
    """`at_rate` of each seed's curve: columns seed, accuracy, loss (base minus accuracy), for one setting."""
    chosen = [result for result in found if result.setting == setting]
    rows = []
    for result in chosen:
        points = results.frame([result], "points")
        curve = points[(points["method"] == method) & (points["metric"] == metric)]
        accuracy = at_rate(curve, rate)
        base = result.tables["base"][0]["accuracy"]
        rows.append({"seed": result.seed, "accuracy": accuracy, "loss": base - accuracy})
    return pd.DataFrame(rows, columns=["seed", "accuracy", "loss"])


@_or_nothing
def rq1_base(found: list[Result], label: str) -> Markdown:
    """The networks behind the figure: size, data, accuracy before slicing."""
    base, table = results.frame(found, "base"), []
    for name in _settings(found):
        mine = base[base["setting"] == name]
        first = next(result for result in found if result.setting == name)
        shape = first.provenance["setting"]
        table.append(
            {
                "setting": TITLES[name],
                "width": f"{shape['width']:g}",
                "parameters": f"{mine['parameters'].iloc[0]:,}",
                "epochs": shape["epochs"],
                "accuracy (%)": _interval(mine["accuracy"]),
                "data": f"`{first.provenance['data_sha256'][:8]}`",
            }
        )
    return fragments.table(
        pd.DataFrame(table),
        label,
        "The networks that are sliced: width 1 is the paper's; `data` begins the SHA-256 of the dataset.",
        found,
    )


@_or_nothing
def rq1_rates(found: list[Result], label: str) -> Markdown:
    """Accuracy of the three selections at equal compression rates, for every setting and metric."""
    table = []
    for setting in _settings(found):
        for metric in METRICS:
            row = {"setting": TITLES[setting], "metric": METRIC_TITLES[metric], "compression": f"{RATES[setting]:.0%}"}
            for method in METHODS:
                row[method] = _interval(accuracy_at(found, setting, method, metric, RATES[setting])["accuracy"])
            table.append(row)
    caption = (
        "Accuracy (%) with only the slice active, at equal compression, linear between the measured points; "
        "a dash where a seed's curve does not reach it."
    )
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2)


@_or_nothing
def rq1_sentences(found: list[Result], label: str) -> Markdown:
    """The comparisons that Section 5.2 states in words: the paper's number and ours."""
    table = []

    def add(setting: str, what: str, paper: str, ours: pd.Series) -> None:
        if setting in _settings(found):
            row = {"setting": TITLES[setting], "in the text": what, "paper": paper, "ours": _interval(ours)}
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
    caption = "What Section 5.2 states in words of semantic slicing at a compression rate, in percent or points."
    return fragments.table(pd.DataFrame(table), label, caption, found, texts=2)


@_or_nothing
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

    def printed(*key):
        return _printed(found, paper_number(paper[key]) if key in paper else None)

    pairs, removed, table = results.frame(found, "deeparc"), results.frame(found, "removed"), []
    for setting in _settings(found):
        highest = pairs[pairs["setting"] == setting].groupby("seed")["similarity"].max()
        for threshold in (0.99, 0.95):
            mine = removed[(removed["setting"] == setting) & (removed["threshold"] == threshold)]
            rate, accuracy = _interval(mine["compression_rate"]), _interval(mine["accuracy"])
            table.append(
                {
                    "setting": TITLES[setting],
                    "highest similarity": beside_paper(f"{highest.mean():.3f}", printed(setting, "similarity")),
                    "threshold": threshold,
                    "units removed, by seed": ", ".join(map(str, mine["units"])),
                    "compression (%)": beside_paper(rate, printed(setting, "rate", threshold)),
                    "accuracy (%)": beside_paper(accuracy, printed(setting, "accuracy", threshold)),
                }
            )
    caption = "DeepArc: units more similar than a threshold to the one before are removed, nothing is retrained."
    return fragments.table(pd.DataFrame(table), label, caption, found)


@_or_nothing
def rq1_seconds(found: list[Result], label: str) -> Markdown:
    """Time to compute each metric by itself, and relative to Avg, beside the paper's on MNIST."""
    seconds = results.frame(found, "seconds")
    paper = {metric: paper_number(f"rq1-metric-seconds-{metric}") for metric in METRICS}
    table = [
        {"setting": "the paper, MNIST"}
        | {METRIC_TITLES[m]: f"{paper[m]} s ({paper[m] / paper['avg']:.1f}×)" for m in METRICS}
    ]
    for setting in _settings(found):
        mean = seconds[seconds["setting"] == setting].groupby("metric")["seconds"].mean()
        cells = {METRIC_TITLES[m]: f"{mean[m]:.2f} s ({mean[m] / mean['avg']:.1f}×)" for m in METRICS}
        table.append({"setting": TITLES[setting]} | cells)
    caption = "Seconds to compute each metric by itself, for all layers and classes, and relative to Avg."
    return fragments.table(pd.DataFrame(table), label, caption, found)


def _settings(found: list[Result]) -> list[str]:
    present = {result.setting for result in found}
    return [name for name in settings.NAMES if name in present]
