"""What commands print at a terminal: rich's own colours and cursor, and nothing that data asks for."""

import re

import pytest
from support.hostile import HOSTILE, acting

from flows.output import say, say_json, say_text
from flows.terminal import progress_bars, say_table
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
