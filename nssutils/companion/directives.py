"""What the pages need of Sphinx beyond Jupyter Book: tables and figures of our own making, numbered like all others.

    ~~~{shown-table} _generated/table-1.html        ~~~{shown-figure} _generated/fig-5.svg
    :name: table-1                                  :name: fig-5
                                                    :alt: what it shows, in a sentence
    The caption.
    ~~~                                             The caption.
                                                    ~~~

The file becomes part of the page: an SVG follows the theme, a table has what Markdown's cannot have. `touch` names
another file, which makes a figure answer to the reader (figures/touch.py).
"""

from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class shown_table(nodes.General, nodes.Element):
    """Counts as a table."""


class shown_figure(nodes.General, nodes.Element):
    """Counts as a figure."""


class Shown(SphinxDirective):
    """Both directives; `kind` is the node they make."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar = {"name": directives.unchanged, "alt": directives.unchanged, "touch": directives.unchanged}
    kind: type

    def run(self) -> list[nodes.Node]:
        text = self._text(self.arguments[0])
        if alt := self.options.get("alt"):
            escaped = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
            text = text.replace("<svg ", f'<svg role="img" aria-label="{escaped}" ', 1)
        touch = self._text(self.options["touch"]) if "touch" in self.options else ""
        node = self.kind("", html=text, touch=touch)
        parsed, messages = self.parse_inline(" ".join(self.content))
        if parsed:
            node += nodes.caption("", "", *parsed)
        if "name" in self.options:
            self.add_name(node)
        return [node, *messages]

    def _text(self, name: str) -> str:
        _, path = self.env.relfn2path(name)
        self.env.note_dependency(path)
        return Path(path).read_text()


class ShownTable(Shown):
    kind = shown_table


class ShownFigure(Shown):
    kind = shown_figure


def _open(self, node) -> None:
    kind = type(node).__name__.replace("_", "-")
    self.body.append(self.starttag(node, "figure", CLASS=f"shown {kind}"))
    if isinstance(node, shown_figure):
        self.body.append(f'<div class="drawing" tabindex="0">{node["html"]}</div>{node["touch"]}')
    if node.children:
        self.body.append("<figcaption>")


def _close(self, node) -> None:
    if node.children:
        self.body.append("</figcaption>")
    if isinstance(node, shown_table):
        self.body.append(node["html"])
    self.body.append("</figure>\n")


def setup(app: Sphinx) -> dict:
    """Sphinx calls this; _config.yml names the module."""
    app.add_enumerable_node(shown_table, "table", html=(_open, _close))
    app.add_enumerable_node(shown_figure, "figure", html=(_open, _close))
    app.add_directive("shown-table", ShownTable)
    app.add_directive("shown-figure", ShownFigure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
