"""``--help`` tells every parameter with its description."""

import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel
from rich.console import Console

from flows.cli import main
from flows.commands import app
from flows.job_table import COMMANDS, JOBS, load
from mmer_core.config import IngestConfig

CONFIGS = {job.repeats or job.name: load(job.config) for job in JOBS}
"""By command; a job that repeats another one adds to its fields."""

WITHOUT_PREFIX = ("runtime", "dataset")


def parameters(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flag and description of every leaf."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if kind == dict[str, IngestConfig]:
            yield from parameters(IngestConfig, f"{prefix}{name}.{{NAME}}.")
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from parameters(kind, prefix if name in WITHOUT_PREFIX else f"{prefix}{name}.")
        else:
            assert field.description, f"{prefix}{name} has no description"
            yield f"--{prefix}{name}".replace("_", "-"), field.description


@pytest.fixture
def wide() -> Iterator[None]:
    """So wide that the column of flags is not broken between the lines of a description.

    A command keeps the console of its first message, and that one the width of the terminal it was made for.
    """
    app.console = Console(width=400)
    yield
    app.console = None


def help_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """Help without frames and line breaks."""
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert not end.value.code
    return re.sub(r"[\s│╭╮╰╯─]+", "", capsys.readouterr().out)


@pytest.mark.parametrize("command", CONFIGS)
@pytest.mark.usefixtures("wide")
def test_every_parameter_is_listed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys, command)
    listed = list(parameters(CONFIGS[command]))
    assert len(listed) > 5
    for flag, description in listed:
        assert flag in text, f"{flag} is not in {text}"
        assert re.sub(r"\s+", "", description) in text, f"{description!r} of {flag} is not in {text}"


def test_every_command_is_listed(capsys) -> None:
    text = help_of(capsys)
    for command in [*CONFIGS, *(one.name for one in COMMANDS)]:
        assert command in text
    assert "pipeline--configdemo" in text
    assert all(
        command in help_of(capsys, "artifacts")
        for command in ("ls", "show", "fetch", "verify", "delete", "gc", "lineage")
    )


@pytest.mark.parametrize("command", ["search", "predict", "export", "card"])
def test_questions_describe_their_parameters(command, capsys) -> None:
    text = help_of(capsys, command)
    assert ("--json" if command in ("search", "predict") else "--to") in text
    assert "--store" in text
    assert "Artifactstore" in text
