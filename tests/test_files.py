"""Files are written whole or not at all."""

import errno
import os
import shutil
import subprocess
import sys

import pytest

from nssutils import NssError, files


def test_a_file_is_there_when_the_block_has_ended_and_not_before(tmp_path):
    target = tmp_path / "new folder" / "a.txt"
    with files.atomically(target) as partial:
        partial.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole" and [file.name for file in target.parent.iterdir()] == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), files.atomically(target) as partial:
        partial.write_text("ha")
        raise ZeroDivisionError
    assert target.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_that_the_block_cannot_read_is_not_said_to_be_the_one_it_writes(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), files.atomically(tmp_path / "new" / "a.txt") as partial:
        shutil.copy(tmp_path / "elsewhere" / "b.txt", partial)
    with pytest.raises(files.FileError, match="cannot be written"), files.atomically(tmp_path / "a.txt") as partial:
        partial.with_name("gone").rename(partial)


def test_what_a_killed_process_left_is_swept_away_and_what_a_living_one_writes_is_not(tmp_path):
    killed = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    gone = [f"b.txt.{files._HOST}-{killed.stdout.strip()}.partial", f"old.txt.{killed.stdout.strip()}.partial"]
    kept = [f"c.txt.{files._HOST}-{os.getppid()}.partial", "d.txt.other_machine-1.partial", "mine.partial"]
    for name in gone + kept:
        (tmp_path / name).touch()
    (tmp_path / f"_x.{files._HOST}-{killed.stdout.strip()}.partial").mkdir()
    with files.atomically(tmp_path / "a.txt") as partial:
        partial.touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.txt", *kept])


def test_a_full_disk_is_named_and_what_was_there_stays(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(NssError, match=r"a.txt cannot be written \(No space left on device\), expected .*make room"):
        with files.atomically(target) as partial:
            partial.write_text("ha")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert target.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    with pytest.raises(files.FileError, match="cannot be written"), files.atomically(target / "b.txt") as partial:
        partial.touch()
