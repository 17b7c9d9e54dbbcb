"""The configuration of every job that needs a model: the parameter of its flow, and the flags of its command."""

import re
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mmer_core.base_config import Config, Split
from mmer_core.config.attacks import AttackConfig
from mmer_core.config.defences import (
    ADVERSARIAL,
    AblationConfig,
    AdversarialConfig,
    fault_of_defence,
    is_ablation,
)
from mmer_core.config.encoders import EncoderConfig
from mmer_core.config.measures import EvaluationConfig, IndexConfig, ReportConfig
from mmer_core.config.models import FAMILIES, Family, ModelConfig, PromptConfig
from mmer_core.config.poisoning import PoisonConfig
from mmer_core.config.probe import ProbeConfig
from mmer_core.config.runtime import Runtime, RuntimeConfig
from mmer_core.config.training import FinetuneConfig, TrainingConfig
from mmer_core.datasets.config import IngestConfig
from mmer_core.paths import Place


class TrainJob(Config):
    """Prepare and encode one dataset, train one model on it and evaluate it; existing artifacts are reused."""

    dataset: IngestConfig = Field(default=IngestConfig(), description="The dataset.")
    prepared: str | None = Field(
        None, description="Key of prepared arrays in the store, instead of the dataset."
    )
    encoders: EncoderConfig = Field(default=EncoderConfig(), description="Frozen encoders.")
    model: ModelConfig = Field(default=ModelConfig(), description="Trained part.")
    training: TrainingConfig = Field(default=TrainingConfig(), description="Training loop.")
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="Metrics.")
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")

    def splits(self) -> set[Split]:
        """The splits that this job needs."""
        if self.model.family == "zero-shot":
            return {self.evaluation.split}
        return {"train", "val", self.evaluation.split}


class SeedsJob(TrainJob):
    """Train and evaluate with one or several seeds; everything else is the same."""

    seeds: int = Field(
        1,
        ge=1,
        description="Number of trainings, with seeds from training.seed on; several print mean and standard deviation.",
    )

    @property
    def several(self) -> bool:
        """Whether there is more to do than `TrainJob` does."""
        return self.seeds > 1


class ModelJob(TrainJob):
    """Measure a model from the store, or one that is trained first."""

    trained: str | None = Field(
        None,
        description="Key of a model in the store, instead of the settings of a model and its dataset.",
    )

    @model_validator(mode="after")
    def _one_model_is_meant(self) -> Self:
        fields = type(self).model_fields
        describing = {
            "dataset",
            "prepared",
            "encoders",
            "model",
            "training",
            "evaluation",
        } - self.beside_trained()
        another = [
            name for name in fields if name in describing and getattr(self, name) != fields[name].default
        ]
        if self.trained and another:
            raise ValueError(
                f"the model {self.trained} is there already: leave out what describes another one "
                f"({', '.join(another)})"
            )
        return self

    def beside_trained(self) -> set[str]:
        """Fields that describe a model, and say something else where it is there already."""
        return set()

    def splits(self) -> set[Split]:
        return set() if self.trained else super().splits()


class IndexJob(ModelJob):
    """Index a dataset's embeddings; the model is trained first if it does not exist."""

    index: IndexConfig = Field(default=IndexConfig(), description="FAISS index.")

    def splits(self) -> set[Split]:
        return super().splits() | ({self.index.split} if self.index.split != "all" else set())


class UpdateIndexJob(Config):
    """Add photos of a dataset to an index, delete photos from it, or both, as a new version of the index."""

    index: str = Field("index", description="Key of the index; the newest one by default.")
    dataset: IngestConfig = Field(
        default=IngestConfig(),
        description="Photos to add; a photo whose id is in the index replaces the old one. Nothing is added by default.",
    )
    prepared: str | None = Field(
        None, description="Key of prepared arrays in the store to add, instead of a dataset."
    )
    split: Split | Literal["all"] = Field("all", description="Split of the dataset to add, or all of them.")
    delete: tuple[str, ...] = Field((), description="Ids of photos to delete, with their captions.")
    delete_from: Place | None = Field(
        None, description="File of ids of photos to delete, one per line; in a .jsonl each as a JSON string."
    )
    compact: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="Rebuild the index from what is left; auto rebuilds it when it has more than 8 parts or lost more than "
        "a quarter of its photos.",
    )
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")

    @field_validator("delete", mode="before")
    @classmethod
    def _ids_are_text(cls, ids: Any) -> Any:
        # The command line reads what looks like a JSON list or object as one, and its spelling is lost.
        if isinstance(ids, list | tuple) and any(isinstance(one, list | dict) for one in ids):
            raise ValueError("an id that is a JSON list or object can only be given in a file: --delete-from")
        return ids

    @property
    def adds(self) -> bool:
        """Whether there are photos to add."""
        return self.prepared is not None or self.dataset != IngestConfig()


class RobustnessJob(ModelJob):
    """Attack a model; it is trained first if it does not exist."""

    attack: AttackConfig = Field(default=AttackConfig(), description="Pixel attacks.")

    def beside_trained(self) -> set[str]:
        return {"dataset"} if self.attack.stream == "photo" else set()

    def splits(self) -> set[Split]:
        return super().splits() | {self.attack.split}


class DefencesJob(RobustnessJob):
    """Attack a model, and the same model with each of some defences, all aware of what they attack."""

    defence: tuple[str, ...] = Field(
        (),
        description="Defences to compare with the model as it is, each trained, evaluated and attacked like it: filters of its "
        "input, 'median' or 'median:5' (side of the window), 'jpeg' or 'jpeg:50' (quality), 'adversarial', training on "
        "attacked images too, and 'ablation' or 'ablation:500' (pixels kept), which is certified instead of attacked.",
    )
    ablation: AblationConfig = Field(default=AblationConfig(), description="Certificates of ablation.")
    adversarial: AdversarialConfig = Field(default=AdversarialConfig(), description="Adversarial training.")

    @property
    def several(self) -> bool:
        """Whether there is more to do than `RobustnessJob` does."""
        return bool(self.defence)

    @model_validator(mode="after")
    def _models_can_be_defended(self) -> Self:
        for defence in self.defence:
            if fault := fault_of_defence(defence):
                raise ValueError(fault)
        if len({*self.defence}) < len(self.defence):
            raise ValueError(f"a defence is named twice: {' '.join(self.defence)}")
        if self.defence and self.trained:
            raise ValueError(
                f"a defended model is trained anew, beside the one without: give the dataset and the settings of {self.trained} "
                "in place of its key"
            )
        if ADVERSARIAL in self.defence:
            self._can_be_trained_on_attacks()
        if any(map(is_ablation, self.defence)) and self.attack.stream == "photo":
            raise ValueError(
                "ablation certifies pixels of an image as the model reads it; give context or body as stream"
            )
        return self

    def _can_be_trained_on_attacks(self) -> None:
        if self.model.family == "zero-shot":
            raise ValueError("zero-shot is not trained, so no training can defend it; give filters")
        if self.attack.stream == "photo":
            raise ValueError(
                "adversarial training attacks an image as the model reads it; give context or body as stream"
            )
        if self.attack.target is not None:
            raise ValueError("adversarial training knows no target of the training split; leave out target")


class PoisonJob(TrainJob):
    """Poison the training split, train every family on it repeatedly, and measure the effect."""

    families: tuple[Family, ...] = Field(FAMILIES, min_length=1, description="Model families to compare.")
    poison: PoisonConfig = Field(default=PoisonConfig(), description="Poisons and controls.")

    @model_validator(mode="after")
    def _something_is_trained(self) -> Self:
        if "zero-shot" in self.families:
            raise ValueError(
                "zero-shot is not trained, so nothing can be poisoned; give separate, joint or both"
            )
        return self


class FinetuneJob(Config):
    """Adapt the encoders to one dataset; the result is an encoder by the name ``adapted:KEY``."""

    dataset: IngestConfig = Field(default=IngestConfig(), description="The dataset.")
    prepared: str | None = Field(
        None, description="Key of prepared arrays in the store, instead of the dataset."
    )
    encoders: EncoderConfig = Field(default=EncoderConfig(), description="Encoders to adapt.")
    finetune: FinetuneConfig = Field(default=FinetuneConfig(), description="How to adapt them.")
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")


class EvaluateJob(Config):
    """Evaluate a trained model on any split of any dataset, or a dual encoder without training."""

    dataset: IngestConfig = Field(
        default=IngestConfig(),
        description="The dataset; when none is given, the one that the model was trained on.",
    )
    prepared: str | None = Field(
        None, description="Key of prepared arrays in the store, instead of the dataset."
    )
    model: str | None = Field(
        None, description="Key of the model; the newest one that fits the dataset by default."
    )
    zero_shot: str | None = Field(
        None,
        description="A dual encoder to evaluate without any training, instead of a model: hf:ID_OR_FOLDER.",
    )
    prompts: PromptConfig = Field(default=PromptConfig(), description="How zero_shot reads labels.")
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="Metrics.")
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")

    @model_validator(mode="after")
    def _one_thing_is_evaluated(self) -> Self:
        if self.model and self.zero_shot:
            raise ValueError("give either the key of a model or a dual encoder for zero-shot, not both")
        return self


class ReportJob(Config):
    """Write the report from existing artifacts."""

    dataset: IngestConfig = Field(
        default=IngestConfig(),
        description="The dataset whose models to report; when none is given, every dataset that has models.",
    )
    prepared: str | None = Field(
        None, description="Key of prepared arrays in the store, instead of the dataset."
    )
    models: tuple[str, ...] = Field(
        (),
        description="Keys of the models to report; when empty, of every dataset and family the newest that was evaluated and, "
        "if any was, attacked.",
    )
    report: ReportConfig = Field(default=ReportConfig(), description="HTML report.")
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")

    @model_validator(mode="after")
    def _models_are_meant_in_one_way(self) -> Self:
        if self.models and (self.prepared or self.dataset.model_fields_set):
            raise ValueError("give either the keys of models or the dataset whose models to report, not both")
        return self


class PipelineJob(Config):
    """Everything from raw datasets to the report."""

    datasets: dict[str, IngestConfig] = Field(
        default={"emotic": IngestConfig(dataset="emotic"), "flickr8k": IngestConfig(dataset="flickr8k")},
        min_length=1,
        description="Datasets by name.",
    )
    families: tuple[Family, ...] = Field(FAMILIES, min_length=1, description="Model families to compare.")
    seeds: int = Field(
        1,
        ge=1,
        description="Trainings of every family, with seeds from training.seed on; each is evaluated and attacked, and the "
        "report tells the variance between trainings from that between images. Give 3 or more: with 1 the variance "
        "between trainings is not known.",
    )
    encoders: EncoderConfig = Field(default=EncoderConfig(), description="Frozen encoders.")
    model: ModelConfig = Field(
        default=ModelConfig(), description="Trained part; its family is set by families."
    )
    training: TrainingConfig = Field(default=TrainingConfig(), description="Training loop.")
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="Metrics.")
    probe: ProbeConfig = Field(
        default=ProbeConfig(), description="Linear probe beside the models of datasets with labels."
    )
    index: IndexConfig = Field(default=IndexConfig(), description="FAISS index.")
    attack: AttackConfig = Field(default=AttackConfig(), description="Pixel attacks.")
    report: ReportConfig = Field(default=ReportConfig(), description="HTML report.")
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")

    @model_validator(mode="after")
    def _names_are_path_safe(self) -> Self:
        for name in self.datasets:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"dataset name {name!r} may hold letters, digits, '-' and '_' only")
        return self


class NightlyJob(PipelineJob):
    """The whole study, and how it differs from the one of the night before."""

    series: str = Field(
        "nightly",
        description="Name of a series of nights: each is compared with the last one of that name in the store that was "
        "completed.",
    )

    @field_validator("series")
    @classmethod
    def _series_is_a_name(cls, series: str) -> str:
        if not re.fullmatch(r"\w+(-\w+)*", series, re.ASCII):
            raise ValueError(f"{series!r} is no name of a series: give letters, digits, '-' and '_'")
        return series

    def study(self) -> PipelineJob:
        """The study of one night."""
        return PipelineJob(**{name: getattr(self, name) for name in PipelineJob.model_fields})


class TransferJob(Config):
    """Show the successful attacks on each model to the other models of its dataset."""

    models: tuple[str, ...] = Field(
        (), description="Keys of attacked models; the newest of every dataset and family when empty."
    )
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")


class ProbeJob(Config):
    """Fit logistic regression to the frozen features of a labelled dataset, and measure it."""

    dataset: IngestConfig = Field(default=IngestConfig(), description="The dataset.")
    prepared: str | None = Field(
        None, description="Key of prepared arrays in the store, instead of the dataset."
    )
    encoders: EncoderConfig = Field(default=EncoderConfig(), description="Frozen encoders.")
    probe: ProbeConfig = Field(default=ProbeConfig(), description="Logistic regression.")
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="Metrics.")
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")
