"""Turn the chapters of book/ into HTML: Jupyter Book, fed with copies of the pages and the executed notebooks."""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from nssutils import files
from nssutils.errors import NssError

CONFIG = files.ROOT / "_config.yml"


class BookError(NssError):
    """The book could not be built."""


def chapters(book: Path) -> list[str]:
    """The notebooks that book/_toc.yml lists, in its order."""
    toc = yaml.safe_load((book / "_toc.yml").read_text())
    return [page for page in _pages(toc) if (book / f"{page}.ipynb").exists()]


def _pages(entry: dict) -> list[str]:
    """Every page of a table of contents, in reading order, through its parts and sections."""
    below = entry.get("parts", []) + entry.get("chapters", []) + entry.get("sections", [])
    own = [entry.get("root") or entry.get("file")]
    return [page for page in own if page] + [page for child in below for page in _pages(child)]


def copy_pages(book: Path, to: Path) -> None:
    """Copy all but the notebooks, whose executed copies the runner writes there. Unchanged files keep their time."""
    for source in sorted(book.rglob("*")):
        target = to / source.relative_to(book)
        if source.is_file() and source.suffix != ".ipynb":
            with files.atomically(target) as partial:
                shutil.copy2(source, partial)


def render(pages: Path, out: Path) -> Path:
    """Build the HTML of the pages, warnings taken as errors; returns its first page. Raises BookError."""
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["--config", CONFIG, "--toc", pages / "_toc.yml", "--path-output", out, "-W", "--keep-going", "-q"]
    # Its last words are a banner; what matters, the warnings, goes to stderr.
    done = subprocess.run([*jupyter_book, "build", pages, *options], stdout=subprocess.DEVNULL)
    if done.returncode:
        raise BookError("the book has warnings or errors, see above; its pages are not to be trusted.")
    return out / "_build" / "html" / "index.html"
