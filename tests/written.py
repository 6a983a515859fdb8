"""Results made up for a test, and what a table writes of them."""

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
    """The rows of a written table, as lists of cells."""
    lines = (here / "_generated" / f"{label}.md").read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
