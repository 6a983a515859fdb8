"""What happens to pages beside Jupyter Book: papermill's cell hidden, what the theme leaves undone finished."""

import json

from nssutils.companion import pages


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
