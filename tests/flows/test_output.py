"""What commands print at a terminal: rich's own colours and cursor, and nothing that data asks for."""

import re

import pytest
from support.hostile import HOSTILE, acting

from flows.dataset_output import say_contents
from flows.output import say, say_json, say_text
from flows.terminal import progress_bars, say_table
from mmer_core import progress
from mmer_core.progress import Lines
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


def test_progress_in_a_pipe_has_rate_and_time_left() -> None:
    seconds = iter([0.0, 0.0, 10.0, 29.0, 40.0, 62.0, 100.0])
    said: list[str] = []
    report = Lines("encode", lambda line, **_: said.append(line), lambda: next(seconds))
    for done in (200, 210, 262, 270, 324, 500):  # 200 were there from a run before
        report(done, 500, "a note")
    assert said == [
        "encode: 210 of 500 (42 %), 1/s, 0:04:50 left a note",
        "encode: 270 of 500 (54 %), 1.75/s, 0:02:11 left a note",
        "encode: 324 of 500 (65 %), 2/s, 0:01:28 left a note",
        "encode: 500 of 500 a note",
    ]


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_in_a_log(
    quiet: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMER_LOG", "json")
    monkeypatch.setattr(progress, "SECONDS_TO_FIRST_LINE", 0.0)
    with caplog.at_level("INFO", "mmer"), progress_bars(quiet):
        report = progress_for("encode")
        report(2.5, 10)
        report(10, 10)  # the log has what was made
    said = [(record.getMessage(), vars(record)["mmer"]["done"]) for record in caplog.records]
    assert said == ([] if quiet else [("encode: 2.5 of 10 (25 %)", 2.5)])


@pytest.mark.parametrize("colour", ["1", None])
def test_quiet_prints_no_progress(
    colour: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if colour is None:
        monkeypatch.delenv("FORCE_COLOR")
    with progress_bars(quiet=True):
        progress_for("encode")(1, 1)
    assert capsys.readouterr().err == ""


def test_no_sound_sample_is_not_taken_for_a_text(capsys):
    say_contents("emotion", [])
    assert "0 samples of 0 pictures" in capsys.readouterr().out
