"""Progress bars: what they go over stays as it is, and they show where someone looks."""

import pytest

from nssutils import bars


@pytest.mark.parametrize("said", ["0", "1"])
def test_what_it_goes_over_comes_as_it_is(said, monkeypatch):
    monkeypatch.setenv("NSS_BARS", said)
    assert list(bars.over(iter("abc"), "letters")) == list("abc")
    assert list(bars.over([], "nothing")) == []


def test_it_counts_and_goes(monkeypatch, capsys):
    monkeypatch.setenv("NSS_BARS", "1")
    monkeypatch.setattr(bars, "DELAY", 0)
    batches = bars.over([[1, 2], [3]], "numbers", 3, len)
    next(batches), next(batches)
    shown = capsys.readouterr().err
    assert "numbers: " in shown and "0/3" in shown
    assert next(batches, None) is None
    assert capsys.readouterr().err.split("\r")[-1].strip() == ""  # the line is blank again


def test_what_is_short_shows_nothing(monkeypatch, capsys):
    monkeypatch.setenv("NSS_BARS", "1")
    assert list(bars.over(range(3), "numbers")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_it_shows_on_a_terminal_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("NSS_BARS", raising=False)
    monkeypatch.setattr(bars.sys, "modules", {})
    monkeypatch.setattr(bars.sys.stderr, "isatty", lambda: True, raising=False)
    assert bars.shown()
    monkeypatch.setenv("NSS_BARS", "0")
    assert not bars.shown()
    monkeypatch.setenv("NSS_BARS", "1")
    monkeypatch.setattr(bars.sys.stderr, "isatty", lambda: False, raising=False)
    assert bars.shown()
    monkeypatch.delenv("NSS_BARS")
    assert not bars.shown()
