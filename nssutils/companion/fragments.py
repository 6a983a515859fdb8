"""Numbered tables and figures as MyST fragments, which the chapters include: `_generated/<label>.md` and `.svg`."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import matplotlib
import pandas as pd
import yaml
from IPython.display import Markdown
from matplotlib.figure import Figure

from nssutils import files
from nssutils.companion.results import DATA, Result

# Reproducible SVG: no random ids; text stays text, so that it can be searched and read aloud.
matplotlib.rcParams |= {"svg.hashsalt": "nssutils", "svg.fonttype": "none", "font.family": "sans-serif"}

# Fences are of tildes: one of backticks is no fence where the caption holds a backtick.
# Beside the notebook: papermill runs it in the folder of its executed copy.
FOLDER = Path("_generated")

TITLES = {
    "mlp-mnist": "MLP-MNIST",
    "mlp-fmnist": "MLP-FMNIST",
    "alexnet-cifar10": "AlexNet-CIFAR10",
    "vgg16-cifar10": "VGG16-CIFAR10",
    "resnet101-cifar10": "ResNet101-CIFAR10",
    "vgg19-imagenet10": "VGG19-ImageNet10",
    "resnet10-cifar10": "ResNet10-CIFAR10",
    "lenet-mnist": "LeNet-MNIST",
    "resnet14-cifar10": "ResNet14-CIFAR10",
    "resnet44-cifar10": "ResNet44-CIFAR10",
    "resnet86-cifar10": "ResNet86-CIFAR10",
    "resnet110-cifar10": "ResNet110-CIFAR10",
    "resnet18-cifar10": "ResNet18-CIFAR10",
    "vit-cifar10": "ViT-CIFAR10",
}
DAGGER = "†"
METRIC_TITLES = {"avg": "Avg", "var": "Var", "ens": "Ens", "deeplift": "DeepLIFT", "taylor": "Taylor"}


def paper_table(number: int) -> pd.DataFrame:
    """The paper's Table `number` in long format, values as printed (data/paper/README.md has the columns)."""
    return _read(f"table{number}.csv", keep_default_na=False).copy()


def paper_grid(number: int, measure: str) -> pd.DataFrame:
    """A measure of the paper's Tables 4 to 6, as printed: settings down (Table 5: attacks, too), methods across; a dash
    is NaN."""
    table = paper_table(number)
    mine = table[table["measure"] == measure].astype({"value": float})
    return mine.pivot(index=["attack", "setting"] if number == 5 else "setting", columns="method", values="value")


def paper_number(name: str) -> float:
    """A number that the paper's text states, by its id in data/paper/text_numbers.csv."""
    return float(_read("text_numbers.csv", index_col="id").loc[name, "value"])


def peer_numbers(peer: str) -> dict[str, float]:
    """The numbers that a peer's paper states or draws, by their ids in data/paper/<peer>_numbers.csv."""
    return dict(_read(f"{peer}_numbers.csv", index_col="id")["value"])


def peer_table(name: str) -> pd.DataFrame:
    """A table of a peer's paper, data/paper/<name>.csv, as printed."""
    return _read(f"{name}.csv").copy()


def dagger(number: int, **cell) -> str:
    """The mark of a printed cell of the paper's Table `number` that one of the paper's own slips concerns, else ""."""
    marks = [mark for entry in _errors() for mark in entry["marks"] if mark["table"] == number]
    concerned = any(all(cell[key] == mark[key] for key in mark.keys() - {"table"}) for mark in marks)
    return DAGGER if concerned else ""


@cache
def _errors() -> list[dict]:
    return yaml.safe_load((DATA / "paper" / "errors.yaml").read_text())


@cache
def _read(name: str, **how) -> pd.DataFrame:
    return pd.read_csv(DATA / "paper" / name, **how)


def percent(mean: float, half: float | None = None) -> str:
    """A share in [0, 1] as percent, with half its 95% interval where there is one: "41.20 ± 1.31"."""
    if mean is None or pd.isna(mean):
        return "–"
    spread = "" if half is None or pd.isna(half) else f" ± {100 * half:.2f}"
    return f"{100 * mean:.2f}{spread}"


def beside_paper(ours: str, paper: float | str | None) -> str:
    """A cell with our value above the paper's."""
    return ours if paper is None else f"{ours}<br><small>paper {paper}</small>"


def origin(found: Iterable[Result]) -> str:
    """Where results are from, for a caption: preset, seeds, test images and device of each setting."""
    by_setting: dict[str, list[Result]] = {}
    for result in found:
        by_setting.setdefault(result.setting, []).append(result)
    parts = []
    for name, group in by_setting.items():
        devices = " and ".join(sorted({str(result.provenance["device"]) for result in group}))
        seeds = f"{len(group)} seed" + ("s" if len(group) > 1 else "")
        images = f"{count:,} test images, " if (count := test_images(group[0])) else ""
        parts.append(f"{TITLES[name]}: preset {group[0].preset}, {seeds}, {images}{devices}")
    grouped: dict[str, list[str]] = {}
    for part in parts:
        title, rest = part.split(": ", 1)
        grouped.setdefault(rest, []).append(title)
    text = "; ".join(f"{', '.join(titles)}: {rest}" for rest, titles in grouped.items())
    warning = " Preset smoke runs on other data and thin networks: no reproduction." if " smoke," in text else ""
    return f"{text}.{warning}"


def test_images(result: Result) -> int:
    """How many test images an accuracy was measured on; 0 where an older result does not say."""
    counts = [row["images"] for row in result.tables.get("base", []) if "images" in row]
    if counts:
        return sum(counts) if result.chapter == "pilot_categorywise" else counts[0]
    return result.provenance["setting"].get("test_size", 0)


def table(rows: pd.DataFrame, label: str, caption: str, found: list[Result], texts: int = 1) -> Markdown:
    """Write a numbered table `_generated/<label>.md` whose caption ends with where its numbers are from.

    The first `texts` columns hold text and are aligned to the left, the others numbers.
    """
    rule = [":---"] * texts + ["---:"] * (rows.shape[1] - texts)
    lines = ["| " + " | ".join(cells) + " |" for cells in (rows.columns, rule)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows.itertuples(index=False)]
    body = "\n".join(lines)
    write(f"{label}.md", f"~~~{{table}} {_captioned(caption, found)}\n:name: {label}\n\n{body}\n~~~\n")
    return Markdown(f"{caption}\n\n{body}")


def figure(drawn: Figure, label: str, caption: str, alt: str, found: list[Result]) -> Figure:
    """Write a numbered figure `_generated/<label>.svg` and the fragment that includes it with caption and alt text."""
    FOLDER.mkdir(exist_ok=True)
    drawn.savefig(FOLDER / f"{label}.svg", metadata={"Date": None}, bbox_inches="tight")
    write(
        f"{label}.md",
        f"~~~{{figure}} _generated/{label}.svg\n:name: {label}\n:alt: {alt}\n:width: 100%\n\n"
        f"{_captioned(caption, found)}\n~~~\n",
    )
    return drawn


def nothing(label: str, why: str) -> Markdown:
    """Write a fragment that says why there is no table or figure, in its place: what links there finds the note."""
    text = f"```{{note}}\n:name: {label}\n\n{why}\n```\n"
    write(f"{label}.md", text)
    return Markdown(why)


def _captioned(caption: str, found: list[Result]) -> str:
    return f"{caption} {origin(found)}" if found else caption


def write(name: str, text: str) -> None:
    """Write a fragment `_generated/<name>` that a page includes."""
    with files.atomically(FOLDER / name) as partial:
        partial.write_text(text)
