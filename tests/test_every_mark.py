"""Every mark of the figures, worked out anew in plain Python from results whose numbers are all different."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from statistics import fmean, median

import numpy as np
import pytest
from distinct import (
    ARCS,
    BANDS,
    CATEGORIES,
    KEPT,
    LAYERS,
    METRICS,
    NEARER,
    OWN,
    PILOTS,
    PRUNED,
    PRUNERS,
    READINGS,
    REPAIRS,
    SEEDS,
    SELECTIONS,
    TASKS,
    TITLES,
    applied,
    arc,
    half,
    masked,
    own,
    paper,
    peer,
    prunings,
    read,
    repairs,
    sliced,
    some,
    task,
    taught,
)  # fmt: skip
from matplotlib.colors import to_hex
from written import result

from nssutils import settings
from nssutils.companion import figures


def style(line):
    """What a legend tells a line by: colour, dashes, marker, and whether that is hollow."""
    hollow = str(line.get_markerfacecolor()) == "none"
    dashes, marker = (str(each).replace("None", "") for each in (line.get_linestyle(), line.get_marker()))
    return to_hex(line.get_color()), dashes, marker, bool(marker) and hollow


def named(drawn):
    """What a figure's legend calls each style."""
    (legend,) = drawn.legends
    return {style(each): each.get_label() for each in legend.legend_handles}


def marks(lines, names=None):
    """(name, xs, ys) of lines in the order in which they are drawn, what has no value left out."""
    found = []
    for line in lines:
        places = [(x, y) for x, y in zip(*map(np.ravel, line.get_data()), strict=True) if y == y]
        name = names[style(line)] if names else style(line)
        found.append((name, *([float(place[i]) for place in places] for i in (0, 1))))
    return found


def near(found, expected):
    """Marks are those expected, in any order."""

    def ordered(each):
        return sorted((name, [round(x, 6) for x in xs], [round(y, 6) for y in ys]) for name, xs, ys in each)

    assert ordered(found) == ordered(expected)


def alt(here, label):
    """The text of a figure for those who do not see it."""
    return re.search(r"^:alt: (.*)$", (here / "_generated" / f"{label}.md").read_text(), re.M)[1]


@pytest.mark.parametrize("number, categories", [(1, (None,)), (2, CATEGORIES)])
def test_pilots(here, number, categories):
    found = [masked(setting, seed, categories) for setting in PILOTS for seed in range(3)]
    drawn = figures.pilot_slopes(found, "f")
    names = named(drawn)
    assert [ax.get_title() for ax in drawn.axes[:5]] == list(METRICS.values())
    assert [drawn.axes[i].get_ylabel() for i in (0, 5)] == ["MLP-MNIST\npaper, n = 3", "VGG16\npaper, n = 3"]
    axes, falls = iter(drawn.axes), []
    for setting in PILOTS:
        base = 100 * fmean(some(setting, seed, "base", c) for seed in range(3) for c in categories)
        for metric in METRICS:
            ys = [100 * fmean(some(setting, seed, metric, band, c) for seed in range(3) for c in categories)
                  for band in BANDS]  # fmt: skip
            expected = [("nothing masked", [0, 1], [base, base]), ("ours", list(range(5)), ys)]
            expected += [("a fall", [x, x + 1], [a, b]) for x, (a, b) in enumerate(pairwise(ys)) if b < a]
            if setting == "vgg16-cifar10":
                printed = [paper(number, band=band, metric=metric) for band in BANDS]
                expected.append(("the paper's", list(range(5)), printed))
            near(marks(next(axes).lines, names), expected)
        courses = [
            [fmean(some(setting, seed, metric, band, c) for c in categories) for band in BANDS]
            for metric in METRICS for seed in range(3)
        ]  # fmt: skip
        falling = [any(b < a for a, b in pairwise(course)) for course in courses]
        falls.append(f"{TITLES[setting]} {sum(falling) / 3:.2g}")
    assert alt(here, "f").endswith(f"on average a network: {' and '.join(falls)}.")


def test_classes_of_a_pilot(here):
    found = [masked(setting, seed, CATEGORIES) for setting in PILOTS for seed in range(3)]
    drawn = figures.pilot_classes(found, "f")
    names, apart = named(drawn), []
    for ax, setting in zip(drawn.axes[:2], PILOTS, strict=True):
        assert ax.get_title(loc="left").strip() == TITLES[setting]
        assert [tick.get_text() for tick in ax.get_xticklabels()] == [f"{band}%" for band in BANDS]
        by_class = {
            c: [100 * fmean(some(setting, seed, "deeplift", band, c) for seed in range(3)) for band in BANDS]
            for c in CATEGORIES
        }
        expected = [("a class, ours", list(range(5)), ys) for ys in by_class.values()]
        if setting == "vgg16-cifar10":
            expected += [
                ("one of the paper's four", list(range(5)), [paper(3, band=band, category=str(c)) for band in BANDS])
                for c in CATEGORIES
            ]
        near(marks(ax.lines, names), expected)
        ends = [(min(each), max(each)) for each in zip(*by_class.values(), strict=True)]
        at = max(range(5), key=lambda i: ends[i][1] - ends[i][0])
        apart.append(f"{TITLES[setting]} at {list(BANDS)[at]}% ({ends[at][0]:.0f} to {ends[at][1]:.0f})")
    assert alt(here, "f") == f"Where the classes lie furthest apart: {' and '.join(apart)}."


def five(setting, seed, at, metric, method="semantic"):
    return some(setting, seed, method, metric, at)


@pytest.mark.parametrize("metrics", ["top3", "all"])
def test_fig5(here, metrics):
    groups = {"mlp-fmnist": range(3), "vgg16-cifar10": range(2), "resnet18-cifar10": range(3)}
    found = [sliced(setting, seed) for setting, seeds in groups.items() for seed in seeds]
    rows = [{"at": at, "compression_rate": 0.1 * at, "accuracy": some("own", at)} for at in (1, 2)]
    other = [result("nnslicer", {"curve": rows}, 0, "vgg16-cifar10", preset) for preset in ("paper", "quick")]
    figures.fig5(found, "f", metrics)
    drawn, curves = figures.draw_fig5(found, metrics, other[:1])
    assert all(curve["selection"] != "nnslicer" for curve in figures.draw_fig5(found, metrics, other[1:])[1])
    order = [*settings.NAMES, "resnet18-cifar10"]
    assert [ax.get_title(loc="left").strip() for ax in drawn.axes[: len(order)]] == [
        "MLP-MNIST", "MLP-FMNIST", "AlexNet-CIFAR10", "VGG16-CIFAR10", "ResNet101-CIFAR10", "VGG19-ImageNet10",
        "ResNet18-CIFAR10",
    ]  # fmt: skip
    names = named(drawn)
    colours = {names[each]: each[0] for each in names}
    dashes = {names[each]: each[1] for each in names}
    markers = {names[each]: each[2] for each in names}
    by_panel = {}
    for curve in curves:
        by_panel.setdefault(curve["setting"], {})[curve["selection"], curve["metric"]] = curve["points"]
    for ax, setting in zip(drawn.axes, order, strict=False):
        if setting not in groups:
            assert not ax.lines and [text.get_text() for text in ax.texts][-1] == "no result yet"
            continue
        seeds = groups[setting]
        assert ax.texts[0].get_text() == f"paper, n = {len(seeds)}"
        merit = {m: fmean(five(setting, seed, i, m) for seed in seeds for i in range(9)) for m in METRICS}
        best = [m for m in METRICS if metrics == "all" or m in sorted(merit, key=merit.get)[-3:]]
        xs = [10 * i + 5 for i in range(9)]
        expected = []
        for method in SELECTIONS:
            for metric in best:
                ys = [100 * fmean(five(setting, seed, i, metric, method) for seed in seeds) for i in range(9)]
                key = (colours[method], dashes[method], markers[METRICS[metric]], False)
                expected.append((key, xs, ys))
                assert by_panel[setting][method, metric] == [
                    (i, pytest.approx(x), pytest.approx(y)) for i, (x, y) in enumerate(zip(xs, ys, strict=True))
                ]
        if setting == "vgg16-cifar10":
            expected.append((next(key for key in names if names[key] == "NNSlicer"), [10, 20],
                             [100 * some("own", at) for at in (1, 2)]))  # fmt: skip
        base = 100 * fmean(some(setting, seed, "base") for seed in seeds)
        expected.append((next(key for key in names if names[key] == "whole network"), [0, 1], [base, base]))
        losing = [seed for seed in seeds if seed != 1]
        star = 100 * fmean(some(setting, seed, "removed", 0.99) for seed in losing)
        expected.append((next(key for key in names if names[key].startswith("DeepArc")), [30], [star]))
        near(marks(ax.lines), expected)
        bars = [segment for made in ax.containers for part in made[2] for segment in part.get_segments()]
        if len(seeds) < 3:
            assert not bars
            continue
        halves = [
            100 * half([five(setting, seed, i, metric, method) for seed in seeds])
            for method in SELECTIONS for metric in best for i in range(9)
        ]  # fmt: skip
        assert [(segment[1][1] - segment[0][1]) / 2 for segment in bars] == pytest.approx(halves)
    text = (here / "_generated" / "f.md").read_text()
    assert ("The three metrics" in text) == (metrics == "top3")
    assert (  # of two networks one has no star
        "(2 of 3 in MLP-FMNIST, 1 of 2 in VGG16-CIFAR10 and 2 of 3 in ResNet18-CIFAR10)" in text
    )
    leads = {
        setting: fmean(
            (five(setting, seed, i, m) + five(setting, seed, i + 1, m)) / 2
            - max((five(setting, seed, i, m, o) + five(setting, seed, i + 1, m, o)) / 2 for o in SELECTIONS[1:])
            for seed in seeds for m in METRICS for i in range(8)
        )
        for setting, seeds in groups.items()
    }  # fmt: skip
    ahead = sum(lead > 0 for lead in leads.values())
    assert f"semantic selection is ahead on average in {ahead} of 3 settings" in alt(here, "f")


def test_depth(here):
    found = [sliced(setting, seed) for setting in ("mlp-fmnist", "vgg16-cifar10") for seed in range(3)]
    drawn = figures.rq1_depth(found, "f")
    sparser = []
    for ax, setting in zip(drawn.axes, ("mlp-fmnist", "vgg16-cifar10"), strict=False):
        kept = {
            m: [100 * fmean(some(setting, seed, m, layer) for seed in range(3)) for layer in LAYERS] for m in METRICS
        }
        by_layer = list(zip(*kept.values(), strict=True))
        ((_, xs, ys),) = marks(ax.lines)
        assert (xs, ys) == ([1, 2, 3, 4], pytest.approx([fmean(each) for each in by_layer]))
        (band,) = ax.collections
        edges = {tuple(np.round(point, 6)) for point in band.get_paths()[0].vertices}
        assert edges == {
            (x, round(bound(each), 6)) for x, each in enumerate(by_layer, 1) for bound in (min, max)
        }  # fmt: skip
        if sum(each[-1] < each[0] for each in kept.values()) > 2:
            sparser.append(TITLES[setting])
    assert f"than the first in {len(sparser)} of 2 settings" in alt(here, "f")
    assert all(name in alt(here, "f") for name in sparser)


def test_stars(here):
    found = [sliced("vgg16-cifar10", seed) for seed in range(3)]
    drawn = figures.rq1_star(found, "f")
    (ax,), names = drawn.axes, named(drawn)
    expected, ahead = [], []
    for y, (threshold, losing) in enumerate(((0.99, (0, 2)), (0.95, (0, 1, 2)))):
        stars = 100 * fmean(some("vgg16-cifar10", seed, "removed", threshold) for seed in losing)
        slices = {  # at 30%, between the points at 25% and 35%
            title: 100 * fmean(five("vgg16-cifar10", seed, i, m) for seed in losing for i in (2, 3))
            for m, title in METRICS.items()
        }
        expected += [("DeepArc", [stars], [y])] + [(title, [x], [y]) for title, x in slices.items()]
        base = 100 * fmean(some("vgg16-cifar10", seed, "base") for seed in losing)
        expected.append(("whole network", [base], [y]))
        ahead += [threshold] * (min(slices.values()) > stars)
    near(marks(ax.lines, names), expected)
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "VGG16\npaper, n = 3\n> 0.99 in 2 of 3: 30% left out", "VGG16\npaper, n = 3\n> 0.95: 30% left out"
    ]  # fmt: skip
    assert f"what DeepArc leaves in {len(ahead)} of 2 cases" in alt(here, "f")
    made_of = json.loads((here / "_generated" / "f.origins.json").read_text())
    assert made_of == [f"data/results/rq1_slicing/paper/vgg16-cifar10/seed{seed}.json" for seed in range(3)]


def test_courses_of_pruning(here):
    found = [prunings(setting, seed) for setting in ("mlp-fmnist", "vgg16-cifar10") for seed in range(2)]
    drawn = figures.rq2_curves(found, "f")
    key, most = {name: each for each, name in named(drawn).items()}, []
    stop = key["where the stop rule ends it"]
    axes = iter(drawn.axes)
    for setting in ("mlp-fmnist", "vgg16-cifar10"):
        ahead = 0
        for pruner in PRUNERS:
            expected, both = [], {}
            for prefix, (colour, dashes, *_) in (("", key["alone"]), ("nss+", key["sliced first"])):
                method = prefix + pruner
                ys = [
                    100 * fmean(some(setting, seed, method, i) for seed in range(2 if i < 2 else 1)) for i in range(3)
                ]
                expected.append(((colour, dashes, "", False), [10, 30, 60], ys))
                stops = 100 * fmean(some(setting, seed, method, 0.01) for seed in range(2))
                expected.append(((colour, "", stop[2], False), [30], [stops]))
                both[prefix] = ys[1]
            near(marks(next(axes).lines), expected)
            ahead += both["nss+"] > both[""]
        most += [TITLES[setting]] * (ahead > 2)
    assert f"with most pruners in {len(most)} of 2 settings" in alt(here, "f")
    assert all(name in alt(here, "f") for name in most)


def test_repairs(here):
    found = [repairs(setting, seed) for setting, seeds in SEEDS.items() for seed in seeds]
    drawn = figures.rq3_shares(found, "f")
    names, ahead = named(drawn), []
    solid = {name: key for key, name in names.items()}
    assert not solid["on adversarials trained on (RA)"][3] and solid["on new ones (RAA)"][3]  # filled, hollow
    for ax, (setting, seeds) in zip(drawn.axes, SEEDS.items(), strict=False):
        expected, highest = [], {}
        for method, title in REPAIRS.items():
            x, ra, raa = (
                100 * fmean(some(setting, seed, attack, method, what) for seed in seeds for attack in ("fgsm", "pgd"))
                for what in ("tpr", "ra", "raa")
            )
            colour, dashes, marker, _ = solid[title]
            expected += [((colour, dashes, marker, False), [x], [ra]), ((colour, dashes, marker, True), [x], [raa])]
            expected.append((("#dcdee3", "-", "", False), [x, x], [ra, raa]))
            highest[method] = ra
        near(marks(ax.lines), expected)
        ahead += [TITLES[setting]] * max(highest, key=highest.get).startswith("nss")
        assert ax.texts[0].get_text() == f"paper, n = {len(seeds)}"
    assert f"are trained in {len(ahead)} of 2 settings" in alt(here, "f")


def test_tasks(here):
    found = [taught(setting, seed) for setting, seeds in SEEDS.items() for seed in seeds]
    drawn = figures.rq4_tasks(found, "f")
    key, ahead = {name: each for each, name in named(drawn).items()}, {"told": 0, "untold": 0}
    for ax, (setting, seeds) in zip(drawn.axes, SEEDS.items(), strict=False):

        def mean(method, column, setting=setting, seeds=seeds):
            return 100 * fmean(task(setting, seed, NEARER[setting], method, column) for seed in seeds)

        expected = []
        for method in TASKS:
            if method == "original" or (method == "deeparc" and setting == "mlp-fmnist"):
                continue
            a, b, c, d = (mean(method, each) for each in ("a_told", "b_told", "a_untold", "b_untold"))
            colour, dashes, marker, _ = key[TASKS[method]]
            expected += [((colour, dashes, marker, False), [b], [a]), ((colour, "-", ".", False), [b, d], [a, c])]
        near(marks(ax.lines), expected)
        for known in ahead:
            ours, *theirs = (
                mean(method, f"a_{known}") + mean(method, f"b_{known}") for method in ("nss", "replay5", "replay10")
            )
            ahead[known] += ours > max(theirs)
    assert f"on average over both tasks in {ahead['told']} of 2 settings" in alt(here, "f")
    assert f"None told, it is in {ahead['untold']} of 2 settings" in alt(here, "f")


def test_tornado(here):
    order = ("mlp-mnist", "vgg16-cifar10")
    found = [read(setting, seed) for setting in order for seed in range(3)]
    drawn = figures.sensitivity_tornado(found, "f")
    mine = ("this book", "")

    def effect(setting, seed, key, metric):  # at 10%, ... 80%, each between two points
        return fmean(
            (some(setting, seed, *key, "semantic", metric, i) - some(setting, seed, *mine, "semantic", metric, i)) / 2
            for at in range(8) for i in (at, at + 1)
        ) * 2  # fmt: skip

    widest = []
    for ax, setting in zip(drawn.axes, order, strict=True):
        moved = {
            f"{key[0]}: {key[1]}": [
                100 * fmean(effect(setting, seed, key, metric) for metric in touched) for seed in range(3)
            ]
            for key, touched in READINGS.items() if key != mine
        }  # fmt: skip
        expected = sorted(moved.items(), key=lambda each: abs(fmean(each[1])))
        assert [text.get_text() for text in ax.get_yticklabels()] == [name for name, _ in expected]
        assert [bar.get_width() for bar in ax.patches] == pytest.approx([fmean(each) for _, each in expected])
        for bar, (_, each) in zip(ax.patches, expected, strict=True):
            told = abs(fmean(each)) > half(each)
            assert to_hex(bar.get_edgecolor()) == ("#b3452c" if fmean(each) < 0 else "#2a7f62")
            assert (bar.get_facecolor()[3] == 1) == told
        (lines,) = [each for each in ax.collections if len(each.get_segments()) == len(expected)]
        assert [(b[0] - a[0]) / 2 for a, b in lines.get_segments()] == pytest.approx(
            [half(each) for _, each in expected]
        )
        name, each = expected[-1]
        widest.append(f"{TITLES[setting]} by {name.replace(':', ',')} ({fmean(each):+.1f} points)")
    assert alt(here, "f") == f"Moved most: {'; '.join(widest)}."


def test_pruned_by_nnslicer(here):
    found = [applied(seed)["nnslicer_pruning"] for seed in range(3)]
    for one in found:
        one.tables["whole"] = [{"accuracy": some(one.seed, "whole")}]
    drawn = figures.nnslicer_fig3(found, "f")
    names, best, subsets = named(drawn), [], ("0+1", "2+3")
    for ax, kept in zip(drawn.axes, KEPT, strict=True):
        base = 100 * fmean(some(seed, "whole") for seed in range(3))
        expected, half_way = [("whole network", [0, 1], [base, base])], {}
        for method, title in PRUNED.items():
            ys = [100 * fmean(some(seed, classes, method, kept, share) for seed in range(3) for classes in subsets)
                  for share in (0.3, 0.5, 0.55, 0.8)]  # fmt: skip
            expected.append((title, [30, 50, 55, 80], ys))
            half_way[title] = ys[1]
        thetas = sorted(
            [100 * fmean(some(seed, classes, *what) for seed in range(3) for classes in subsets)
             for what in ((theta,), ("semantic", kept, theta))]
            for theta in (0.9, 0.8)
        )  # fmt: skip
        expected.append(("semantic slice", *map(list, zip(*thetas, strict=True))))
        half_way["semantic slice"] = np.interp(50, *zip(*thetas, strict=True), left=0, right=0)
        found_here = marks(ax.lines)
        near([(names[key], xs, ys) for key, xs, ys in found_here if not key[3]], expected)
        colours = {names[key]: key[0] for key in names}
        printed = [(key[0], xs, ys) for key, xs, ys in found_here if key[3]]
        by_eye = [
            (colours[title], [50, 55], [float(peer(f"nnslicer-pruned-{share}-{method}")) for share in (50, 55)])
            for method, title in PRUNED.items()
        ]
        near(printed, by_eye if kept == "kept" else [])
        best.append(f"statistics {kept}: {max(half_way, key=half_way.get)}")
    assert alt(here, "f") == f"With half of the synapses pruned the most accuracy is left by, {'; '.join(best)}."
    for other in ({"preset": "smoke"}, {"setting": "vgg16-cifar10"}):  # of which nothing is printed
        axes = figures.nnslicer_fig3([replace(one, **other) for one in found], "f").axes
        assert not any(key[3] for ax in axes for key, *_ in marks(ax.lines))


def test_similarities(here):
    seeds = {"resnet44-cifar10": range(3), "resnet110-cifar10": range(2)}
    found = [arc(setting, seed) for setting in ARCS for seed in seeds[setting]]
    drawn = figures.deeparc_similarities(found, "f")
    names, medians = named(drawn), []
    units = ("layer1.1", "layer2.0", "layer2.1")
    for ax, (setting, title) in zip(drawn.axes, ARCS.items(), strict=True):
        expected = [("thresholds", [0, 1], [each, each]) for each in (0.95, 0.99)]
        halves = []
        for kind in ("biased", "debiased"):
            values = [[some(setting, seed, unit, kind) for seed in seeds[setting]] for unit in units]
            expected.append((f"{kind} CKA", [1, 2, 3], [fmean(each) for each in values]))
            halves += [half(each) for each in values] if len(seeds[setting]) == 3 else []
        near(marks(ax.lines, names), expected)
        bars = [segment for made in ax.containers for part in made[2] for segment in part.get_segments()]
        assert [(high[1] - low[1]) / 2 for low, high in bars] == pytest.approx(halves)
        (span,) = ax.patches
        assert (span.get_x(), span.get_width()) == (1.5, 1)  # the first block of the second stage
        every = [some(setting, seed, unit, "debiased") for seed in seeds[setting] for unit in units]
        medians.append(f"{title} {median(every):.3f}")
    assert alt(here, "f") == f"The median of debiased CKA over consecutive blocks: {', '.join(medians)}."


def test_curves_of_ones_own(here):
    found = [own(setting, seed) for setting in OWN for seed in range(3)]
    drawn = figures.your_curves(found, "f")
    names = named(drawn)
    key = {name: each for each, name in names.items()}
    for ax, setting in zip(drawn.axes, OWN, strict=True):
        xs = [10 * i + 5 for i in range(9)]
        expected = [(key["whole network"], [0, 1], [50, 50])]
        for method in SELECTIONS:
            for metric, title in METRICS.items():
                ys = [100 * fmean(five(setting, seed, i, metric, method) for seed in range(3)) for i in range(9)]
                expected.append(((key[method][0], key[method][1], key[title][2], False), xs, ys))
        near(marks(ax.lines), expected)
    touch = (here / "_generated" / "f.touch.html").read_text()
    content = json.loads(re.search(r">(.*)</script>", touch)[1])
    assert {each["setting"] for each in content["curves"]} == set(OWN.values())
    first = content["curves"][0]
    assert [point[2:4] for point in first["points"]] == [[i, x] for i, x in enumerate(xs)]
