"""The parameters of every job.

One field here is one flag of the command line, one box of the form in the Prefect UI and one row of
`--help`; all three show the description written next to it. Whatever can change a result is part of an
artifact's key, so settings that only say *where* and *how fast* live apart, in `RuntimeConfig`.
"""

from mmer_core.config.attacks import AttackConfig, AttackName, EmotionCriterion, MatchCriterion, SearchConfig
from mmer_core.config.base import BY_CONTENT, SPEED, Config, NotInKey, Split
from mmer_core.config.datasets import CaptionConfig, DatasetCardConfig, IngestConfig, SyntheticConfig
from mmer_core.config.encoders import WRAPPERS, EncoderConfig, bare_name
from mmer_core.config.jobs import (
    EvaluateJob,
    FineTuneJob,
    IndexJob,
    IngestJob,
    ModelJob,
    PipelineConfig,
    PoisonJob,
    ReportJob,
    RobustnessJob,
    SeedsJob,
    TrainJob,
    UpdateIndexJob,
)
from mmer_core.config.measures import EvaluationConfig, IndexConfig, ReportConfig
from mmer_core.config.models import FAMILIES, Family, Fusion, ModelConfig, PromptConfig
from mmer_core.config.poisoning import (
    CONTROLS,
    CRAFTED,
    BackdoorName,
    ControlName,
    CraftedName,
    DetectorName,
    PoisonConfig,
)
from mmer_core.config.runtime import Runtime, RuntimeConfig
from mmer_core.config.training import FineTuneConfig, TaskTraining, TrainingConfig

__all__ = [
    "BY_CONTENT",
    "CONTROLS",
    "CRAFTED",
    "FAMILIES",
    "SPEED",
    "WRAPPERS",
    "AttackConfig",
    "AttackName",
    "BackdoorName",
    "CaptionConfig",
    "Config",
    "ControlName",
    "CraftedName",
    "DatasetCardConfig",
    "DetectorName",
    "EmotionCriterion",
    "EncoderConfig",
    "EvaluateJob",
    "EvaluationConfig",
    "Family",
    "FineTuneConfig",
    "FineTuneJob",
    "Fusion",
    "IndexConfig",
    "IndexJob",
    "IngestConfig",
    "IngestJob",
    "MatchCriterion",
    "ModelConfig",
    "ModelJob",
    "NotInKey",
    "PipelineConfig",
    "PoisonConfig",
    "PoisonJob",
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
    "UpdateIndexJob",
    "bare_name",
]
