"""``--help`` tells every parameter with its description."""

import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel
from rich.console import Console

from flows.cli import main
from flows.commands import app
from flows.job_table import COMMANDS, JOBS, Job, load
from mmer_core.config import IngestConfig
from mmer_core.datasets.formats import FORMATS

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
        main(command if "--help-all" in command else [*command, "--help"])
    assert not end.value.code
    return re.sub(r"[\s│╭╮╰╯─]+", "", capsys.readouterr().out)


@pytest.mark.parametrize("command", CONFIGS)
@pytest.mark.usefixtures("wide")
def test_every_parameter_is_listed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys, command, "--help-all")
    of_formats = {
        f"--{name}".replace("_", "-") for one in FORMATS.values() for name in one.Options.model_fields
    }
    listed = [one for one in parameters(CONFIGS[command]) if one[0] not in of_formats]
    assert len(listed) > 5
    for flag, description in listed:
        assert flag in text, f"{flag} is not in {text}"
        assert _same(description) in text, f"{description!r} of {flag} is not in {text}"


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
@pytest.mark.usefixtures("wide")
def test_help_opens_with_what_people_use(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys, job.repeats or job.name)
    known = dict(parameters(CONFIGS[job.repeats or job.name]))
    shown = [flag for flag, description in known.items() if f"{flag}" in text and _same(description) in text]
    assert {f"--{flag}" for flag in job.usual} <= known.keys()
    if job.repeats is None:
        assert shown == [flag for flag in known if flag.removeprefix("--") in job.usual]
        assert len(shown) <= 16
        assert _same(job.example) in text


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_examples_can_be_run(job: Job, monkeypatch, tmp_path) -> None:
    """What they name is not there, but every flag is known and every value can be read."""
    ran = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flows.job_commands.run_flow", lambda flow, config, prefect: ran.append(config))
    monkeypatch.setattr(
        "flows.job_commands.load", lambda path: load(path) if "config" in path else lambda *_: None
    )
    with pytest.raises(SystemExit) as end:
        main(job.example.split()[1:])
    assert not end.value.code
    assert len(ran) == 1


@pytest.mark.usefixtures("wide")
def test_options_of_a_format_are_listed_with_it_alone(capsys: pytest.CaptureFixture[str]) -> None:
    of_emotic, of_flickr = (
        help_of(capsys, "ingest", "--dataset", name, "--help-all") for name in ("emotic", "flickr8k")
    )
    for name, own, other in (("captions", of_emotic, of_flickr), ("splits", of_flickr, of_emotic)):
        assert f"--{name}" in own
        assert f"--{name} " not in other
    assert "--protocol" in of_emotic
    assert "--protocol" in of_flickr


def _same(text: str) -> str:
    return re.sub(r"\s+", "", text)


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
