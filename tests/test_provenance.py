"""A digest of code changes with what the code does, and with nothing else."""

import pytest

from nssutils import provenance


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "nssutils"
    folder.mkdir()
    (folder / "one.py").write_text("from nssutils import two\n\n\ndef f(x):\n    return two.g(x)\n")
    (folder / "two.py").write_text("def g(x):\n    return x + 1\n")
    (folder / "other.py").write_text("y = 1\n")
    monkeypatch.setattr(provenance, "PACKAGE", folder)
    return folder


def digest() -> str:
    provenance.code_digest.cache_clear()
    return provenance.code_digest("one")


def test_comments_layout_and_docstrings_do_not_count(package):
    before = digest()
    (package / "one.py").write_text(
        '"""About."""\nfrom nssutils import two  # here\n\ndef f(x):\n    """Says."""\n\n    return (two.g(x))\n'
    )
    (package / "two.py").write_text("# plus one\ndef g(x): return x + 1\n")
    assert digest() == before and len(before) == 64
    (package / "one.py").write_text((package / "one.py").read_text().replace("Says", "Says more"))
    assert digest() == before
    (package / "other.py").write_text("y = 2\n")
    assert digest() == before


def test_a_string_that_is_no_docstring_counts(package):
    before = digest()
    (package / "two.py").write_text('def g(x):\n    x = "x"\n    return x + 1\n')
    assert digest() != before


def test_every_version_of_python_gives_the_same(package):
    """A GPU's machine may have another one: what it measured must not be taken for other code's."""
    (package / "one.py").write_text(
        'class A(Exception):\n    """Only this."""\n\n\n'
        "def f(x, *, y: int | None = None):\n"
        """    return f"{x['a']!r:>{y}} it's" + 'a' "b" + str([1.5, -2, b'c', None, ...])\n"""
    )
    assert digest() == "2b4e7b3e992e3ad9e3e8a74a2e5b92bb2c52f7679da37c965ceead54508babe6"


def test_code_counts_also_in_what_is_imported(package):
    before = digest()
    (package / "two.py").write_text("def g(x):\n    return x + 2\n")
    assert digest() != before


def test_the_real_modules_have_digests():
    assert provenance.code_digest("studies.rq1") != provenance.code_digest("studies.pilot")
