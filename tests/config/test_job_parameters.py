"""The parameters of the jobs: documented, immutable, and strict."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from flows.job_table import JOBS as TABLE
from flows.job_table import load
from mmer_core import config
from mmer_core.config import Config, IndexJob, ModelConfig, RobustnessJob, RuntimeConfig, TaskTraining

MODELS = [
    model
    for _, model in inspect.getmembers(config, inspect.isclass)
    # TaskTraining is what is made of a TrainingConfig; nobody gives one.
    if issubclass(model, Config) and model not in (Config, TaskTraining)
]
MODELS += [made for job in TABLE if (made := load(job.config)) not in MODELS]
JOBS = [model for model in MODELS if model.__name__.endswith("Job")]
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


def undescribed(schema: dict[str, Any], where: str = "") -> Iterator[str]:
    """Paths of the properties without a description, also of those in ``$defs``."""
    for name, part in schema.get("$defs", {}).items():
        yield from undescribed(part, name)
    for name, field in schema.get("properties", {}).items():
        if len(field.get("description", "").strip()) < 8:
            yield f"{where}.{name}"
        yield from undescribed(field, f"{where}.{name}")


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
def test_every_field_of_every_job_is_described(job):
    schema = job.model_json_schema()
    assert len(schema["properties"]) >= 2
    assert schema["description"]
    assert list(undescribed(schema, job.__name__)) == []


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
def test_forms_show_fields_in_the_order_of_the_code(job):
    """Whatever the database does to the order of a schema's fields: PostgreSQL sorts them by their length."""
    schema = job.model_json_schema()
    for name, part in {job.__name__: schema, **schema["$defs"]}.items():
        fields = part.get("properties", {})
        assert sorted(fields, key=lambda field: fields[field]["position"]) == list(fields), name
    assert sorted(schema["properties"], key=lambda field: schema["properties"][field]["position"]) == list(
        job.model_fields
    )


def test_the_check_of_descriptions_can_fail():
    class Inner(BaseModel):
        bare: int = 0

    class Outer(BaseModel):
        inner: Inner = Inner()

    assert list(undescribed(Outer.model_json_schema(), "Outer")) == ["Inner.bare", "Outer.inner"]


@each_model
def test_defaults_are_valid_and_survive_json(model):
    default = model()
    again = model.model_validate_json(default.model_dump_json())
    assert again == default
    assert model.model_validate(default.model_dump()) == default


@each_model
def test_an_unknown_field_is_refused(model):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        model(no_such_field=1)


@each_model
def test_configurations_are_frozen(model):
    default = model()
    name = next(iter(model.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(default, name, getattr(default, name))


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("SyntheticConfig", {"images": 29}),
        ("IngestConfig", {"dataset": "imagenet"}),
        ("IngestConfig", {"context_size": 0}),
        ("EncoderConfig", {"image_size": 31}),
        ("ModelConfig", {"family": "both"}),
        ("ModelConfig", {"dropout": 1.0}),
        ("TrainingConfig", {"epochs": 0}),
        ("TrainingConfig", {"batch_size": 1}),
        ("TrainingConfig", {"learning_rate": 0}),
        ("TrainingConfig", {"warmup": 1.0}),
        ("TrainingConfig", {"seed": -1}),
        ("EvaluationConfig", {"confidence": 1.0}),
        ("AttackConfig", {"pixels": [0]}),
        ("AttackConfig", {"pixels": []}),
        ("AttackConfig", {"attacks": []}),
        ("AttackConfig", {"attacks": ["gradient"]}),
        ("AttackConfig", {"criterion": "suppress"}),
        ("AttackConfig", {"criterion": "target"}),
        ("AttackConfig", {"match_criterion": "image-rises"}),
        ("AttackConfig", {"tau": 0.0}),
        ("RuntimeConfig", {"workers": 0}),
        ("RuntimeConfig", {"device": "tpu"}),
        ("RuntimeConfig", {"engine": "mpi"}),
        ("RuntimeConfig", {"engine": "dask"}),
        ("RuntimeConfig", {"engine": "ray"}),
        ("RuntimeConfig", {"address": "tcp://127.0.0.1:8786"}),
        ("RuntimeConfig", {"engine": "processes", "address": "tcp://127.0.0.1:8786"}),
        ("PipelineJob", {"datasets": {}}),
        ("PipelineJob", {"datasets": {"../up": {}}}),
    ],
)
def test_values_that_cannot_work_are_refused(model, fields):
    with pytest.raises(ValidationError):
        getattr(config, model)(**fields)


def test_a_runtime_means_the_same_in_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    there = config.RuntimeConfig(store="store", work="~/work", logs="runs", workers=8).for_worker(2)
    assert there.store == str(tmp_path / "store")
    assert (str(there.work), there.logs, there.workers) == ("/home/ann/work", tmp_path / "runs", 2)
    for url in ("s3://bucket/prefix", "file:///srv/store"):
        assert config.RuntimeConfig(store=url).for_worker(1).store == url
    assert config.RuntimeConfig().for_worker(1).logs is None


@pytest.mark.parametrize("job", [IndexJob, RobustnessJob])
def test_a_model_is_named_or_described(job):
    assert job(trained="model/0123").splits() < job().splits()
    assert job(trained="model/0123", model=ModelConfig()).trained, "a form sends what was left as it was, too"
    with pytest.raises(
        ValidationError, match=r"model/0123 is there already: leave out .*\(model, training\)"
    ):
        job(trained="model/0123", training={"epochs": 3}, model={"family": "separate"})


@pytest.mark.parametrize(
    ("store", "work"),
    [
        (None, ".mmer/work"),
        ("/data/study/store", "/data/study/work"),
        ("store", "work"),
        ("s3://bucket/prefix", ".mmer/work"),
    ],
)
def test_work_is_beside_the_store(store: str | None, work: str) -> None:
    assert RuntimeConfig(**{"store": store} if store else {}).work == Path(work)
    assert RuntimeConfig(store=store or "s", work="elsewhere").work == Path("elsewhere")
