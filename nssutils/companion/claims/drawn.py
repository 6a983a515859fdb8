"""The ledger of claims in one picture: a row for each claim, a column for each setting."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from nssutils import settings
from nssutils.companion import fragments
from nssutils.companion.claims import rules
from nssutils.companion.claims.judging import JOINTLY, overall
from nssutils.companion.colours import INK, LIGHT, LINE

# Light and dark of one hue would not do for readers who see few colours: the symbols say it, too.
COLOURS = {
    rules.REPRODUCED: LIGHT["reproduced"], rules.DIRECTION: LIGHT["direction"],
    rules.CONTRADICTED: LIGHT["contradicted"], rules.UNTOLD: LIGHT["untold"], rules.UNTESTABLE: "none",
}  # fmt: skip
PEERS = ("resnet10-cifar10", "resnet14-cifar10", "resnet44-cifar10", "resnet110-cifar10")
COLUMNS = (*settings.NAMES, *PEERS, *settings.OWN, JOINTLY)
SHORT = (
    "MLP-M", "MLP-F", "AlexNet", "VGG16", "ResNet", "VGG19", "ResNet10", "ResNet14", "ResNet44", "ResNet110",
    "ResNet18", "ViT", "all",
)  # fmt: skip
BLOCKS = 4
TITLES = {
    "P": "Pilot studies", "S": "RQ1: slicing", "R": "RQ2: a smaller network", "A": "RQ3: repair",
    "I": "RQ4: new classes", "H": "Headlines", "N": "NNSlicer", "D": "DeepArc",
    "Y": "Beyond the papers",
}  # fmt: skip


def claims_figure(judged: pd.DataFrame, label: str) -> Figure:
    """Claims by settings, coloured by verdict, with a symbol in each cell."""
    counts = overall(judged)["verdict"].value_counts()
    said = ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in rules.VERDICTS)
    caption = f"What became of the papers' claims, by the published results: of {counts.sum()}, {said}."
    note = (
        "A row is a claim, by its number in the ledger; arrows show which way networks point that are too few to tell."
    )
    alt = (
        f"A grid of claims by settings, coloured by verdict and with a symbol in each cell. Over the settings: {said}."
    )
    return fragments.figure(draw_claims(judged), label, caption, alt, [], note)


def draw_claims(judged: pd.DataFrame) -> Figure:
    """The drawing of `claims_figure`, without its caption."""
    lines: list[tuple[str, str | None]] = []  # a heading, or a claim
    for name in judged["id"].unique():
        heading = TITLES[name.rstrip("0123456789")]
        if heading not in [text for text, claim in lines if claim is None]:
            lines.append((heading, None))
        lines.append((heading, name))
    height = -(-len(lines) // BLOCKS)
    drawn, axes = plt.subplots(1, BLOCKS, figsize=(10.5, 0.25 * height + 1.1), layout="constrained")
    cells = judged.set_index(["id", "setting"])
    for number, ax in enumerate(axes):
        _block(ax, lines[number * height : (number + 1) * height], height, cells)
    handles = [
        Patch(facecolor=COLOURS[verdict], edgecolor=LINE, label=f"{rules.SYMBOLS[verdict]} {verdict}")
        for verdict in rules.VERDICTS
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    plt.close(drawn)
    return drawn


def _block(ax: Axes, lines: list[tuple[str, str | None]], height: int, cells: pd.DataFrame) -> None:
    ax.set(xlim=(-1.3, len(COLUMNS)), ylim=(height, -1.6))
    ax.axis("off")
    for x, text in enumerate(SHORT):
        ax.text(x + 0.5, -0.15, text, rotation=60, fontsize=6.5, ha="left", va="bottom")
    for y, (heading, name) in enumerate(lines):
        if name is None:
            ax.text(-1.25, y + 0.6, heading, fontsize=8, weight="bold", va="center")
            continue
        ax.text(-0.12, y + 0.5, name, fontsize=7.5, ha="right", va="center")
        for x, setting in enumerate(COLUMNS):
            if (name, setting) in cells.index:
                _cell(ax, x, y, cells.loc[(name, setting)])


def _cell(ax: Axes, x: int, y: int, one: pd.Series) -> None:
    ax.add_patch(Rectangle((x + 0.04, y + 0.04), 0.92, 0.92, facecolor=COLOURS[one["verdict"]], edgecolor=LINE, lw=0.5))
    dark = one["verdict"] in (rules.REPRODUCED, rules.CONTRADICTED)
    ax.text(
        x + 0.5, y + 0.52, rules.mark(one["verdict"], one["tendency"]), fontsize=7.5, ha="center", va="center",
        color=LIGHT["on-verdict"] if dark else INK,
    )  # fmt: skip
