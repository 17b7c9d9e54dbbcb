"""The parameters of every job.

One field here is one flag of the command line, one box of the form in the Prefect UI and one row of
`--help`; all three show the description written next to it. Whatever can change a result is part of an
artifact's key, so settings that only say *where* and *how fast* live apart, in `RuntimeConfig`.

Each is imported when it is first used: a command waits for the parameters of its own job alone.
"""

from typing import TYPE_CHECKING

from mmer_core.lazily import lazily

if TYPE_CHECKING:
    from mmer_core.base_config import BY_CONTENT, SPEED, Config, NotInKey, Split
    from mmer_core.config.attacks import AttackConfig, EmotionCriterion, MatchCriterion, SearchConfig
    from mmer_core.config.defences import ADVERSARIAL, AblationConfig, AdversarialConfig, is_ablation
    from mmer_core.config.encoders import EncoderConfig
    from mmer_core.config.ingesting import IngestJob
    from mmer_core.config.jobs import (
        DefencesJob,
        EvaluateJob,
        FinetuneJob,
        IndexJob,
        ModelJob,
        NightlyJob,
        PipelineJob,
        PoisonJob,
        ProbeJob,
        ReportJob,
        RobustnessJob,
        SeedsJob,
        TrainJob,
        TransferJob,
        UpdateIndexJob,
    )
    from mmer_core.config.measures import EvaluationConfig, IndexConfig, ReportConfig
    from mmer_core.config.models import ARCHITECTURES, FAMILIES, Family, Fusion, ModelConfig, PromptConfig
    from mmer_core.config.poisoning import PoisonConfig
    from mmer_core.config.probe import ProbeConfig
    from mmer_core.config.runtime import Runtime, RuntimeConfig
    from mmer_core.config.training import TaskTraining, TrainingConfig
    from mmer_core.datasets.config import CaptionConfig, DatasetCardConfig, IngestConfig
    from mmer_core.datasets.synthetic_config import SyntheticConfig
    from mmer_core.encoders.config import FinetuneConfig
    from mmer_core.encoders.registry import bare_name
    from mmer_core.paths import Place

__getattr__ = lazily(
    __name__,
    {
        "mmer_core.base_config": (
            "BY_CONTENT",
            "SPEED",
            "Config",
            "NotInKey",
            "Split",
        ),
        ".attacks": (
            "AttackConfig",
            "EmotionCriterion",
            "MatchCriterion",
            "SearchConfig",
        ),
        ".defences": ("ADVERSARIAL", "AblationConfig", "AdversarialConfig", "is_ablation"),
        ".encoders": ("EncoderConfig",),
        ".ingesting": ("IngestJob",),
        ".jobs": (
            "DefencesJob",
            "EvaluateJob",
            "FinetuneJob",
            "IndexJob",
            "ModelJob",
            "NightlyJob",
            "PipelineJob",
            "PoisonJob",
            "ProbeJob",
            "ReportJob",
            "RobustnessJob",
            "SeedsJob",
            "TrainJob",
            "TransferJob",
            "UpdateIndexJob",
        ),
        ".measures": (
            "EvaluationConfig",
            "IndexConfig",
            "ReportConfig",
        ),
        ".models": (
            "ARCHITECTURES",
            "FAMILIES",
            "Family",
            "Fusion",
            "ModelConfig",
            "PromptConfig",
        ),
        ".poisoning": ("PoisonConfig",),
        ".probe": ("ProbeConfig",),
        ".runtime": (
            "Runtime",
            "RuntimeConfig",
        ),
        ".training": (
            "TaskTraining",
            "TrainingConfig",
        ),
        "mmer_core.datasets.config": (
            "CaptionConfig",
            "DatasetCardConfig",
            "IngestConfig",
        ),
        "mmer_core.datasets.synthetic_config": ("SyntheticConfig",),
        "mmer_core.encoders.config": ("FinetuneConfig",),
        "mmer_core.encoders.registry": ("bare_name",),
        "mmer_core.paths": ("Place",),
    },
)

__all__ = [
    "ADVERSARIAL",
    "ARCHITECTURES",
    "BY_CONTENT",
    "FAMILIES",
    "SPEED",
    "AblationConfig",
    "AdversarialConfig",
    "AttackConfig",
    "CaptionConfig",
    "Config",
    "DatasetCardConfig",
    "DefencesJob",
    "EmotionCriterion",
    "EncoderConfig",
    "EvaluateJob",
    "EvaluationConfig",
    "Family",
    "FinetuneConfig",
    "FinetuneJob",
    "Fusion",
    "IndexConfig",
    "IndexJob",
    "IngestConfig",
    "IngestJob",
    "MatchCriterion",
    "ModelConfig",
    "ModelJob",
    "NightlyJob",
    "NotInKey",
    "PipelineJob",
    "Place",
    "PoisonConfig",
    "PoisonJob",
    "ProbeConfig",
    "ProbeJob",
    "PromptConfig",
    "ReportConfig",
    "ReportJob",
    "RobustnessJob",
    "Runtime",
    "RuntimeConfig",
    "SearchConfig",
    "SeedsJob",
    "Split",
    "SyntheticConfig",
    "TaskTraining",
    "TrainJob",
    "TrainingConfig",
    "TransferJob",
    "UpdateIndexJob",
    "bare_name",
    "is_ablation",
]
