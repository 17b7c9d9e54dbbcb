"""Which settings decide the key of what a stage makes: every field of everything that every stage takes."""

from collections.abc import Callable, Iterator
from dataclasses import is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel, ValidationError

from mmer_core.config import (
    AblationConfig,
    AttackConfig,
    DatasetCardConfig,
    EncoderConfig,
    EvaluationConfig,
    FinetuneConfig,
    IndexConfig,
    IngestConfig,
    ModelConfig,
    PipelineJob,
    PoisonConfig,
    ProbeConfig,
    PromptConfig,
    ReportConfig,
    RuntimeConfig,
    SyntheticConfig,
    TrainingConfig,
)
from mmer_core.datasets.prepared import DatasetSummary
from mmer_core.encoders.features import FeatureShard
from mmer_core.objectives import CONTRASTIVE_OBJECTIVES
from mmer_core.record import Record
from mmer_core.stages import (
    STAGES,
    AttackShard,
    CaptionShard,
    Context,
    IndexInputs,
    IndexShard,
    ModelArtifacts,
    Shards,
    certified,
    defences,
)
from mmer_core.stages.declaration import Inputs
from mmer_core.stages.identity import field_marks, key_config
from mmer_core.stages.poison import detecting, judging, making, merging
from mmer_core.stages.poison.concept import Concept
from mmer_core.stages.poison.planning import Arm, CraftShard
from mmer_core.stages.probe import probe
from mmer_core.stages.report import ReportInput
from mmer_core.store import ArtifactKey, Draft
from tasks.stages import task_of

DECLARING = (
    certified,
    defences,
    detecting,
    judging,
    making,
    merging,
    probe,
)  # imported for the stages that they declare


def key(kind: str, digit: str = "0") -> ArtifactKey:
    return ArtifactKey(kind, digit * 32)


CAPTIONED_DATA = key("prepared", "1")
PREPARED, FEATURES, MODEL = key("prepared"), key("features"), key("model")
ENCODERS, POISONS = EncoderConfig(), PoisonConfig(attacks=("collision",), counts=(1, 2))
MEASURED = {"prepared": PREPARED, "features": FEATURES, "model": MODEL}
INDEX = {"inputs": IndexInputs(IndexConfig(), **MEASURED, index=key("index"))}
ARM = {"config": POISONS, "concept": Concept("dog", None), "arm": Arm("collision", 1, 0)}
MODELS = [
    ModelArtifacts(PREPARED, FEATURES, key("model", one), key("evaluation"), key("robustness", one))
    for one in "12"
]
CAPTIONED = CaptionShard(0, 9, {"weights": "a"})
CUT = Shards((), ())

ARGUMENTS: dict[str, dict[str, Any]] = {
    "plan captions": {},
    "caption shard": {"plan": key("caption-plan"), "shard": CAPTIONED},
    "merge captions": {"plan": key("caption-plan"), "shards": Shards((CAPTIONED,), ())},
    "ingest": {"captions": key("captions")},
    "dataset card": {"config": DatasetCardConfig(), "prepared": PREPARED},
    "encode shard": {
        "encoders": ENCODERS,
        "prepared": PREPARED,
        "shard": FeatureShard("train", "body", 0, 9),
    },
    "merge features": {"encoders": ENCODERS, "prepared": PREPARED, "splits": ("train",), "shards": CUT},
    "train": {
        "model": ModelConfig(),
        "training": TrainingConfig(),
        "encoders": ENCODERS,
        "prepared": PREPARED,
        "features": FEATURES,
        "poison": key("poison"),
        "flags": key("poison-detection"),
        "attacked": key("attacked-features"),
    },
    "zero shot": {
        "prompts": PromptConfig(),
        "encoders": ENCODERS,
        "prepared": PREPARED,
        "features": FEATURES,
    },
    "finetune": {"config": FinetuneConfig(), "encoders": ENCODERS, "prepared": PREPARED},
    "evaluate": {"config": EvaluationConfig(), **MEASURED},
    "probe": {
        "config": ProbeConfig(),
        "evaluation": EvaluationConfig(),
        "encoders": ENCODERS,
        "prepared": PREPARED,
        "features": FEATURES,
    },
    "plan index": INDEX,
    "index shard": {
        **INDEX,
        "plan": key("index-plan"),
        "shard": IndexShard("image", 0, 9),
    },
    "merge index": {**INDEX, "plan": key("index-plan"), "shards": CUT},
    "merge index part": {**INDEX, "plan": key("index-plan"), "shards": CUT},
    "update index": {**INDEX, "base": key("index"), "added": key("index", "1"), "delete": ("a",)},
    "collect photos": {"config": AttackConfig(), "prepared": PREPARED},
    "plan network": {"encoders": ENCODERS, "pixels": 1, "with_windows": True},
    "embed gallery": {"config": AttackConfig(), **MEASURED},
    "attack shard": {
        "config": AttackConfig(),
        **MEASURED,
        "shard": AttackShard("sparse-rs", 1, 0, (3, 4)),
        "photos": key("photos"),
        "gallery": key("gallery"),
    },
    "merge robustness": {"config": AttackConfig(), **MEASURED, "shards": CUT, "photos": key("photos")},
    "attacked features": {
        "config": AttackConfig(),
        "prepared": PREPARED,
        "model": MODEL,
        "outcomes": key("robustness"),
    },
    "certify": {
        "config": AttackConfig(),
        "ablation": AblationConfig(),
        **MEASURED,
        "gallery": key("gallery"),
    },
    "compare defences": {
        "config": ReportConfig(),
        "prepared": PREPARED,
        "plain": MODELS[0],
        "defended": (defences.Defence("median", MODELS[1], key("certified")),),
    },
    "transfer": {"source": MODELS[0], "target": MODELS[1]},
    "report": {
        "config": ReportConfig(),
        "inputs": (ReportInput("emotic", MODELS, key("dataset-card"), (key("transfer"),)),),
        "settings": PipelineJob(),
    },
    "night": {
        "config": ReportConfig(),
        "series": "nightly",
        "study": key("report"),
        "before": key("night"),
        "again": {"emotic joint": key("evaluation")},
    },
    "craft shard": {
        "config": POISONS,
        "encoders": ENCODERS,
        "prepared": PREPARED,
        "split": "test",
        "shard": CraftShard("collision", 0, (1, 2), (3,), (0, 0)),
    },
    "make poisons": {
        **ARM,
        "encoders": ENCODERS,
        "prepared": PREPARED,
        "features": FEATURES,
        "split": "test",
        "shards": CUT,
    },
    "encode triggered": {"config": POISONS, "encoders": ENCODERS, "prepared": PREPARED, "split": "test"},
    "judge poisons": {
        **ARM,
        **MEASURED,
        "split": "test",
        "triggered": key("triggered"),
        "evaluation": key("evaluation"),
    },
    "detect poisons": {**ARM, **MEASURED, "detector": "spectral", "poison": key("poison")},
    "merge poisoning": {
        "config": POISONS,
        "concept": Concept("dog", None),
        "prepared": PREPARED,
        "split": "test",
        "outcomes": [("", key("poison-outcome"), key("poison"))],
        "detections": [key("poison-detection")],
    },
}

_IMAGE = {"image", "image_size"}
_CRAFTING, _TRIGGER = {"collision", "surrogate"}, {"trigger", "patch"}
DECIDING: dict[tuple[str, str], set[str]] = {
    ("plan captions", "config"): {"dataset", "protocol"},
    ("caption shard", "config"): set(),
    ("encode shard", "encoders"): _IMAGE,
    ("collect photos", "config"): {"split", "images", "seed"},
    ("collect photos", "dataset"): {"dataset", "protocol"},
    ("embed gallery", "config"): {"split"},
    ("attacked features", "config"): {"split", "stream"},
    ("certify", "config"): {"stream", "split", "images", "seed", "pixels"},
    ("compare defences", "config"): {"margin", "seed"},
    ("night", "config"): {"margin", "seed"},
    ("plan network", "encoders"): _IMAGE,
    ("attack shard", "config"): AttackConfig().model_dump().keys()
    - {"attacks", "pixels", "images", "shard_size", "seed", "seeds"},
    # What is left open for emotions, which no decoder writes of.
    ("train", "training"): {*TrainingConfig(contrastive="infonce").model_dump()}
    - {"decoder", "caption_weight"},
    ("finetune", "encoders"): _IMAGE,  # what comes before the text encoder is nothing to tune
    ("transfer", "source"): {"model", "robustness"},
    ("transfer", "target"): {"model", "features"},
    ("craft shard", "config"): _CRAFTING,
    ("craft shard", "encoders"): _IMAGE,
    ("make poisons", "config"): _CRAFTING | _TRIGGER | {"mode", "targets"},
    ("make poisons", "encoders"): _IMAGE,
    ("encode triggered", "config"): _TRIGGER,
    ("encode triggered", "encoders"): _IMAGE,
    ("judge poisons", "config"): {"top", "targets"},
    ("detect poisons", "config"): {"flagged", "counts"},
}
"""What decides where only a part of an argument concerns a stage. Elsewhere every field does that is not marked, but for
the options of what is not chosen."""

OTHERS: dict[tuple[type, str], Any] = {
    (EncoderConfig, "image"): "packaged:efficientnet_lite0",
    (EncoderConfig, "text"): "tokens:packaged:all-MiniLM-L6-v2",
    (PoisonConfig, "surrogate"): "packaged:efficientnet_lite0",
    (PoisonConfig, "counts"): (1, 3),
    (PoisonConfig, "attacks"): ("bullseye",),
    (PoisonConfig, "controls"): ("shuffle",),
    (PoisonConfig, "detectors"): ("spectral",),
    (AttackConfig, "attacks"): ("pixle",),
    (AttackConfig, "criterion"): "shift",
    (AttackConfig, "match_criterion"): "both",
    (IngestConfig, "dataset"): "flickr8k",
    (PromptConfig, "template"): "{label}",
    (PipelineJob, "datasets"): {"flickr8k": IngestConfig(dataset="flickr8k")},
    (PipelineJob, "families"): ("joint",),
}
"""Other values of fields that take only some."""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two copies of the same files."""
    folder = tmp_path_factory.mktemp("raw")
    for name in ("here", "elsewhere"):
        (folder / name).mkdir()
        for file in ("photo.jpg", "captions.csv", "captions.json"):
            (folder / name / file).write_text(file)
    return folder


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """Of a store with the prepared datasets: their task decides which settings of training count."""
    place = tmp_path_factory.mktemp("place")
    made = Context(RuntimeConfig(store=str(place / "store"), work=place / "work"))
    (place / "files").mkdir()
    (place / "files" / "dataset.json").write_text("{}")
    for dataset, task in ((PREPARED, "emotion"), (other(PREPARED), "emotion"), (CAPTIONED_DATA, "retrieval")):
        card = DatasetSummary(
            name="drawn",
            task=task,
            labels=(),
            counts={},
            texts={},
            quarantined={},
            inputs=0,
            protocol="",
            synthetic=True,
        )
        draft = Draft(kind=dataset.kind, digest=dataset.digest, summary=card.model_dump())
        made.store.publish(place / "files", draft)
    return made


def dataset(folder: Path, captioner: str) -> IngestConfig:
    return IngestConfig(
        root=folder,
        captions=folder / "captions.csv",
        coco_captions=(folder / "captions.json",),
        captioner=captioner,
    )


def changed(value: Any, name: str, moved: IngestConfig) -> Any:
    """A configuration or record in which one field is another."""
    kind, now = type(value), getattr(value, name)
    if not isinstance(value, BaseModel):
        return replace(value, **{name: other(now)})
    if kind is IngestConfig and name in ("root", "captions", "coco_captions", "captioner"):
        return value.model_copy(update={name: getattr(moved, name)})
    if (kind, name) in OTHERS:
        return value.model_copy(update={name: OTHERS[kind, name]})
    for candidate in candidates(now, kind.model_fields[name].annotation, moved):
        try:
            found = kind.model_validate({**dict(value), name: candidate})
        except ValidationError:
            continue
        if getattr(found, name) != now:
            return found
    raise AssertionError(f"no other value of {kind.__name__}.{name} is known: add one to OTHERS")


def candidates(now: Any, annotation: Any, moved: IngestConfig) -> Iterator[Any]:
    if isinstance(now, BaseModel):
        yield changed(now, next(iter(type(now).model_fields)), moved)
    for part in (annotation, *get_args(annotation)):
        if get_origin(part) is Literal:
            yield from get_args(part)
    if isinstance(now, bool):
        yield not now
    elif isinstance(now, int | float):
        yield from (now + 1, now / 2)
    elif isinstance(now, tuple):
        yield from ((*now, 9), ("other",), now[:1])
    yield from ("other", 64, 0.9)


def other(value: Any) -> Any:
    """Another argument, or field of a shard."""
    match value:
        case ArtifactKey():
            return replace(value, digest="9" * 32)
        case int():
            return value + 1
        case str():
            names = {
                "test": "val",
                "body": "context",
                "spectral": "clustering",
                "collision": "bullseye",
                "sparse-rs": "pixle",
            }
            return names.get(value, f"other {value}")
        case dict():
            return {"weights": "b"}
        case None:
            return 7
        case (ReportInput() as first, *rest):
            return (replace(first, name="other"), *rest)
        case ():
            return (7,)
        case (str(), *_):
            return (*value, "other")
    return (*value, value[-1])


def arguments_of(name: str, raw: Path) -> dict[str, Any]:
    takes = STAGES[name].signature.parameters
    here = dataset(raw / "here", "hf:captioner")
    given = {"config": here, "dataset": here, **ARGUMENTS[name]}
    return {argument: value for argument, value in given.items() if argument in takes}


def decides(name: str, argument: str, value: Any) -> dict[str, bool]:
    """For every field of an argument whether it decides."""
    marks = field_marks(type(value))
    chosen = value.model_dump() if isinstance(value, BaseModel) else marks
    deciding = DECIDING.get((name, argument), {field for field in chosen if marks[field] is None})
    if isinstance(value, IngestConfig):
        deciding = deciding - {"synthetic"}  # nothing is drawn where there is a dataset
    tried = marks.keys() - ({"prepared"} if isinstance(value, ModelArtifacts) else set())  # the same in both
    return {field: field in deciding for field in sorted(tried)}


def test_every_stage_is_tried_and_has_a_task() -> None:
    assert {*ARGUMENTS, "model card"} == STAGES.keys()  # whose key needs a trained model, as studies have one
    for stage in STAGES.values():
        task = task_of(stage).prefect
        assert (task.name, "gpu" in task.tags) == (stage.name, stage.gpu)


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_leaves_a_record_of_a_version(name: str) -> None:
    record = get_type_hints(STAGES[name].build)["return"]
    assert issubclass(record, Record)
    assert get_origin(record.model_fields["version"].annotation) is Literal


@pytest.mark.parametrize("name", ARGUMENTS)
def test_what_decides_changes_the_key_and_nothing_else_does(name: str, context: Context, raw: Path) -> None:
    stage, given, moved = STAGES[name], arguments_of(name, raw), dataset(raw / "elsewhere", "hf:other")
    assert given.keys() == stage.signature.parameters.keys()

    def differs(argument: str, value: Any) -> bool:
        return stage.key(context, **given | {argument: value}) != stage.key(context, **given)

    def check(value: Any, argument: str, differs: Callable[[Any], bool]) -> None:
        if isinstance(value, Inputs):
            for field, part in vars(value).items():
                check(part, field, lambda new, field=field: differs(replace(value, **{field: new})))
        elif isinstance(value, Shards):
            assert not differs(replace(value, keys=[key("shard")]))
        elif isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, ArtifactKey)):
            for field, expected in decides(name, argument, value).items():
                assert differs(changed(value, field, moved)) == expected, f"{argument}.{field}"
        else:
            assert differs(other(value)), argument

    for argument, value in given.items():
        check(value, argument, partial(differs, argument))


@pytest.mark.parametrize(
    ("prepared", "used"),
    [(PREPARED, "infonce"), (CAPTIONED_DATA, "grouped_infonce")],
    ids=["people", "captions"],
)
@pytest.mark.parametrize("chosen", [None, "triplet"])
def test_of_losses_the_options_count_of_the_one_that_is_used(
    prepared: ArtifactKey, used: str, chosen: str | None, context: Context
) -> None:
    def trained(training: TrainingConfig) -> ArtifactKey:
        return STAGES["train"].key(
            context, **ARGUMENTS["train"] | {"prepared": prepared, "training": training}
        )

    losses = {name for name, loss in CONTRASTIVE_OBJECTIVES.items() if loss.Options.model_fields}
    plain = TrainingConfig(contrastive=chosen)
    told_apart = {
        name
        for name in losses
        if trained(
            plain.model_copy(update={name: changed(getattr(plain, name), first(getattr(plain, name)), None)})
        )
        != trained(plain)
    }
    assert told_apart == losses & {chosen or used}
    assert trained(TrainingConfig(contrastive=used)) == trained(TrainingConfig())


def test_a_decoder_counts_where_captions_are_and_leaves_other_keys_as_they_were(context: Context) -> None:
    def trained(prepared: ArtifactKey, **fields: object) -> ArtifactKey:
        training = TrainingConfig.model_validate(fields)
        return STAGES["train"].key(
            context, **ARGUMENTS["train"] | {"prepared": prepared, "training": training}
        )

    asked = ({}, {"decoder": "gru"}, {"decoder": "transformer"}, {"decoder": "gru", "caption_weight": 0.7})
    assert len({trained(CAPTIONED_DATA, **fields) for fields in asked}) == 4
    assert len({trained(PREPARED, **fields) for fields in asked}) == 1
    assert trained(CAPTIONED_DATA, caption_weight=0.7) == trained(CAPTIONED_DATA)
    for config in (TrainingConfig(), EvaluationConfig()):
        assert not {"decoder", "caption_weight", "beam"} & key_config(config).keys()
    assert key_config(EvaluationConfig(beam=1))["beam"] == 1


def first(options: BaseModel) -> str:
    return next(iter(type(options).model_fields))


def test_what_is_drawn_is_known_by_how_it_is_drawn(context: Context) -> None:
    drawn = (IngestConfig(synthetic=SyntheticConfig(seed=seed)) for seed in (0, 1))
    assert len({STAGES["ingest"].key(context, config) for config in drawn}) == 2


def test_marked_fields_are_these() -> None:
    """A field that is marked by mistake makes stale results pass for those that are asked for."""
    kinds = (
        value
        for given in ARGUMENTS.values()
        for argument in given.values()
        for value in (argument, *(vars(argument).values() if isinstance(argument, Inputs) else ()))
        if is_dataclass(value) or isinstance(value, BaseModel)
    )
    marked = {
        (type(one).__name__, name)
        for one in (*kinds, IngestConfig())
        for name, mark in field_marks(type(one)).items()
        if mark
    }
    sizes = {
        (kind, "shard_size") for kind in ("EncoderConfig", "IndexConfig", "AttackConfig", "PoisonConfig")
    }
    places = {
        ("IngestConfig", name) for name in ("root", "captions", "coco_captions", "captioner", "caption")
    }
    rests = {("AttackShard", "rest"), ("FeatureShard", "until"), ("CaptionShard", "until")}
    speed = {("FinetuneConfig", "processes"), ("IngestConfig", "prepared_format")}
    others = {("PipelineJob", "runtime"), *speed, *rests}
    assert marked == sizes | places | others
