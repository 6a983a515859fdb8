"""The first word of `nss`: answered at once, and in agreement with what runner does."""

import subprocess
import sys

import pytest

from nssutils.companion import command, runner

HEAVY = "import sys; from nssutils.companion import command; command.main({}); print(sorted({{'torch', 'papermill', 'matplotlib', 'pandas'}} & set(sys.modules)))"  # noqa: E501


@pytest.mark.parametrize("given", [[], ["--help"], ["lst"]])
def test_nothing_heavy_is_read_before_the_command_is(given):
    done = subprocess.run([sys.executable, "-c", HEAVY.format(given)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_without_a_word_it_says_what_to_do_next(capsys):
    assert command.main([]) == 0
    assert "make book" in capsys.readouterr().out


def test_a_wrong_word_is_refused_with_the_near_miss(capsys):
    assert command.main(["claim"]) == 2
    assert "unknown command 'claim'" in (said := capsys.readouterr().err) and "Did you mean 'claims'?" in said


def test_the_words_are_runners():
    (commands,) = [action for action in runner._parser()._actions if action.dest == "command"]
    assert set(commands.choices) == command.WORDS.keys() == runner.COMMANDS.keys()


def test_every_other_word_is_handed_on(capsys):
    with pytest.raises(SystemExit):
        command.main(["list", "--preset", "none"])
    assert "invalid choice: 'none'" in capsys.readouterr().err
