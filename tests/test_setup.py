"""The set-up: what is locked, what conda gets, what the package asks for and what `make` offers agree."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()


def test_lock_holds_versions_only():
    """No path, address, build tag (+cpu, +cu130) or platform in it."""
    assert [line for line in LOCK if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[0-9][\w.]*", line)] == []
    assert len({canonicalize_name(line.split("==")[0]) for line in LOCK}) == len(LOCK)


def test_conda_gets_what_is_locked():
    parts = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert [part["pip"] for part in parts if isinstance(part, dict)] == [LOCK]


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
    locked = {canonicalize_name(name): version for name, version in (line.split("==") for line in LOCK)}
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
