"""What makes a result stale, and what does not."""

import ast
import json

import pytest

from nssutils import digests, files

ONE = """
from nssutils import two
from nssutils.three import third


def f(x):
    return two.g(x)


def h(x):
    return third(x)
"""
TWO = "from nssutils.four import LIMIT\n\n\ndef g(x):\n    return x + LIMIT\n\n\ndef unused():\n    return 0\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "nssutils"
    folder.mkdir()
    for name, text in {"one": ONE, "two": TWO, "three": "def third(x):\n    return 3\n", "four": "LIMIT = 1\n"}.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.setattr(digests, "PACKAGE", folder)
    yield folder
    forget()


def forget():
    for cached in (digests.code, digests._parsed, digests._resolved):
        cached.cache_clear()


def digest(root="one.f") -> str:
    forget()
    return digests.code(root)


def edit(file, before, after):
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def test_comments_layout_docstrings_and_annotations_do_not_count(package):
    before = digest()
    edit(package / "one.py", "def f(x):", 'def f(x: int) -> int:  # of x\n    """Says."""\n')
    edit(package / "two.py", "return x + LIMIT", "return (x +\n            LIMIT)")
    assert digest() == before and len(before) == 64
    edit(package / "one.py", "Says", "Says more")
    assert digest() == before


def test_a_progress_bar_does_not_count_but_what_it_goes_over_does(package):
    loop = "from nssutils import bars, two\n\n\ndef f(x):\n    return [two.g(y) for y in {}]\n"
    (package / "one.py").write_text(loop.format("x"))
    (package / "bars.py").write_text("def over(work, what):\n    return work\n")
    before = digest()
    (package / "one.py").write_text(loop.format('bars.over(x, f"of {two.unused()}")'))
    assert digest() == before
    (package / "one.py").write_text(loop.format('bars.over(x[1:], "some")'))
    assert digest() != before


def test_a_class_with_a_docstring_is_one_that_passes(package):
    (package / "one.py").write_text("class A(Exception):\n    pass\n\n\ndef f():\n    raise A\n")
    before = digest()
    edit(package / "one.py", "    pass", '    """Only this."""')
    assert digest() == before


def test_only_what_is_called_for_counts(package):
    before = digest()
    edit(package / "two.py", "return 0", "return 1")  # unused
    edit(package / "three.py", "3", "4")  # h's
    assert digest() == before
    assert digest("one.h") != before
    edit(package / "four.py", "1", "2")  # two imports away
    assert digest() != before


def test_a_name_handed_on_is_followed(package):
    (package / "three.py").write_text("from nssutils.five import third\n")
    (package / "five.py").write_text("def third(x):\n    return 3\n\n\ndef other(x):\n    return 4\n")
    before = digest("one.h")
    (package / "five.py").write_text("def third(x):\n    return 3\n\n\ndef other(x):\n    return 5\n")
    assert digest("one.h") == before
    (package / "five.py").write_text("def third(x):\n    return 4\n")
    assert digest("one.h") != before


def test_what_runs_when_a_module_is_imported_counts(package):
    before = digest()
    (package / "two.py").write_text(TWO + "\n\nprint('imported')\n")
    assert digest() != before


def test_a_string_that_is_no_docstring_counts(package):
    before = digest()
    edit(package / "two.py", "return x", 'x = "x"\n    return x')
    assert digest() != before


def test_a_module_that_is_handed_on_counts_as_a_whole(package):
    edit(package / "one.py", "two.g(x)", "getattr(two, 'g')(x)")
    before = digest()
    edit(package / "two.py", "return 0", "return 1")
    assert digest() != before


def test_a_name_that_is_not_there_is_an_error(package):
    with pytest.raises(LookupError, match=r"nssutils.one has no definition 'g'"):
        digest("one.g")


def test_every_version_of_python_gives_the_same(package):
    """A GPU's machine may have another one: what it measured must not be taken for other code's."""
    (package / "one.py").write_text(
        'class A(Exception):\n    """Only this."""\n\n\n'
        "def f(x, *, y: int | None = None):\n"
        """    return f"{x['a']!r:>{y}} it's" + 'a' "b" + str([1.5, -2, b'c', None, ...]), A\n"""
    )
    assert digest() == "4ecb15b3baa5a6e67fd6b3ede0445b93084bc19a56b7c80a2daef09fe5e7dbc4"


def test_codes_with_one_fingerprint_on_one_kind_of_processor_are_equivalent(tmp_path, monkeypatch):
    def certified(**codes):
        return [{"code": c, "processor": p, "fingerprint": f} for c, (p, f) in codes.items()]

    monkeypatch.setattr(digests, "CERTIFICATES", tmp_path / "certificates.json")
    assert digests.equivalent("x", "a", "a") and not digests.equivalent("x", "a", "b")
    known = certified(a=("avx2", "1"), b=("avx2", "1"), c=("avx2", "2"), d=("avx512", "1"))
    digests.CERTIFICATES.write_text(json.dumps({"x": known}))
    assert digests.equivalent("x", "a", "b") and digests.equivalent("x", "b", "a")
    assert not digests.equivalent("x", "a", "c")  # computes something else
    assert not digests.equivalent("x", "a", "d")  # seen on another kind of processor only
    assert not digests.equivalent("x", "a", "e") and not digests.equivalent("y", "a", "b")


ROOMS = {"method": 0, "studies": 1, "companion": 2}


def _room(module: str) -> str:
    part = module.split(".")[1] if "." in module else ""
    return part if part in ROOMS else "method"


def test_imports_run_one_way():
    """companion -> studies -> method: who slices a network of their own needs nothing of the other two."""
    seen = set()
    for file in sorted((files.ROOT / "nssutils").rglob("*.py")):
        module = ".".join(file.relative_to(files.ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nssutils"):
                targets = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names if alias.name.startswith("nssutils")]
            else:
                continue
            for target in targets:
                seen.add((_room(module), _room(target)))
                assert ROOMS[_room(module)] >= ROOMS[_room(target)], f"{module} imports {target}"
    assert {("companion", "studies"), ("studies", "method"), ("companion", "method")} <= seen


def test_equivalence_goes_over_codes_between_unless_two_are_seen_to_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "CERTIFICATES", tmp_path / "certificates.json")

    def alike(*rows):
        names = ("code", "processor", "settings", "fingerprint")
        digests.CERTIFICATES.write_text(json.dumps({"x": [dict(zip(names, row, strict=True)) for row in rows]}))
        return digests.equivalent("x", "a", "c")

    first, second = ("a", "avx2", "s", "1"), ("b", "avx2", "s", "1")
    assert alike(first, second, ("b", "avx512", "s", "2"), ("c", "avx512", "s", "2"))
    assert alike(first, second, ("b", "avx2", "smaller", "3"), ("c", "avx2", "smaller", "3"))
    assert not alike(first, second, ("b", "avx512", "s", "2"), ("c", "avx2", "s", "2"))
    differ = ("a", "amx", "s", "4"), ("c", "amx", "s", "5")
    assert not alike(first, second, ("b", "avx512", "s", "2"), ("c", "avx512", "s", "2"), *differ)
