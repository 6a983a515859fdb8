"""What happens to pages beside Jupyter Book: papermill's cell hidden, what the theme leaves undone finished."""

import json
import re
from importlib.metadata import version

import pytest

from nssutils import files
from nssutils.companion import edition, pages, printed, reference


def test_the_injected_parameters_are_hidden_once(tmp_path):
    cells = [
        {"cell_type": "code", "metadata": {"tags": [tag]}, "source": ""}
        for tag in ("parameters", "injected-parameters")
    ]
    notebook = tmp_path / "chapter.ipynb"
    notebook.write_text(json.dumps({"cells": cells}))
    pages.hide_injected(tmp_path)
    once = notebook.read_text()
    pages.hide_injected(tmp_path)
    assert notebook.read_text() == once  # an unchanged page is not built again
    shown, hidden = json.loads(once)["cells"]
    assert shown["metadata"]["tags"] == ["parameters"]
    assert hidden["metadata"]["tags"] == ["injected-parameters", "remove-cell"]


def test_pages_are_finished(tmp_path):
    (tmp_path / "_static" / "scripts").mkdir(parents=True)
    (tmp_path / "_static" / "scripts" / "fontawesome.js").touch()
    page = tmp_path / "rq1.html"
    page.write_text(
        '<head><title>RQ1</title>\n<script defer src="_static/scripts/fontawesome.js?digest=1"></script></head>'
        '<div role="list"><div role="doc-biblioentry">'
    )
    pages.finish(tmp_path)
    assert "fontawesome" not in page.read_text() and '<meta property="og:title" content="RQ1">' in page.read_text()
    assert '<div role="list"><div role="listitem">' in page.read_text()
    assert not list((tmp_path / "_static" / "scripts").iterdir())
    assert '<html lang="en">' in (tmp_path / "index.html").read_text()
    once = page.read_text()
    pages.finish(tmp_path)
    assert page.read_text() == once


def test_a_page_whose_text_lies_elsewhere_is_copied(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "intro.md").write_text("# One")
    (tmp_path / "book" / "one.ipynb").write_text("{}")
    pages.copy_pages(tmp_path / "book", tmp_path / "to")
    assert sorted(file.name for file in (tmp_path / "to").iterdir()) == ["contributing.md", "intro.md"]
    assert (tmp_path / "to" / "contributing.md").read_text() == (files.ROOT / "CONTRIBUTING.md").read_text()


def test_a_signature_that_sphinx_could_not_read_is_shortened():
    given = "(net: ~torch.Module, rows: dict[str, int] = <factory>, pairs: Callable = <function <lambda>>, x=None)"
    assert (
        reference.readable(given) == "(net: ~torch.Module, rows: dict[str, int] = ..., pairs: Callable = ..., x=None)"
    )
    assert reference.readable("(a: int = 1)") == "(a: int = 1)" and reference.readable(None) is None


def test_every_module_of_the_method_is_in_the_reference():
    text = "".join(page.read_text() for page in (files.ROOT / "book").glob("api_*.md"))
    told = re.findall(r"automodule:: nssutils\.(\w+)", text)
    assert sorted(told) == sorted(
        file.stem for file in (files.ROOT / "nssutils").glob("*.py") if file.stem != "__init__"
    )


def test_a_docstring_is_prose_with_code():
    lines = ["`x` |M| *.damaged, see _read and file_ of `a*b`"]
    reference.plain(lines)
    assert lines == [r"``x`` \|M\| \*.damaged, see _read and file\_ of ``a*b``"]


def test_the_foot_of_a_page_tells_version_and_last_result(tmp_path, monkeypatch):
    assert re.fullmatch(rf"nssutils {version('nssutils')}, last published result of 20\d\d-\d\d-\d\d", edition.text())
    for number, day in enumerate(("2026-01-02", "2025-12-31")):
        file = tmp_path / "data" / "results" / "a" / "paper" / "b" / f"seed{number}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"provenance": {"created": f"{day}T00:00:00+00:00"}}))
    monkeypatch.setattr(files, "ROOT", tmp_path)
    assert edition.text().endswith("last published result of 2026-01-02")
    monkeypatch.setattr(files, "ROOT", tmp_path / "none")
    assert edition.text() == f"nssutils {version('nssutils')}"


def test_printing_needs_a_browser_and_a_book(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(pages.BookError, match=r"none of chromium, .* is on the PATH"):
            printed.pdfs(tmp_path, tmp_path / "out", ["intro"])
    monkeypatch.setattr(printed, "BROWSERS", ("true",))
    with pytest.raises(pages.BookError, match="lacks intro, expected the built book"):
        printed.pdfs(tmp_path, tmp_path / "out", ["intro"])
    (tmp_path / "intro.html").touch()
    (tmp_path / "out").mkdir()
    for name in ("00-cover.pdf", "thesis.pdf", "notes.txt"):
        (tmp_path / "out" / name).touch()
    with pytest.raises(pages.BookError, match=r"intro\.html could not be printed"):
        printed.pdfs(tmp_path, tmp_path / "out", ["intro"])
    # An earlier print is gone, and nothing else that was there.
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"thesis.pdf", "notes.txt"}
    with pytest.raises(pages.BookError, match=r"intro\.html cannot be written"):
        printed.pdfs(tmp_path, tmp_path / "intro.html", ["intro"])
