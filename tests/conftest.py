"""Fixtures that several test files share."""

import os
from pathlib import Path

import hypothesis
import pytest

# A process a core, a thread a process: two threads each would wait for one another. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline: tests share their processor with other work, and a slow moment is no failure.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")


@pytest.fixture(scope="session")
def built_book(tmp_path_factory) -> Path:
    """The folder of the book's HTML, built as `make book PRESET=published` does; nothing is computed."""
    from nssutils.companion import runner  # here, not above: most tests need no papermill

    return runner.make_book("published", out=tmp_path_factory.mktemp("build")).parent


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The working directory, beside whose notebook fragments are written."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
