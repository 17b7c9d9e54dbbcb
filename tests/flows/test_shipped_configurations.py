"""Every configuration that ships with mmer is valid, as a file and through the command line."""

import json
import tomllib
from importlib import resources

import pytest

from flows.commands import app
from flows.configurations import configuration_source, shipped
from mmer_core.config import PipelineJob
from mmer_core.errors import ConfigError

FIELDS = {
    "datasets": {"mine": {"dataset": "flickr8k", "splits": "karpathy"}},
    "training": {"epochs": 7},
    # Named as commands are.
    "index": {"factory": "IVF4,Flat"},
    "report": {"title": "Mine"},
}


def parsed(tokens: list[str]) -> PipelineJob:
    """The configuration that ``mmer pipeline TOKENS`` would run."""
    rest, app.config = configuration_source(["pipeline", *tokens])
    _, bound, _ = app.parse_args(rest, exit_on_error=False, print_error=False)
    return bound.arguments.get("job", PipelineJob())


def test_there_is_a_demo() -> None:
    assert "demo" in shipped()


@pytest.mark.parametrize("name", shipped())
def test_shipped(name: str) -> None:
    file = resources.files("flows.configurations") / f"{name}.toml"
    config = PipelineJob.model_validate(tomllib.loads(file.read_text()))
    assert parsed(["--config", name]) == config
    assert parsed([f"--config={name}"]) == config
    assert config != PipelineJob()


def test_flags_override_the_file() -> None:
    demo = parsed(["--config", "demo"])
    changed = parsed(["--training.epochs", "3", "--config", "demo", "--families", "joint"])
    training = demo.training.model_copy(update={"epochs": 3})
    assert changed == demo.model_copy(update={"training": training, "families": ("joint",)})


def test_lists_are_written_with_spaces_or_flag_by_flag() -> None:
    for flags in (["--families", "zero-shot", "joint"], ["--families", "zero-shot", "--families", "joint"]):
        assert parsed(flags).families == ("zero-shot", "joint")


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".toml"])
def test_formats(suffix: str, tmp_path) -> None:
    texts = {
        ".json": json.dumps(FIELDS),
        ".yaml": json.dumps(FIELDS),  # YAML contains JSON
        ".toml": '[datasets.mine]\ndataset = "flickr8k"\nsplits = "karpathy"\n[training]\nepochs = 7\n'
        '[index]\nfactory = "IVF4,Flat"\n[report]\ntitle = "Mine"\n',
    }
    (tmp_path / f"mine{suffix}").write_text(texts[suffix])
    assert parsed(["--config", str(tmp_path / f"mine{suffix}")]) == PipelineJob.model_validate(FIELDS)


@pytest.mark.parametrize("tokens", [["--config"], ["--config", "nowhere"], ["--config", "nowhere.toml"]])
def test_refused(tokens: list[str]) -> None:
    with pytest.raises(ConfigError, match="demo"):
        configuration_source(tokens)


def test_without_a_file_nothing_is_taken() -> None:
    assert configuration_source(["train", "--store", "x"]) == (["train", "--store", "x"], [])
