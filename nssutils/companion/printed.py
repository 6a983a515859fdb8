"""The book on paper: each page as a PDF, printed by headless Chromium, in the book's order."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nssutils import files
from nssutils.companion.pages import BookError, listed

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 120  # for one page, on a busy machine


def pdfs(html: Path, out: Path, names: Sequence[str]) -> list[Path]:
    """Print the pages `names` of the book's HTML into a folder, numbered; returns the files. Pages of an earlier print
    go, all else in the folder stays.

    Raises BookError where the book is not built, no browser is there, or a page could not be printed.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise BookError(
            f"none of {', '.join(BROWSERS)} is on the PATH, expected one (Debian: apt-get install chromium)."
        )
    if missing := [name for name in names if not (html / f"{name}.html").exists()]:
        raise BookError(f"{html} lacks {', '.join(missing)}, expected the built book: `make book`, then again.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for old in out.glob("[0-9][0-9]-*.pdf"):
            old.unlink()
    except OSError as error:
        raise BookError(f"{out} cannot be written ({error.strerror}), expected a folder that can be.") from error
    done = []
    with tempfile.TemporaryDirectory() as profile:
        for number, name in enumerate(names):
            done.append(out / f"{number:02}-{name}.pdf")
            _print(browser, profile, html / f"{name}.html", done[-1])
    return done


def book(html: Path, out: Path, folder: Path) -> list[Path]:
    """Print every page that the table of contents in `folder` lists."""
    return pdfs(html, out, listed(folder))


def _print(browser: str, profile: str, page: Path, target: Path) -> None:
    options = ["--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    options += ["--no-sandbox"] * (os.geteuid() == 0)  # the sandbox refuses to start as root, as in a container
    options += [f"--user-data-dir={profile}", "--no-pdf-header-footer", f"--print-to-pdf={target}"]
    try:
        said = subprocess.run(
            [browser, *options, page.as_uri()], capture_output=True, text=True, timeout=SECONDS
        ).stderr
    except subprocess.TimeoutExpired:
        said = f"nothing within {SECONDS} seconds"
    if not target.exists() or not target.read_bytes().startswith(b"%PDF"):
        raise BookError(
            f"{page.name} could not be printed, expected {os.path.relpath(target, files.ROOT)}: {said[-500:]}"
        )
