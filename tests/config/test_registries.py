"""A new attack or loss is one module: configurations, help, forms and keys know it, and its options reach it."""

import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import pytest
import torch
from cyclopts import App, Parameter
from pydantic import BaseModel, Field, ValidationError
from rich.console import Console
from support.attack_driving import begin

import mmer_core.attacks
import mmer_core.objectives
from mmer_core.attacks import ATTACKS
from mmer_core.base_config import Config
from mmer_core.config import AttackConfig, PoisonConfig, TrainingConfig, attacks, training
from mmer_core.errors import AttackError
from mmer_core.named import Registry, chosen_from
from mmer_core.objectives import CATEGORY_OBJECTIVES
from mmer_core.poisoning import POISON_ATTACKS, TRIGGERS
from mmer_core.store.artifact import stage_key
from mmer_core.task_kinds import kind_of

ATTACK = """
from pydantic import Field

from mmer_core.attacks.random_pixels import RandomPixels
from mmer_core.base_config import Config


class Dotted(RandomPixels):
    name = "dotted-line"
    title = "Dotted line"
    summary = "pixels along a line"

    class Options(Config):
        step: int = Field(2, ge=1, description="Distance of two dots.")

    options: Options
"""
LOSS = """
from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.objectives.base import CategoryObjective


class Scaled(CategoryObjective):
    name = "scaled"
    summary = "squared error, scaled"

    class Options(Config):
        factor: float = Field(1.0, gt=0, description="What the error is multiplied by.")

    options: Options

    def forward(self, logits, targets):
        return self.options.factor * (logits - targets).square().mean()
"""
Add = Callable[[ModuleType, Registry[Any], str, ModuleType], ModuleType]


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """Add one module to a package; returns the configuration module as it is imported with that one in place."""
    registries: list[Registry[Any]] = []

    def with_module(
        package: ModuleType, registry: Registry[Any], source: str, config: ModuleType
    ) -> ModuleType:
        (tmp_path / "added.py").write_text(source)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        registries.append(registry)
        registry.__dict__.pop("_found", None)
        spec = importlib.util.spec_from_file_location(f"{config.__name__}_with_one_more", config.__file__)
        assert spec is not None
        assert spec.loader is not None
        fresh = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, fresh)
        spec.loader.exec_module(fresh)
        return fresh

    yield with_module
    for registry in registries:
        registry.__dict__.pop("_found", None)
    for name in [name for name in sys.modules if name.startswith("mmer_core.") and name.endswith(".added")]:
        del sys.modules[name]


def help_of(config: type[BaseModel], name: str) -> str:
    app, console = App(), Console(width=400, file=io.StringIO())

    def command(part: Any = None) -> None: ...

    command.__annotations__["part"] = Annotated[config, Parameter(name=name)]
    app.default(command)
    app.help_print([], console=console)
    return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]


def key_of(config: BaseModel) -> str:
    return str(stage_key("attack-shard", config.model_dump(mode="json"), {}, 1))


def test_a_new_attack_is_one_module(add: Add) -> None:
    with pytest.raises(ValidationError):
        AttackConfig(attacks=("dotted-line",))
    fresh = add(mmer_core.attacks, ATTACKS, ATTACK, attacks).AttackConfig
    config = fresh.model_validate({"attacks": ["dotted-line"], "dotted_line": {"step": 7}})
    assert ATTACKS.configured("dotted-line", config).options.step == 7
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        fresh.model_validate({"dotted_line": {"step": 0}})
    schema = fresh.model_json_schema()["properties"]
    assert "dotted-line" in schema["attacks"]["items"]["enum"]
    assert "'dotted-line': pixels along a line" in schema["attacks"]["description"]
    text = help_of(fresh, "attack")
    assert "--attack.dotted-line.step" in text
    assert "'dotted-line': pixels along a line" in text
    assert key_of(config) != key_of(fresh(attacks=("dotted-line",)))


def test_a_new_loss_is_one_module(add: Add) -> None:
    fresh = add(mmer_core.objectives, CATEGORY_OBJECTIVES, LOSS, training).TrainingConfig
    configs = [fresh.model_validate({"categories": "scaled", "scaled": {"factor": f}}) for f in (1.0, 3.0)]
    one, three = (
        CATEGORY_OBJECTIVES.configured("scaled", config.filled(kind_of("emotion").schedule))(
            torch.ones(2, 2), torch.zeros(2, 2)
        )
        for config in configs
    )
    assert three == 3 * one
    assert key_of(configs[0]) != key_of(configs[1])
    assert "--training.scaled.factor" in help_of(fresh, "training")
    assert "scaled" in fresh.model_json_schema()["properties"]["categories"]["enum"]


def test_only_the_options_of_what_is_chosen_decide_a_key() -> None:
    base: dict[str, Any] = {"attacks": ["sparse-rs", "random"]}
    plain = key_of(AttackConfig.model_validate(base))
    assert plain == key_of(AttackConfig.model_validate({**base, "de": {"population": 9}}))
    assert plain != key_of(AttackConfig.model_validate({**base, "sparse_rs": {"alpha": 0.1}}))
    assert set(PoisonConfig().model_dump()) & {*POISON_ATTACKS, *TRIGGERS} == {"patch"}
    chosen = TrainingConfig(contrastive="triplet").model_dump()
    assert "triplet" in chosen
    assert "grouped_infonce" not in chosen
    assert "grouped_infonce" in TrainingConfig().model_dump(), "captioned datasets use it by default"


def test_the_options_of_a_configuration_reach_the_search() -> None:
    def exchanged(alpha: float) -> int:
        config = AttackConfig.model_validate({"sparse_rs": {"alpha": alpha}})
        image = np.zeros((9, 9, 3), np.uint8)
        search = begin(ATTACKS.configured("sparse-rs", config), 50, 20, image=image)
        first = search.ask(1)
        search.tell(np.ones(1))
        second = search.ask(1)
        assert first is not None
        assert second is not None
        return int((first.places != second.places).sum())

    assert exchanged(1.0) > exchanged(0.1)


def test_an_option_that_cannot_work_is_answered_in_one_sentence() -> None:
    with pytest.raises(
        AttackError, match=r"SparseRS cannot work: alpha is 2: .*; its options are alpha, rescale"
    ):
        ATTACKS.make("sparse-rs", alpha=2)
    with pytest.raises(AttackError, match=r"beta is 1: Extra inputs are not permitted"):
        ATTACKS.make("sparse-rs", beta=1)


def test_two_of_one_name_and_a_name_that_is_a_field_are_mistakes_of_the_author(add: Add) -> None:
    class Clash(Config):
        attacks: tuple[str, ...] = Field(("de",), description="Attacks.")
        de: int = Field(1, description="A field of the name of an attack.")

    with pytest.raises(TypeError, match="has a field de already"):
        chosen_from(attacks=ATTACKS)(Clash)
    with pytest.raises(TypeError, match="two of the kind attack are called 'random'"):
        add(mmer_core.attacks, ATTACKS, ATTACK.replace("dotted-line", "random"), attacks)
