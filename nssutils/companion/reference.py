"""The method room's functions as pages: Sphinx reads them off the code; their docstrings are prose, not markup.

Named in _config.yml as an extension beside autodoc. book/api_*.md say which module stands where.
"""

import re

from sphinx.application import Sphinx

CODE = re.compile(r"`([^`]+)`")
MARKUP = re.compile(r"([*|\\]|_(?=\W|$))")
UNWRITTEN = re.compile(r"= <[^,()]*>")  # a default that is no literal: with one, Sphinx cannot read the signature


def plain(lines: list[str]) -> None:
    """A docstring's lines as reStructuredText that says just them: `code` is code, other signs are themselves."""
    lines[:] = [
        "".join(f"``{part}``" if odd % 2 else MARKUP.sub(r"\\\1", part) for odd, part in enumerate(CODE.split(line)))
        for line in lines
    ]


def readable(signature: str | None) -> str | None:
    """A signature whose defaults are all Python."""
    return signature and UNWRITTEN.sub("= ...", signature)


def setup(app: Sphinx) -> dict:
    """Sphinx calls this."""
    app.connect(
        "autodoc-process-signature",
        lambda app, what, name, thing, options, signature, returned: (readable(signature), returned),
    )
    app.connect("autodoc-process-docstring", lambda app, what, name, thing, options, lines: plain(lines))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
