"""The chapters of book/: which there are, and what may be passed to them.

papermill only warns of a parameter that a notebook does not have, so names and types are checked here against the cell
tagged `parameters`, whose comments are also the chapter's help text.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

from nssutils import files
from nssutils.errors import NssError, near_miss

BOOK = files.ROOT / "book"

Scalar = str | int | float | bool


class UsageError(NssError):
    """A chapter or parameter that does not exist, or a value of the wrong type."""


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
    there = known(folder)
    if chapter not in there:
        raise UsageError(f"unknown chapter {chapter!r}; known: {', '.join(there)}.{near_miss(chapter, there)}")
    return folder / f"{chapter}.ipynb"


def known(folder: Path = BOOK) -> list[str]:
    """The names of the notebooks."""
    return sorted(path.stem for path in folder.glob("*.ipynb"))


def parameters(notebook: Path) -> dict[str, Parameter]:
    """What a notebook's cell tagged `parameters` declares, by name."""
    import papermill  # a sweep reads no notebook, and plans sooner without

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
