"""A path that is empty is a mistake, and not the current folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from cyclopts import App, Argument

from flows.cli import main
from flows.commands import app


def _commands(of: App, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    yield names, of
    for name in of:
        if not name.startswith("-"):
            yield from _commands(of[name], (*names, name))


def _is_path(hint: object) -> bool:
    return hint is Path or any(map(_is_path, get_args(hint)))


def _empty() -> Iterator[list[str]]:
    """A command line for every path and every store that a command takes."""
    for names, command in _commands(app):
        if command.default_command is None:
            continue
        arguments = [one for one in command.assemble_argument_collection() if not one.children]
        needed = [one for one in arguments if one.required]
        for argument in arguments:
            if _is_path(argument.hint) or "--store" in argument.names:
                others = [word for one in needed if one is not argument for word in (_flag(one), "x")]
                yield [*names, *others, _flag(argument), ""]


def _flag(argument: Argument) -> str:
    return next(name for name in argument.names if name.startswith("--"))


@pytest.mark.parametrize("words", [*_empty(), ["pipeline", "--datasets.mine.root", " "]], ids=" ".join)
def test_an_empty_path_is_refused(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 1
    assert "the path is empty; give one, or a dot" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--config", ""], "--config needs a file"),
        (["train", "--config= "], "--config needs a file"),
        (["artifacts", "verify", ""], "'' is not a valid kind of artifact"),
        (["artifacts", "gc", "--cache-gb", "1e300"], "--cache-gb 1e300: input should be less than or equal"),
        (["evaluate", "--zero-shot", "hf:"], "'hf:'"),
    ],
)
def test_what_is_empty_or_endless_is_refused(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        main(words)
    assert message in capsys.readouterr().err


def test_a_dot_is_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        main(["artifacts", "ls", "--store", "."])
    assert "is empty" in capsys.readouterr().err
