"""What the README tells a reader to run, runs."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_python_examples_run(capsys):
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(code, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert len(re.findall(r"of the parameters left out, accuracy \d", printed)) == 3
    assert re.search(r"^accuracy +[\d.]+% -> [\d.]+%$", printed, re.MULTILINE)


def test_its_picture_and_commands_exist():
    root = Path(__file__).parent.parent
    for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", README):
        assert (root / picture).exists()
    targets = set(re.findall(r"^(\w+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make (book|test|bench|help|clean)\b", README)) <= targets
