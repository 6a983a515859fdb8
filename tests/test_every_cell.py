"""Every cell of the tables, worked out anew in plain Python from results whose numbers are all different."""

import csv
from itertools import pairwise, product
from math import sqrt
from statistics import fmean, median

import pytest
from distinct import (
    ARCS,
    ATTACKS,
    BANDS,
    CATEGORIES,
    KEPT,
    LAYERS,
    METRICS,
    NEARER,
    OWN,
    PAPER,
    PILOTS,
    PRUNED,
    READINGS,
    REPAIRS,
    RULES,
    SCANS,
    SEEDS,
    SEEN,
    SELECTIONS,
    TASKS,
    TITLES,
    TOLD,
    TOLERANCES,
    TRAINED,
    VARIANTS,
    WAYS,
    applied,
    arc,
    combined,
    half,
    masked,
    own,
    paper,
    peer,
    reached,
    read,
    repairs,
    ruled,
    sliced,
    some,
    task,
    taught,
)  # fmt: skip
from written import body

from nssutils.companion import tables
from nssutils.companion.claims import beyond


def interval(values):
    """Mean and half of the 95% interval, in percent; of Student's t for three networks."""
    values = [100 * value for value in values]
    spread = f" ± {half(values):.2f}" if len(values) == 3 else ""
    return f"{fmean(values):.2f}{spread}"


def beside(ours, theirs):
    return f"{ours}<br><small>paper {theirs}</small>"


def shown(here, label):
    """The rows of a table, without the marks of the paper's slips."""
    return [[cell.replace("†", "") for cell in row] for row in body(here, label)[2:]]


# RQ3


def time_of_full(setting, method):
    def seconds(seed, which):
        return fmean(some(setting, seed, which, turn) for turn in range(3))

    return fmean(seconds(seed, method) / seconds(seed, "full") for seed in SEEDS[setting])


def test_rq3(here):
    found = [repairs(setting, seed) for setting, seeds in SEEDS.items() for seed in seeds]

    def ours(setting, *what):
        return interval([some(setting, seed, *what) for seed in SEEDS[setting]])

    tables.rq3_attacks(found, "attacks")
    before = {"fgsm": "18.53", "pgd": "3.8"}
    assert shown(here, "attacks") == [
        [TITLES[setting], title, f"{255 * fmean(some(setting, seed, attack, 'eps') for seed in SEEDS[setting]):.2f}",
         beside(ours(setting, attack, "left"), f"{before[attack]} on average"), ours(setting, attack, "robust")]
        for setting in SEEDS for attack, title in ATTACKS.items()
    ]  # fmt: skip

    tables.table5(found, "table5")
    assert shown(here, "table5") == [
        [TITLES[setting], attacked, title]
        + [
            beside(ours(setting, attack, method, measure.lower()),
                   f"{paper(5, attack=attack, method=method, setting=setting, measure=measure):.2f}")
            for measure in ("TPR", "RA", "RAA")
        ]
        for setting in SEEDS for attack, attacked in ATTACKS.items() for method, title in REPAIRS.items()
    ]  # fmt: skip

    tables.rq3_beyond(found, "beyond")
    expected = []
    for setting in SEEDS:
        rates = "0.001, 0.002"
        for attack, attacked in ATTACKS.items():
            first = [TITLES[setting], attacked]
            expected.append(
                [*first, "before the repair", ours(setting, "base"), ours(setting, attack, "robust"), "–", "–"]
            )
            for method, title in REPAIRS.items():
                cells = [ours(setting, attack, method, column) for column in ("clean", "robust")]
                expected.append([*first, title, *cells, f"{100 * time_of_full(setting, method):.0f}%", rates])
    assert shown(here, "beyond") == expected

    tables.rq3_summary(found, "summary")

    def mean(method, column):
        return fmean(
            fmean(some(setting, seed, attack, method, column) for seed in SEEDS[setting])
            for setting in SEEDS for attack in ATTACKS
        )  # fmt: skip

    def theirs(method, measure):
        return fmean(
            paper(5, attack=attack, method=method, setting=setting, measure=measure)
            for setting in SEEDS for attack in ATTACKS
        )  # fmt: skip

    times = {"nss": "93.53", "nss+deeparc": "89.8"}
    expected = []
    for method, title in REPAIRS.items():
        time = f"{100 * fmean(time_of_full(setting, method) for setting in SEEDS):.1f}"
        expected.append(
            [title]
            + [
                beside(f"{100 * mean(method, measure.lower()):.2f}", f"{theirs(method, measure):.2f}")
                for measure in ("TPR", "RA", "RAA")
            ]
            + [f"{100 * mean(method, column):.2f}" for column in ("clean", "robust")]
            + [beside(time, times[method]) if method in times else time]
        )
    assert shown(here, "summary") == expected

    tables.rq3_effort(found, "effort")
    assert body(here, "effort")[0][3:] == [f"epoch {epoch}" for epoch in (1, 2, 5, 10, 20, 24)]
    assert shown(here, "effort") == [
        [TITLES[setting], attacked, title]
        + [ours(setting, attack, method, epoch) for epoch in (1, 2, 5, 10, 20, 24)]
        for setting in SEEDS for attack, attacked in ATTACKS.items() for method, title in REPAIRS.items()
    ]  # fmt: skip
    assert "Not measured for" not in (here / "_generated" / "effort.md").read_text()
    for one in found:
        if one.setting == "mlp-fmnist":
            del one.tables["effort"]
    tables.rq3_effort(found, "effort")
    assert {row[2] for row in shown(here, "effort")} == set(REPAIRS.values())  # and no setting, there being one
    assert " Not measured for MLP-FMNIST." in (here / "_generated" / "effort.md").read_text()


# RQ4


@pytest.mark.parametrize("which", ["nearer", "other"])
def test_table6(here, which):
    found = [taught(setting, seed) for setting, seeds in SEEDS.items() for seed in seeds]
    tables.table6(found, "t", which=which)
    expected = []
    for setting, nearer in NEARER.items():
        task_a = nearer if which == "nearer" else {"first": "last", "last": "first"}[nearer]
        for method, title in TASKS.items():
            row = [f"{TITLES[setting]}, A = {task_a} five", title]
            if method == "deeparc" and setting == "mlp-fmnist":
                expected.append([*row, "–", "–", "–"])
                continue
            a, b = ([task(setting, seed, task_a, method, each) for seed in SEEDS[setting]] for each in "ab")
            cells = [interval(a), interval(b), interval([(x + y) / 2 for x, y in zip(a, b, strict=True)])]
            if which == "nearer" and method != "random":
                theirs = [paper(6, method=method, setting=setting, measure=each) for each in ("A", "B", "Avg")]
                cells = [beside(cell, f"{value:.2f}") for cell, value in zip(cells, theirs, strict=True)]
            expected.append(row + cells)
    assert shown(here, "t") == expected
    text = (here / "_generated" / "t.md").read_text()
    assert ("The same with the other five classes" in text) == (which == "other")


def test_the_nearer_half_is_so_in_points_of_accuracy():
    """Ours is above the paper's in both halves: nearer is the smaller."""
    one = taught("mlp-fmnist", 0)
    for row in one.tables["methods"]:
        row |= {"a": {"first": 0.999, "last": 0.98}[row["task_a"]], "b": 0.9}
    assert tables.nearer([one], "mlp-fmnist") == "last"


def test_rq4(here):
    found = [taught(setting, seed) for setting, seeds in SEEDS.items() for seed in seeds]

    def values(setting, method, column):
        return [task(setting, seed, NEARER[setting], method, column) for seed in SEEDS[setting]]

    tables.rq4_fairness(found, "fairness")
    expected = []
    for setting in SEEDS:
        for method, title in TASKS.items():
            cells = []
            for know in ("told", "untold"):
                a, b = (values(setting, method, f"{each}_{know}") for each in "ab")
                cells += [interval(a), interval(b), interval([(x + y) / 2 for x, y in zip(a, b, strict=True)])]
            if method == "deeparc" and setting == "mlp-fmnist":
                cells = ["–"] * 6
            expected.append([TITLES[setting], title, *cells])
    assert shown(here, "fairness") == expected

    tables.rq4_costs(found, "costs")
    expected = []
    for setting in SEEDS:
        whole = values(setting, "replay100", "seconds")
        for method, title in TASKS.items():
            if method == "original" or (method == "deeparc" and setting == "mlp-fmnist"):
                continue
            trained, images, stored, seconds = (
                values(setting, method, each) for each in ("trained", "images", "stored", "seconds")
            )
            time = median(mine / its for mine, its in zip(seconds, whole, strict=True))
            cells = [f"{100 * fmean(trained):.1f}", f"{fmean(images):,.0f}", f"{fmean(stored) / 1024:,.1f}"]
            expected.append([TITLES[setting], title, *cells, f"{time:.2f}"])
    assert shown(here, "costs") == expected

    tables.rq4_summary(found, "summary")

    def mean(method, column):
        return 100 * fmean(fmean(values(setting, method, column)) for setting in SEEDS)

    def theirs(method, measure):
        return fmean(paper(6, method=method, setting=setting, measure=measure) for setting in SEEDS)

    expected = []
    for method, title in TASKS.items():
        if method in ("original", "deeparc"):
            continue
        lost = f"{mean('original', 'a') - mean(method, 'a'):.2f}"
        both = f"{(mean(method, 'a') + mean(method, 'b')) / 2:.2f}"
        if method != "random":  # this book's own
            printed = theirs("original", "A") - theirs(method, "A")
            lost = beside(lost, f"{printed:.2f}")
            both = beside(both, f"{(theirs(method, 'A') + theirs(method, 'B')) / 2:.2f}")
        told = [f"{mean('original', 'a_told') - mean(method, 'a_told'):.2f}"]
        told += [f"{(mean(method, 'a_told') + mean(method, 'b_told')) / 2:.2f}"]
        expected.append([title, lost, both, *told])
    assert shown(here, "summary") == expected


# The pilot studies


@pytest.mark.parametrize("number, categories", [(1, (None,)), (2, CATEGORIES)])
def test_tables_1_and_2(here, number, categories):
    found = [masked(setting, seed, categories) for setting in PILOTS for seed in range(3)]
    {1: tables.table1, 2: tables.table2}[number](found, "t")

    def ours(setting, *what):
        return interval([fmean(some(setting, seed, *what, c) for c in categories) for seed in range(3)])

    expected = []
    for setting in PILOTS:
        expected.append([TITLES[setting], "nothing"] + [ours(setting, "base")] * len(METRICS))
        for band, title in BANDS.items():
            cells = [ours(setting, metric, band) for metric in METRICS]
            if setting == "vgg16-cifar10":
                theirs = [f"{paper(number, band=band, metric=metric):.2f}" for metric in METRICS]
                cells = [beside(cell, value) for cell, value in zip(cells, theirs, strict=True)]
            expected.append([TITLES[setting], title, *cells])
    assert shown(here, "t") == expected


def test_table3(here):
    tables.table3([masked("vgg16-cifar10", seed, CATEGORIES) for seed in range(3)], "t")
    assert body(here, "t")[0] == ["masked"] + [f"Category {c}" for c in CATEGORIES]
    assert shown(here, "t") == [
        [title]
        + [
            beside(interval([some("vgg16-cifar10", seed, "deeplift", band, c) for seed in range(3)]),
                   f"{paper(3, band=band, category=str(c)):.2f}")
            for c in CATEGORIES
        ]
        for band, title in BANDS.items()
    ]  # fmt: skip


def test_falls(here):
    found = [masked(setting, seed) for setting in PILOTS for seed in range(2)]
    tables.falls(found, "t")
    expected = []
    for setting in PILOTS:
        for metric, title in METRICS.items():
            theirs = [paper(1, band=band, metric=metric) for band in BANDS]
            ours = [[some(setting, seed, metric, band, None) for band in BANDS] for seed in range(2)]
            counts = [sum(lower < upper for upper, lower in pairwise(one)) for one in [theirs, *ours]]
            drop = 100 * fmean(one[0] - some(setting, seed, "base", None) for seed, one in enumerate(ours))
            by_seed = ", ".join(f"{n} ({n})" for n in counts[1:])
            printed = str(counts[0]) if setting == "vgg16-cifar10" else "–"
            expected.append([TITLES[setting], title, "4", printed, by_seed, f"{drop:.2f}"])
    assert shown(here, "t") == expected


# RQ1


def at(setting, seed, method, metric, rate):
    below = round(10 * rate) - 1
    return fmean(some(setting, seed, method, metric, i) for i in (below, below + 1))


def ranks(values):
    return [sorted(values).index(value) for value in values]


def correlation(xs, ys):
    dx, dy = ([value - fmean(each) for value in each] for each in (xs, ys))
    product = sum(x * y for x, y in zip(dx, dy, strict=True))
    return product / sqrt(sum(x * x for x in dx) * sum(y * y for y in dy))


def test_rq1(here):
    settings = {"vgg16-cifar10": range(3), "mlp-fmnist": range(3)}
    found = [sliced(setting, seed) for setting in settings for seed in range(3)]
    order = ("mlp-fmnist", "vgg16-cifar10")

    tables.rq1_rates(found, "rates", metric="var")
    rates = [i / 10 for i in range(1, 9)]
    assert shown(here, "rates") == [
        [TITLES[setting], method]
        + [f"{100 * fmean(at(setting, seed, method, 'var', rate) for seed in range(3)):.1f}" for rate in rates]
        for setting in order for method in SELECTIONS
    ]  # fmt: skip

    tables.rq1_leads(found, "leads", metrics=("taylor", "ens"))
    expected = []
    for setting in order:
        for metric in ("taylor", "ens"):
            row = []
            for rate in rates:
                leads = [
                    100 * (at(setting, seed, "semantic", metric, rate)
                           - max(at(setting, seed, method, metric, rate) for method in SELECTIONS[1:]))
                    for seed in range(3)
                ]  # fmt: skip
                mean = fmean(leads)
                row.append("≈" * (abs(mean) <= half(leads)) + (f"{mean:+.1f}" if abs(mean) < 9.95 else f"{mean:+.0f}"))
            expected.append([TITLES[setting], METRICS[metric], *row])
    assert shown(here, "leads") == expected

    tables.rq1_layers(found, "layers")
    expected = []
    for setting in order:
        for metric, title in METRICS.items():
            means = [fmean(some(setting, seed, metric, layer) for seed in range(3)) for layer in LAYERS]
            trend = fmean(
                correlation(range(4), ranks([some(setting, seed, metric, layer) for layer in LAYERS]))
                for seed in range(3)
            )
            cells = [f"{100 * value:.2f}" for value in (means[0], median(means), means[-1])]
            expected.append([TITLES[setting], title, "4", *cells, f"{trend:+z.2f}"])
    assert shown(here, "layers") == expected

    tables.rq1_seconds(found, "seconds")
    expected = []
    for setting in order:
        means = {metric: fmean(some(setting, seed, metric, "seconds") for seed in range(3)) for metric in METRICS}
        expected.append([TITLES[setting]] + [f"{m:.2f} s ({m / means['avg']:.1f}×)" for m in means.values()])
    assert shown(here, "seconds")[1:] == expected

    tables.rq1_base(found, "base")
    assert shown(here, "base") == [
        [TITLES[setting], "1", "32²", "1,234,567", "3", interval([some(setting, seed, "base") for seed in range(3)]),
         "`01234567`"]
        for setting in order
    ]  # fmt: skip

    tables.rq1_deeparc(found, "deeparc")
    expected = []
    for setting in order:
        highest = fmean(max(some(setting, seed, unit) for unit in "bcd") for seed in range(3))
        for threshold, units, losing in ((0.99, "2, 0, 1", (0, 2)), (0.95, "3, 3, 3", (0, 1, 2))):
            rate = "30.00" + " ± 0.00" * (len(losing) == 3)
            accuracy = interval([some(setting, seed, "removed", threshold) for seed in losing])
            if setting == "vgg16-cifar10" and threshold == 0.99:
                rate, accuracy = beside(rate, "32.06"), beside(accuracy, "14.84")
            beside_it = interval([at(setting, seed, "semantic", "taylor", 0.3) for seed in losing])
            expected.append([TITLES[setting], str(threshold), f"{highest:.3f}", units, rate, accuracy, beside_it])
    assert shown(here, "deeparc") == expected


# DeepArc


def test_deeparc(here):
    seeds = {"resnet44-cifar10": range(3), "resnet110-cifar10": range(2)}
    found = [arc(setting, seed) for setting in ARCS for seed in seeds[setting]]
    with (PAPER / "deeparc_numbers.csv").open(newline="") as file:
        printed = {row["id"]: f"{100 * float(row['value']):.2f}" for row in csv.DictReader(file)}

    def ours(setting, *what):
        return interval([some(setting, seed, *what) for seed in seeds[setting]])

    def count(setting, *what):
        return f"{fmean(round(1e6 * some(setting, seed, *what, 'parameters')) for seed in seeds[setting]):,.0f}"

    def compared(setting, cell, name):
        return beside(cell, printed[name]) if setting == "resnet110-cifar10" else cell

    tables.deeparc_base(found, "base")
    assert shown(here, "base") == [
        [title, "54", count(setting), compared(setting, ours(setting, "base"), "accuracy")]
        for setting, title in ARCS.items()
    ]
    tables.deeparc_modularity(found, "modularity")
    assert shown(here, "modularity") == [
        [title, str(classes), f"{images:,}", ours(setting, classes, images), f"{threshold}"]
        + [ours(setting, classes, images, threshold, kind) for kind in ("biased", "debiased")]
        for setting, title in ARCS.items() for classes, images in ((10, 48_000), (2, 9_600))
        for threshold in (0.95, 0.99)
    ]  # fmt: skip
    tables.deeparc_edited(found, "edited")
    assert shown(here, "edited") == [
        [title, f"{n} {what}", count(setting, what, n), compared(setting, ours(setting, what, n), f"{what}-{n}"),
         interval([some(setting, seed, what, n) - some(setting, seed, "base") for seed in seeds[setting]])]
        for setting, title in ARCS.items() for what in ("removed", "added") for n in (1, 2)
    ]  # fmt: skip
    tables.deeparc_search(found, "search")
    expected = []
    for setting, title in ARCS.items():
        for size in (1, 4):
            draws = [[some(setting, seed, size, draw) for draw in range(5)] for seed in seeds[setting]]
            held = [[some(setting, seed, size, draw, "held") for draw in range(5)] for seed in seeds[setting]]
            chosen = [one[its.index(max(its))] for one, its in zip(draws, held, strict=True)]
            cells = [interval([fmean(one) for one in draws]), interval([max(one) for one in draws]), interval(chosen)]
            cells[1] = compared(setting, cells[1], f"search-{size}")
            expected.append([title, str(size), "5", *cells])
    assert shown(here, "search") == expected
    tables.deeparc_repair(found, "repair")
    assert shown(here, "repair") == [
        [title, attacked, trained, "all" if method == "full" else f"{5 + fmean(seeds[setting]):g}"]
        + [ours(setting, attack, method, each) for each in ("left", "repaired", "mix_before", "mix", "clean")]
        for setting, title in ARCS.items() for attack, attacked in ATTACKS.items()
        for method, trained in TRAINED.items()
    ]  # fmt: skip
    for label in ("base", "edited", "search"):
        assert "DeepArc's public code prints" in (here / "_generated" / f"{label}.md").read_text()
    tables.deeparc_base(found[3:] + found[:3], "mixed")  # whichever comes last
    assert "DeepArc's public code prints" in (here / "_generated" / "mixed.md").read_text()


# A network of one's own


def test_a_network_of_ones_own(here):
    found = [own(setting, seed) for setting in OWN for seed in range(3)]

    def ours(setting, *what):
        return interval([some(setting, seed, *what) for seed in range(3)])

    tables.your_shrunk(found, "shrunk")
    assert shown(here, "shrunk") == [
        [title, "Taylor, theta 0.9"]
        + [ours(setting, what) for what in ("parameters", "operations", "accuracy", "accuracy_left")]
        for setting, title in OWN.items()
    ]
    for which, table in (("repaired", tables.your_repaired), ("extended", tables.your_extended)):
        table(found, which)
        rows = shown(here, which)
        assert [row[:2] for row in rows] == [[title, words] for title in OWN.values() for words in WAYS[which].values()]
        assert [row[2:] for row in rows] == [
            [ours(setting, which, way, name) for name in TOLD[which]] for setting in OWN for way in WAYS[which]
        ]


# What the readings of slicing change


def told(values):
    """A mean in points with its sign, marked where it cannot be told from nothing."""
    values = [100 * value for value in values]
    level = abs(fmean(values)) <= half(values)
    return "≈" * level + f"{fmean(values):+.2f}"


@pytest.mark.parametrize("points", [lambda *_: range(9), reached])
def test_readings_of_slicing(here, points):
    order = ("mlp-mnist", "vgg16-cifar10")
    found = [read(setting, seed, points) for setting in order for seed in range(3)]
    rates = [i / 10 for i in range(1, 9)]

    def accuracy(setting, seed, key, method, metric, rate):
        """None beyond the ends of a curve."""
        key = key if key[0] != "scan" or method == "semantic" else ("this book", "")
        below, has = round(10 * rate) - 1, points(seed, key, method, metric)
        if below in has and below + 1 in has:
            return fmean(some(setting, seed, *key, method, metric, i) for i in (below, below + 1))
        return None

    def effect(setting, seed, key, metric):
        pairs = [
            [accuracy(setting, seed, each, "semantic", metric, rate) for each in (key, ("this book", ""))]
            for rate in rates
        ]
        gains = [theirs - ours for theirs, ours in pairs if None not in (theirs, ours)]
        return fmean(gains) if gains else None

    def cell(values):
        return told(values) if values and None not in values else "–"

    tables.sensitivity_effects(found, "effects")
    expected = []
    for setting in order:
        for key, touched in list(READINGS.items())[1:]:
            cells = [
                cell([effect(setting, seed, key, metric) for seed in range(3)] if metric in touched else [])
                for metric in METRICS
            ]
            expected.append([TITLES[setting], *key, *cells])
    assert shown(here, "effects") == expected

    def lead(setting, seed, key, metric, rate):
        ours, *rivals = (accuracy(setting, seed, key, method, metric, rate) for method in SELECTIONS)
        return None if None in (ours, *rivals) else ours - max(rivals)

    tables.sensitivity_leads(found, "leads")
    expected = []
    for setting in order:
        for key, touched in READINGS.items():
            where = [
                (metric, rate) for metric in touched for rate in rates
                if None not in [lead(setting, seed, key, metric, rate) for seed in range(3)]
            ]  # fmt: skip

            def by_network(key, setting=setting, where=where):
                return [fmean(lead(setting, seed, key, *each) for each in where) for seed in range(3)]

            marks = [told([lead(setting, seed, key, *each) for seed in range(3)]) for each in where]
            counts = [sum(mark.startswith(sign) for mark in marks) for sign in ("+", "≈", "-")]
            metrics = "all" if touched is METRICS else ", ".join(METRICS[each] for each in touched)
            row = [TITLES[setting], *key, metrics, told(by_network(key)), " / ".join(map(str, counts))]
            expected.append([*row, told(by_network(("this book", ""))) if key[0] != "this book" else ""])
    assert shown(here, "leads") == expected

    tables.sensitivity_distances(found, "distances")
    # What slicing removed first by Table 4's law is tested in test_tables_maintenance, to 0.06 points.
    printed = {
        setting: [tables.removed_first(setting),
                  100 - paper(5, attack="fgsm", method="nss", setting=setting, measure="TPR")]
        for setting in order
    }  # fmt: skip
    expected = []
    for setting in order:
        for key in READINGS:
            left = [[some(setting, seed, *key, t) for seed in range(3)] for t in TOLERANCES]
            cells = [beside(interval(one), f"{share:.2f}") for one, share in zip(left, printed[setting], strict=True)]
            apart = fmean(abs(100 * fmean(one) - share) for one, share in zip(left, printed[setting], strict=True))
            expected.append([TITLES[setting], *key, *cells, f"{apart:.1f}"])
    assert shown(here, "distances") == expected
    nearest = {
        setting: min((float(row[-1]), *row[1:3]) for row in expected if row[0] == TITLES[setting])[1:]
        for setting in order
    }
    names = {setting: "this book" if key[0] == "this book" else ", ".join(key) for setting, key in nearest.items()}
    assert tables.named(("this book", "")) == "this book" and tables.named(None) == "–"
    told_so = "; ".join(f"{TITLES[setting]}: {name}" for setting, name in names.items())
    assert f" Nearest the paper: {told_so}." in (here / "_generated" / "distances.md").read_text()

    def counted(marks, more, less):
        up, down, level = (sum(mark.startswith(sign) for mark in marks) for sign in "+-≈")
        return f"{up} {more}, {down} {less}" + f", {level} ≈" * (level > 0)

    leads = {tuple(row[:3]): row[4] for row in shown(here, "leads")}
    for setting in order:
        moved = []
        for key, touched in list(READINGS.items())[1:]:
            effects = [[effect(setting, seed, key, metric) for metric in touched] for seed in range(3)]
            moved.append(told([fmean(filter(lambda one: one is not None, each)) for each in effects]))
            means = tables.mean_effects(found, setting).groupby(["reading", "value"])["effect"]
            assert told(means.get_group(key)) == moved[-1]
        mine = {key[1:]: mark for key, mark in leads.items() if key[0] == TITLES[setting]}
        there = {"+": "ahead", "-": "behind", "≈": "≈"}[mine[nearest[setting]][0]]
        assert beyond.sensitivity({"sensitivity": found}, setting) == (
            f"4 values of a reading, each alone: {counted(moved, 'add accuracy', 'cost some')}. Semantic selection "
            f"under 5 readings: {counted(mine.values(), 'ahead', 'behind')}. Nearest the paper's slices is "
            f"{names[setting]}; there it is {there}."
        )


def test_readings_combined(here):
    settings = ("mlp-mnist", "vgg16-cifar10")
    found = [combined(setting, seed) for setting in settings for seed in range(3)]
    tables.sensitivity_combined(found, "combined")
    expected = []
    for setting in settings:
        wanted = {
            0.005: tables.removed_first(setting),
            0.03: 100 - paper(5, attack="fgsm", method="nss", setting=setting, measure="TPR"),
        }

        def left_out(tolerance, deeplift, taylor, scan, setting=setting):
            """Per cent left out by the larger of those within the tolerance, or by that which costs less."""
            sizes = []
            for seed in range(3):
                both = [
                    [some(setting, seed, metric, variant, *scan, tolerance, what) for what in ("loss", "left out")]
                    for metric, variant in (("deeplift", deeplift), ("taylor", taylor))
                ]
                within = [share for loss, share in both if loss <= 0.5]  # of twice the tolerance
                sizes.append(100 * (max(within) if within else min(both)[1]))
            return fmean(sizes)

        rows = {}
        for deeplift, taylor, scan in product(VARIANTS["deeplift"], VARIANTS["taylor"], SCANS):
            sizes = [left_out(tolerance, deeplift, taylor, scan) for tolerance in TOLERANCES]
            apart = fmean(abs(mine - theirs) for mine, theirs in zip(sizes, wanted.values(), strict=True))
            cells = [
                beside(f"{mine:.1f}", f"{theirs:.2f}") for mine, theirs in zip(sizes, wanted.values(), strict=True)
            ]
            rows[deeplift, taylor, *scan] = (apart, [deeplift, taylor, *scan, *cells, f"{apart:.1f}"])
        ours, nearest = next(iter(rows.values()))[1], min(rows.values())[1]
        expected += [[TITLES[setting], "this book", *ours], [TITLES[setting], "nearest", *nearest]]
    assert shown(here, "combined") == expected


# NNSlicer


def test_nnslicers_applications(here):
    found = [applied(seed) for seed in range(3)]
    pruning, protection, detection = (
        [one[f"nnslicer_{name}"] for one in found] for name in ("pruning", "protection", "detection")
    )

    def over_subsets(*what):
        return interval([fmean(some(seed, classes, *what) for classes in ("0+1", "2+3")) for seed in range(3)])

    tables.nnslicer_pruned(pruning, "pruned")
    expected = [
        [f"{100 * share:.0f}%", title]
        + [over_subsets(method, kept, share) for kept in KEPT]
        + [peer(f"nnslicer-pruned-{100 * share:.0f}-{method}") or "–"]
        for share in (0.3, 0.5, 0.55, 0.8) for method, title in PRUNED.items()
    ]  # fmt: skip
    for theta in (0.9, 0.8):
        share = fmean(some(seed, classes, theta) for seed in range(3) for classes in ("0+1", "2+3"))
        cells = [over_subsets("semantic", kept, theta) for kept in KEPT]
        expected.append([f"{100 * share:.0f}%", "semantic slice", *cells, "–"])
    assert shown(here, "pruned") == expected

    def compared(cell, name):
        return beside(cell, peer(name)) if peer(name) else cell

    tables.nnslicer_tuned(pruning, "tuned")
    assert shown(here, "tuned") == [
        [f"{100 * share:.0f}%", PRUNED[method], interval([some(seed, method, share, "before") for seed in range(3)]),
         compared(interval([some(seed, method, share) for seed in range(3)]),
                  f"nnslicer-tuned-{100 * share:.0f}-{method}")]
        for share in (0.5, 0.8) for method in ("nnslicer", "all classes", "weight")
    ]  # fmt: skip

    tables.nnslicer_protected(protection, "protected")
    hidden = PRUNED | {"random": "random", "everything": "everything hidden"}
    expected = []
    for method in ("nnslicer", "all classes", "weight", "random", "everything"):
        row = [hidden[method]]
        for images, extent in ((10_000, "fewest"), (48_000, "most")):
            target = interval([some(seed, method, images) for seed in range(3)])
            row += [compared(target, f"nnslicer-protected-{extent}-{method}")]
            row += [interval([some(seed, method, images, "all") for seed in range(3)])]
        expected.append(row)
    assert shown(here, "protected") == expected

    def three(kind, against, attacks=("FGSM_8", "FGSM_2")):
        means = (
            fmean(some(seed, attack, kind, against, measure) for seed in range(3) for attack in attacks)
            for measure in ("precision", "recall", "f1")
        )
        return " / ".join(f"{mean:.2f}" for mean in means)

    tables.nnslicer_readings(detection, "readings")
    rows = shown(here, "readings")
    assert rows[: len(SEEN)] == [[kind, three(kind, "answer"), three(kind, "label")] for kind in SEEN]
    tables.nnslicer_table4(detection, "table4")
    rows = {row[0]: row[1:6] for row in shown(here, "table4")}
    kinds = ("synapses", "synapses, all outputs", "neurons", "feature map")
    for attack in ("FGSM_8", "FGSM_2"):
        assert rows[attack][:5] == ["40%", *(three(kind, "answer", (attack,)) for kind in kinds)]
    assert rows["average"][:5] == ["", *(three(kind, "answer") for kind in kinds)]
    p, r = 0.5, 1.0  # of a detector that always says yes, asked about as many of either kind
    assert rows["always yes"] == ["", *[f"{p:.2f} / {r:.2f} / {2 * p * r / (p + r):.2f}"] * 4]
    tables.nnslicer_trees(detection, "trees")
    assert shown(here, "trees") == [
        [kind, "1,000 images", f"{fmean(round(100 * some(seed, kind, 'nodes')) for seed in range(3)):.0f}",
         interval([some(seed, kind) for seed in range(3)])]
        for kind in SEEN
    ]  # fmt: skip


def test_nnslicers_rules(here):
    tables.nnslicer_rules([ruled(seed, 0.4) for seed in range(3)], "rules")

    def means(*rule):
        return [fmean(some(seed, classes, *rule) for classes in ("0+1", "2+3")) for seed in range(3)]

    expected = [["weight", "–", "–", "–", *(interval(means("", 0.0, "", kept)) for kept in KEPT)]]
    for (unit, theta, summed), shown_as in RULES.items():
        cells = [interval(means(unit, theta, summed)), *(interval(means(unit, theta, summed, kept)) for kept in KEPT)]
        expected.append([unit, shown_as, summed, *cells])
    assert shown(here, "rules") == expected
    ahead = [
        sum(fmean(means(*rule, kept)) > fmean(means("", 0.0, "", kept)) for rule in RULES) for kept in KEPT
    ]  # fmt: skip
    text = (here / "_generated" / "rules.md").read_text()
    assert f"{ahead[0]} of 3 keep more on average than by weight" in text and "40% of every layer's synapses go" in text
    assert f"{ahead[1]} with statistics measured again" in text
