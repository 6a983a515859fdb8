"""The `nss` command: run one chapter with checked parameters, or all of them and build the book; publish results.

papermill executes the notebooks. It only warns of a parameter that a notebook does not have, so names and types are
checked here against the cell tagged `parameters`, whose comments are also the chapter's help text.
"""

import argparse
import ast
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import papermill
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from nssutils import book, figures, results, settings
from nssutils.errors import NssError, near_miss

ROOT = Path(__file__).resolve().parent.parent
BOOK, BUILD = ROOT / "book", ROOT / "build"
PRESETS = (*settings.PRESETS, "published")  # published: compute nothing, show the results that come with the book
ENCRYPTED = Config(KernelManager={"transport_encryption": "auto"})  # else each kernel warns of its open local port

Scalar = str | int | float | bool


class UsageError(NssError):
    """A chapter or parameter that does not exist, or a value of the wrong type."""


class RunError(NssError):
    """A chapter that stopped half way."""


@dataclass(frozen=True)
class Parameter:
    """One line of a chapter's `parameters` cell: `name = default  # help`."""

    name: str
    default: Scalar
    help: str

    @property
    def kind(self) -> str:
        return type(self.default).__name__

    def parse(self, text: str) -> Scalar:
        """The value that a text from the command line stands for, of the default's type."""
        convert = {"bool": _boolean, "int": int, "float": float, "str": str}[self.kind]
        try:
            return convert(text)
        except ValueError:
            wanted = {"bool": "true or false", "int": "a whole number", "float": "a number"}[self.kind]
            raise UsageError(f"parameter {self.name!r}: {text!r} given, expected {wanted}.") from None


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def find(chapter: str, folder: Path = BOOK) -> Path:
    """The notebook of a chapter. Raises UsageError naming the near miss."""
    known = _chapters(folder)
    if chapter not in known:
        raise UsageError(f"unknown chapter {chapter!r}; known: {', '.join(known)}.{near_miss(chapter, known)}")
    return folder / f"{chapter}.ipynb"


def _chapters(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.ipynb"))


def parameters(notebook: Path) -> dict[str, Parameter]:
    """What a notebook's cell tagged `parameters` declares, by name."""
    found = papermill.inspect_notebook(str(notebook)).values()
    return {each["name"]: Parameter(each["name"], ast.literal_eval(each["default"]), each["help"]) for each in found}


def check(given: list[str], known: dict[str, Parameter]) -> dict[str, Scalar]:
    """The values of `name=value` texts. Raises UsageError for an unknown name or an ill-typed value."""
    values = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} given, expected name=value.")
        if name not in known:
            raise UsageError(f"unknown parameter {name!r}; known: {', '.join(known)}.{near_miss(name, known)}")
        values[name] = known[name].parse(value)
    return values


def run(chapter: str, given: list[str], out: Path | None = None, folder: Path = BOOK) -> Path:
    """Execute a chapter with `name=value` parameters; returns the executed copy, build/book/CHAPTER.ipynb unless given.

    Cells run in the copy's folder, so that what they write for the page lies beside it. A copy is kept also when a cell
    fails; one cut short is not, lest it be taken for a whole one. Raises UsageError or RunError.
    """
    notebook = find(chapter, folder)
    values = check(given, parameters(notebook))
    out = (out or BUILD / "book" / notebook.name).absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix="_partial-") as scratch:  # the book leaves it out
        partial = Path(scratch) / out.name  # papermill saves after every cell
        try:
            _execute(notebook, partial, out.parent, values)
        except (PapermillExecutionError, RuntimeError) as error:
            os.replace(partial, out)
            cause = f"{error.ename}: {error.evalue}" if isinstance(error, PapermillExecutionError) else f"{error}"
            raise RunError(f"{chapter} stopped.\n{cause}\nThe executed copy is {_shown(out)}") from error
        os.replace(partial, out)
    return out


def _execute(notebook: Path, out: Path, cwd: Path, values: dict[str, Scalar], attempts: int = 3) -> None:
    """papermill, with the cells' output on the terminal; a RuntimeError is about the kernel, never from a cell."""
    try:
        papermill.execute_notebook(
            notebook, out, values, kernel_name="python3", cwd=cwd,
            progress_bar=False, stdout_file=sys.stdout, stderr_file=sys.stderr, config=ENCRYPTED,
        )  # fmt: skip
    except RuntimeError as error:  # on a busy machine a kernel may die or fall silent while it starts
        if attempts == 1:
            raise
        _say(f"{notebook.stem}: {error}; starting again")
        _execute(notebook, out, cwd, values, attempts - 1)


def make_book(preset: str, out: Path = BUILD, folder: Path = BOOK) -> Path:
    """Run every chapter at a preset and build the HTML; returns its first page."""
    chapters = book.chapters(folder)
    for number, chapter in enumerate(chapters, start=1):
        _say(f"[{number}/{len(chapters)}] {chapter}, preset {preset}")
        run(chapter, [f"preset={preset}"], out / "book" / f"{chapter}.ipynb", folder)
    _say("building the pages")
    book.copy_pages(folder, out / "book")
    return book.render(out / "book", out)


def describe(chapter: str | None, folder: Path = BOOK) -> str:
    """A chapter's help text: its parameters with their defaults and comments. For None: which chapters there are."""
    if chapter is None:
        usage, title, rows = "CHAPTER", "chapters", [(name,) for name in _chapters(folder)]
    else:
        known = parameters(find(chapter, folder)).values()
        usage, title = chapter, "parameters and their defaults"
        rows = [(f"{each.name}={each.default}".ljust(24), each.kind.ljust(5), each.help) for each in known]
    lines = ["  " + "  ".join(row) for row in rows]
    return "\n".join([f"nss run {usage} [-p NAME=VALUE ...] [--out FILE]", "", f"{title}:", *lines])


def _shown(path: Path) -> str:
    return os.path.relpath(path)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _run(args: argparse.Namespace, folder: Path) -> None:
    if args.help:
        print(describe(args.chapter, folder))
    elif args.chapter is None:
        raise UsageError(f"no chapter given; known: {', '.join(_chapters(folder))}.")
    else:
        _say(f"executed: {_shown(run(args.chapter, args.parameters, args.out, folder))}")


def _book(args: argparse.Namespace, folder: Path) -> None:
    _say(f"the book: {_shown(make_book(args.preset, folder=folder))}")


def _publish(args: argparse.Namespace, folder: Path) -> None:
    find(args.chapter, folder)
    for path in results.publish(args.chapter, args.preset):
        _say(f"published: {_shown(path)}")
    if args.chapter == "rq1_slicing":
        picture = folder / "_static" / "fig-5.svg"  # the README's
        figures.draw_fig5(results.published("rq1_slicing")).savefig(
            picture, metadata={"Date": None}, bbox_inches="tight"
        )


COMMANDS = {"run": _run, "book": _book, "publish": _publish}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nss", description="Run the chapters of the NeuSemSlice companion.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    one = commands.add_parser("run", help="execute a chapter (nss run CHAPTER --help: its parameters)", add_help=False)
    one.add_argument("chapter", nargs="?", metavar="CHAPTER")
    one.add_argument("-p", dest="parameters", metavar="NAME=VALUE", action="append", default=[])
    one.add_argument("--out", type=Path, metavar="FILE", help="where the executed copy goes")
    one.add_argument("-h", "--help", action="store_true", help="show the chapter's parameters")

    whole = commands.add_parser("book", help="execute every chapter and build the book")
    whole.add_argument("--preset", choices=PRESETS, default="smoke")

    out = commands.add_parser("publish", help="copy this machine's results of a chapter to data/results")
    out.add_argument("chapter", metavar="CHAPTER")
    out.add_argument("--preset", choices=[p for p in settings.PRESETS if p != "smoke"], required=True)
    return parser


def main(argv: list[str] | None = None, folder: Path = BOOK) -> int:
    """Exit code 0, 1 where something failed, 2 where the command was wrong."""
    args = _parser().parse_args(argv)
    # Threads that spin while they wait slow one another down wherever cores are shared with other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read by the kernels, which start from here
    try:
        COMMANDS[args.command](args, folder)
        return 0
    except KeyboardInterrupt:
        _say("\ninterrupted; what is computed is kept, the same command goes on from there.")
        return 130
    except NssError as error:
        _say(f"nss: {error}")
        return 2 if isinstance(error, UsageError) else 1


if __name__ == "__main__":
    sys.exit(main())
