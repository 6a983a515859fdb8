"""Results made up for a test, and what a table writes of them."""

import csv

from nssutils.companion import results

ORIGIN = {
    "setting": {"width": 1.0, "image_size": 32, "train_size": 0, "epochs": 3},
    "device": "a device",
    "versions": {},
    "data_sha256": "0123456789abcdef",
    "code_sha256": "",
    "created": "",
    "seconds": 1.0,
}


def result(chapter, rows, seed=0, setting="vgg16-cifar10", preset="quick"):
    return results.Result(chapter, preset, setting, seed, {}, ORIGIN, rows)


def body(here, label):
    """A written table as lists of cells: its head, a rule, its rows; ours with the paper's value below, if any."""
    with (here / "_generated" / f"{label}.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    names = [name for name in head if not name.endswith((", paper", ", difference"))]

    def cell(row, name):
        paper = row.get(f"{name}, paper")
        return f"{row[name]}<br><small>paper {paper}</small>" if paper else row[name]

    found = [dict(zip(head, row, strict=True)) for row in rows]
    return [names, ["---"] * len(names), *([cell(row, name) for name in names] for row in found)]
