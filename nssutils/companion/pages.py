"""Turn the chapters of book/ into HTML: Jupyter Book, fed with copies of the pages and the executed notebooks."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from nssutils import files
from nssutils.errors import NssError

CONFIG = files.ROOT / "_config.yml"
FROM_OUTSIDE = {"contributing.md": files.ROOT / "CONTRIBUTING.md"}  # pages whose text is not kept in book/
UNNEEDED = re.compile(r"\s*<script[^>]*fontawesome\.js[^>]*></script>")  # 1.5 MB: the stylesheet has the icons, too
TITLE = re.compile(r"<title>\s*(.*?)\s*</title>", re.DOTALL)
ABOUT = """<meta name="description" content="{title}: what the paper claims, recomputed, and what holds.">
<meta property="og:type" content="article">
<meta property="og:title" content="{title}">
<meta property="og:description" content="What the paper claims, recomputed from the datasets up, and what holds.">
"""
INDEX = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<meta http-equiv="refresh" content="0; url=intro.html">
<link rel="canonical" href="intro.html">
</head>
<body><main><h1>{title}</h1><p><a href="intro.html">To the first page</a></p></main></body>
</html>
"""


class BookError(NssError):
    """The book could not be built."""


def chapters(book: Path) -> list[str]:
    """The notebooks that book/_toc.yml lists, in its order."""
    return [page for page in listed(book) if (book / f"{page}.ipynb").exists()]


def listed(book: Path) -> list[str]:
    """Every page that book/_toc.yml lists, in its order."""
    return _pages(yaml.safe_load((book / "_toc.yml").read_text()))


def _pages(entry: dict) -> list[str]:
    """Every page of a table of contents, in reading order, through its parts and sections."""
    below = entry.get("parts", []) + entry.get("chapters", []) + entry.get("sections", [])
    own = [entry.get("root") or entry.get("file")]
    return [page for page in own if page] + [page for child in below for page in _pages(child)]


def copy_pages(book: Path, to: Path) -> None:
    """Copy all but the notebooks, whose executed copies the runner writes there. Unchanged files keep their time."""
    own = {str(source.relative_to(book)): source for source in sorted(book.rglob("*")) if source.is_file()}
    for name, source in (own | FROM_OUTSIDE).items():
        if not source.exists():
            raise BookError(f"{source} is not there, expected the text of page {name}: git checkout brings it back.")
        if source.suffix != ".ipynb":
            with files.atomically(to / name) as partial:
                shutil.copy2(source, partial)


def render(pages: Path, out: Path) -> Path:
    """Build the HTML of the pages, warnings taken as errors; returns its first page. Raises BookError."""
    hide_injected(pages)
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["--config", CONFIG, "--toc", pages / "_toc.yml", "--path-output", out, "-W", "--keep-going", "-q"]
    # Its last words are a banner; what matters, the warnings, goes to stderr.
    done = subprocess.run([*jupyter_book, "build", pages, *options], stdout=subprocess.DEVNULL)
    if done.returncode:
        raise BookError("the book has warnings or errors, see above; its pages are not to be trusted.")
    html = out / "_build" / "html"
    finish(html)
    return html / "index.html"


def hide_injected(pages: Path) -> None:
    """Keep papermill's second cell of parameters off the page: the first explains them."""
    for notebook in pages.glob("*.ipynb"):
        content = json.loads(notebook.read_text())
        injected = [cell for cell in content["cells"] if "injected-parameters" in cell["metadata"].get("tags", [])]
        if any("remove-cell" not in cell["metadata"]["tags"] for cell in injected):
            for cell in injected:
                cell["metadata"]["tags"].append("remove-cell")
            with files.atomically(notebook) as partial:
                partial.write_text(json.dumps(content, indent=1, ensure_ascii=False))


def finish(html: Path) -> None:
    """What the theme leaves undone: a script that no page needs goes, each page says what it is where it is linked to,
    and the first address gets a title and a language."""
    for page in html.glob("*.html"):
        text = UNNEEDED.sub("", page.read_text())
        text = text.replace('role="doc-biblioentry"', 'role="listitem"')  # the former may not be in a list
        if "og:title" not in text and (title := TITLE.search(text)):
            text = text.replace("</head>", f"{ABOUT.format(title=title[1])}</head>", 1)
        page.write_text(text)
    for script in (html / "_static" / "scripts").glob("fontawesome.js*"):
        script.unlink()
    title = yaml.safe_load(CONFIG.read_text())["title"]
    (html / "index.html").write_text(INDEX.format(title=title))
