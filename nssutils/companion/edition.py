"""Which edition of the book this is, for the foot of each page: the version, and the date of the last published result.

Named in _config.yml as an extension of Sphinx.
"""

import json
from importlib.metadata import version

from sphinx.application import Sphinx
from sphinx.config import Config

from nssutils import files


def text() -> str:
    """Version and date; the date alone is left out where nothing is published."""
    published = sorted((files.ROOT / "data" / "results").glob("*/*/*/seed*.json"))
    made = [json.loads(file.read_bytes())["provenance"]["created"] for file in published]
    return f"nssutils {version('nssutils')}" + (f", last published result of {max(made)[:10]}" if made else "")


def _told(app: Sphinx, config: Config) -> None:
    config.html_theme_options["extra_footer"] = f"<p>{text()}</p>"


def setup(app: Sphinx) -> dict:
    """Sphinx calls this."""
    app.connect("config-inited", _told)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
