"""The first word of `nss`: answered at once, and in agreement with what runner does."""

import os
import subprocess
import sys

import pytest

from nssutils import files
from nssutils.companion import command, listed, runner, workflow

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


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone with one of each thing that a listing rests on; listings are counted."""
    for name in ("nssutils/settings.py", "book/_toc.yml", "requirements.lock", "data/results/a/paper/b/seed0.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("as it is")
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.setattr(listed, "FILE", tmp_path / "data" / "cache" / "listing.json")
    monkeypatch.setenv("NSS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("NSS_DATA", str(tmp_path / "datasets"))
    said = []
    monkeypatch.setattr(workflow, "listing", lambda presets: said.append(presets) or f"listing {len(said)}")
    return tmp_path


def says(capsys, *words):
    assert command.main(["list", *words]) == 0
    return capsys.readouterr().out.strip()


def test_an_unchanged_store_is_listed_from_memory(clone, capsys):
    assert [says(capsys), says(capsys), says(capsys)] == ["listing 1"] * 3
    assert [says(capsys, "--preset", "quick"), says(capsys, "--preset", "quick")] == ["listing 2"] * 2
    assert says(capsys, "--preset", "paper", "--preset", "quick") == "listing 3"
    assert says(capsys) == "listing 1"


@pytest.mark.parametrize(
    "name",
    ["nssutils/settings.py", "book/_toc.yml", "requirements.lock", "data/results/a/paper/b/seed0.json",
     "data/certificates.json", "results/a/quick/b/seed1.json", "datasets/cifar10.npz",
     "datasets/imagenet10/train/n01440764/1.JPEG"],
)  # fmt: skip
def test_whatever_a_listing_rests_on_has_it_made_anew(clone, capsys, name):
    assert says(capsys) == "listing 1"
    file = clone / name
    file.parent.mkdir(parents=True, exist_ok=True)
    before = file.stat() if file.exists() else None
    file.write_text("as it IS")  # as long as before
    if before:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # and with its old date
    assert [says(capsys), says(capsys)] == ["listing 2"] * 2
    file.unlink()
    assert says(capsys) == "listing 3"


def test_what_is_damaged_is_named_each_time(clone, capsys, monkeypatch):
    monkeypatch.setattr(workflow, "listing", lambda presets: "pilot_global  mlp-mnist  0 damaged")
    says(capsys)
    monkeypatch.setattr(workflow, "listing", lambda presets: "mended")
    assert says(capsys) == "mended"


def test_a_damaged_memory_is_set_aside(clone, capsys):
    says(capsys)
    text = listed.FILE.read_text()
    for wrong in (text.replace("listing 1", "listing 9"), "{", "[]", "{}"):
        listed.FILE.write_text(wrong)
        assert says(capsys).startswith("listing ") and "listing 9" not in listed.FILE.read_text()
        assert listed.FILE.with_name("listing.json.damaged").exists()


def test_a_change_while_it_is_listed_counts(clone, capsys, monkeypatch):
    def listing(presets):
        (clone / "results").mkdir(exist_ok=True)
        (clone / "results" / "new.json").write_text("new")
        return "before the new one"

    monkeypatch.setattr(workflow, "listing", listing)
    says(capsys)
    monkeypatch.setattr(workflow, "listing", lambda presets: "with it")
    assert says(capsys) == "with it"


def test_a_remembered_listing_needs_no_torch(clone, capsys):
    says(capsys)
    code = f"""
from pathlib import Path
from nssutils import files
from nssutils.companion import listed
files.ROOT, listed.FILE = Path({str(clone)!r}), Path({str(listed.FILE)!r})
"""
    done = subprocess.run(
        [sys.executable, "-c", code + HEAVY.format(["list"])], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["listing 1", "[]"]


def test_whoever_reads_what_is_printed_may_stop():
    process = subprocess.Popen(
        [sys.executable, "-m", "nssutils.companion.command", "--help"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.close()
    assert (process.wait(), process.stderr.read()) == (141, "")
