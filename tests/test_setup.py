"""The set-up: what is locked, what conda gets, what the package asks for and what `make` offers agree."""

import re
import shutil
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
PINS = [line.removesuffix(" \\") for line in re.findall(r"^\w.*$", LOCK, re.M)]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()


def test_lock_holds_a_version_of_each_package_and_its_digests():
    """No path, address or build tag (+cpu, +cu130) in it; where a package is for some platforms, it says for which."""
    assert [line for line in PINS if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[0-9][\w.]*( ; .+)?", line)] == []
    assert len({canonicalize_name(line.split("==")[0]) for line in PINS}) == len(PINS)
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]
    digest = r"    --hash=sha256:[0-9a-f]{64}( \\)?"
    for before, line in pairwise(lines):  # each entry goes on to its first digest at least
        assert re.fullmatch(digest, line) if before.endswith("\\") else line.endswith(" \\"), line


def test_conda_gets_what_is_locked():
    parts = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert [part["pip"] for part in parts if isinstance(part, dict)] == [PINS]


@pytest.mark.parametrize(
    "wanted",
    [
        *PROJECT["build-system"]["requires"],
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["book"],
        *PROJECT["project"]["optional-dependencies"]["cluster"],
        *PROJECT["project"]["optional-dependencies"]["test"],
    ],
)
def test_lock_satisfies_the_package(wanted):
    locked = {canonicalize_name(name): rest.split()[0] for name, rest in (line.split("==", 1) for line in PINS)}
    requirement = Requirement(wanted)
    assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


def test_every_target_has_a_comment():
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[1].split()
    assert re.findall(r"^([a-z-]+):.*## .", MAKEFILE, re.M) == phony
    assert re.findall(r"^([a-z-]+):(?!=)", MAKEFILE, re.M) == phony


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_help_lists_every_target():
    shown = subprocess.run(["make", "-C", ROOT], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^make ([\w-]+) +\S", shown, re.M) == re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[1].split()


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_unknown_preset_is_refused_before_anything_else():
    done = subprocess.run(["make", "-C", ROOT, "book", "PRESET=fast"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "PRESET=fast given, expected one of: smoke quick overnight paper published" in done.stderr
