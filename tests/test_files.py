"""Files are written whole or not at all."""

import pytest

from nssutils import files


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
