"""Numbered tables and figures as MyST fragments, which the chapters include: `_generated/<label>.md` and `.svg`."""

import json
from functools import cache
from pathlib import Path

import pandas as pd
import yaml
from IPython.display import HTML, Markdown
from matplotlib.figure import Figure

from nssutils import files
from nssutils.companion import colours, grids, origins
from nssutils.companion.results import DATA, PUBLISHED, Result, path

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
    return _grid(number, measure).copy()


@cache
def _grid(number: int, measure: str) -> pd.DataFrame:
    table = paper_table(number)
    mine = table[table["measure"] == measure].astype({"value": float})
    return mine.pivot(index=["attack", "setting"] if number == 5 else "setting", columns="method", values="value")


def paper_value(number: int, **cell: str) -> float:
    """A cell of the paper's Tables 4 to 6 by its method, setting, measure and, of Table 5, attack; NaN where the paper
    has none: for a setting or method that it lacks, and for a dash."""
    cells = _cells(number)
    return cells.get(tuple(cell[name] for name in cells.index.names), float("nan"))


@cache
def _cells(number: int) -> pd.Series:
    table = paper_table(number)
    return table.set_index([name for name in table if name != "value"])["value"].astype(float).sort_index()


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


def beside_paper(ours: str, paper: float | str | None) -> str | tuple[str, str]:
    """A cell of our value and the paper's, which stand side by side with their difference; ours alone without one."""
    return ours if paper is None else (ours, f"{paper}")


def table(
    rows: pd.DataFrame, label: str, caption: str, found: list[Result], texts: int = 1, note: str = "", best=()
) -> HTML:
    """Write a numbered table `_generated/<label>.md`, its HTML beside it, and its cells as CSV and JSON.

    The first `texts` columns name a row. What a reader needs to know goes into the caption, what else there is to say
    into the note, in the fold below. best: columns whose highest value is marked (grids.html).
    """
    scales = {TITLES[group[0].setting]: origins.scale(group) for group in origins.by_cell(found)}
    body, flat = grids.html(rows, texts, scales, best), grids.flat(rows)
    write(f"{label}.html", body)
    write(f"{label}.csv", flat.to_csv(index=False))
    write(f"{label}.json", json.dumps(flat.to_dict("records"), ensure_ascii=False, indent=1, default=str))
    write(f"{label}.compared.json", json.dumps(grids.compared(rows, texts), ensure_ascii=False))
    downloads = f"{{download}}`CSV <_generated/{label}.csv>`, {{download}}`JSON <_generated/{label}.json>`"
    caption += f" {grids.BEST}: the highest." if best else ""
    text = f"~~~{{shown-table}} _generated/{label}.html\n:name: {label}\n\n{caption}\n~~~\n\n"
    write(f"{label}.md", text + origins.fold(found, TITLES, downloads, note))
    write(f"{label}.origins.json", json.dumps(_made_of(found)))
    return HTML(body)


def figure(
    drawn: Figure | str, label: str, caption: str, alt: str, found: list[Result], note: str = "", touch: str = ""
) -> Figure | HTML:  # fmt: skip
    """Write a numbered figure `_generated/<label>.svg` and the fragment that shows it with caption and alt text.

    drawn: by matplotlib, or as SVG in the page's own colours. alt: what the figure shows, computed. touch: what makes
    it answer to the reader, as HTML (figures.touch).
    """
    by_hand = isinstance(drawn, str)
    write(f"{label}.svg", drawn if by_hand else colours.svg(drawn, label))
    options = f":name: {label}\n:alt: {alt}\n"
    if touch:
        write(f"{label}.touch.html", touch)
        options += f":touch: _generated/{label}.touch.html\n"
    text = f"~~~{{shown-figure}} _generated/{label}.svg\n{options}\n{caption}\n~~~\n\n"
    write(f"{label}.md", text + (origins.fold(found, TITLES, note=note) if found or note else ""))
    write(f"{label}.origins.json", json.dumps(_made_of(found)))
    return HTML(drawn) if by_hand else drawn


def _made_of(found: list[Result]) -> list[str]:
    """The places, in the project, that results have once they are published: for the record (companion/crate.py)."""
    own = {path(PUBLISHED, one.chapter, one.preset, one.setting, one.seed, one.readings) for one in found}
    return sorted(file.relative_to(files.ROOT).as_posix() for file in own)


def nothing(label: str, why: str, kind: str = "") -> Markdown:
    """Write a fragment that says why there is no table or figure, in its place: what links there finds the note.

    kind: a class for the stylesheet, which shows the first note of class `once` in a section or fold, and no other.
    """
    options = f":class: {kind}\n" * bool(kind)
    text = f"```{{note}}\n:name: {label}\n{options}\n{why}\n```\n"
    write(f"{label}.md", text)
    return Markdown(why)


def write(name: str, text: str) -> None:
    """Write a file `_generated/<name>` that a page includes."""
    with files.atomically(FOLDER / name) as partial:
        partial.write_text(text)
