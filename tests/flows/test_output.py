"""What commands print at a terminal: rich's own colours and cursor, and nothing that data asks for."""

import re

import pytest
from support.hostile import HOSTILE, acting

from flows.output import say, say_json, say_text
from flows.terminal import Lines, progress_bars, say_table
from tasks.progress import progress_for

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
CURSOR = re.compile(r"\x1b\[(\?25[lh]|[0-9]*[AK])|\r")


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("TERM", "xterm-256color")


def test_lines_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    say(*HOSTILE)
    assert len(capsys.readouterr().out.splitlines()) == len(HOSTILE)
    say_table(HOSTILE[:3], [HOSTILE[start : start + 3] for start in range(0, len(HOSTILE) - 2, 3)])
    printed = capsys.readouterr().out
    assert not acting(COLOURS.sub("", printed), but="\n")
    assert "[red]red[/red] [link=http://evil.example]x[/link] [/]" in printed
    say_json(HOSTILE[:-1])
    say_text("one\ntwo\x1b[2J\n")
    printed = capsys.readouterr().out
    assert not acting(printed, but="\n")
    assert printed.endswith("\none\ntwo\\x1b[2J\n")


def test_progress_bars(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars():
        for text in HOSTILE:
            progress_for(text)(1, 1, text)
    printed = capsys.readouterr().err
    assert not acting(CURSOR.sub("", COLOURS.sub("", printed)), but="\n")
    assert "[red]red[/red]" in printed


def test_progress_in_a_pipe_has_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter([0.0, 0.0, 10.0, 31.0, 40.0, 62.0, 100.0])
    report = Lines("encode", lambda: next(seconds))
    for done in (200, 210, 262, 270, 324, 500):  # 200 were there from a run before
        report(done, 500, "a note")
    assert capsys.readouterr().err.splitlines() == [
        "encode: 262 of 500, 2/s, 0:01:59 left a note",
        "encode: 324 of 500, 2/s, 0:01:28 left a note",
        "encode: 500 of 500 a note",
    ]


def test_quiet_prints_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars(quiet=True):
        progress_for("encode")(1, 1)
    assert capsys.readouterr().err == ""
