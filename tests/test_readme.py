"""What the README tells a reader to run, runs."""

import re
import shlex
import sys
from pathlib import Path

from nssutils.companion import runner

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_python_examples_run(capsys):
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(code, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert len(re.findall(r"of the parameters left out, accuracy \d", printed)) == 3
    assert re.search(r"^accuracy +[\d.]+% -> [\d.]+%$", printed, re.MULTILINE)


def test_the_command_that_slices_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(Path(__file__).parent.parent)
    monkeypatch.delenv("NSS_FROM", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (command,) = re.findall(r"^\$ nss (slice .*)$", README, re.MULTILINE)
    *given, out = shlex.split(command)
    assert runner.main([*given, f"{tmp_path / out}"]) == 0
    assert (tmp_path / out).exists()


def test_its_picture_and_commands_exist():
    root = Path(__file__).parent.parent
    for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", README):
        assert (root / picture).exists()
    targets = set(re.findall(r"^(\w+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make (book|test|bench|help|clean)\b", README)) <= targets
