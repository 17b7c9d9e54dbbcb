"""The jobs as pure functions from (configuration, input artifacts) to one output artifact.

Each is declared once, see `mmer_core.stages.declaration`. A stage whose artifact is in the store is not run again. Its
version is part of the key; raise it when its code changes what comes out.
"""

from mmer_core.stages.absent import (
    check_every_image,
    check_family,
    check_has_images,
    has_images,
    has_streams_for,
    left_out,
)
from mmer_core.stages.attacked_gallery import embed_gallery
from mmer_core.stages.captions import CAPTIONING, CaptionShard, plan_captions
from mmer_core.stages.context import Context
from mmer_core.stages.dataset_card import dataset_card
from mmer_core.stages.declaration import STAGES, Sharded, Shards, Stage, stage
from mmer_core.stages.evaluate import evaluate
from mmer_core.stages.evaluation_plan import EvaluationPlan, plan_evaluation
from mmer_core.stages.features import ENCODING, check_encoders
from mmer_core.stages.finetune import finetune
from mmer_core.stages.index import INDEXING, INDEXING_PART, IndexInputs, IndexShard, plan_index
from mmer_core.stages.ingest import check_splits, ingest, tell_notes
from mmer_core.stages.lineage import (
    ModelArtifacts,
    choose_models,
    find_model,
    first_trainings,
    newest_model,
    newest_models,
    prepared_of,
)
from mmer_core.stages.model_card import model_card
from mmer_core.stages.night import night
from mmer_core.stages.photos import collect_photos
from mmer_core.stages.probe import probe
from mmer_core.stages.recomputing import recompute
from mmer_core.stages.remaking import remake
from mmer_core.stages.report import ReportInput, report, report_inputs, section_results
from mmer_core.stages.robustness import ATTACKING, AttackShard
from mmer_core.stages.train import train
from mmer_core.stages.transfer import transfer, transfer_pairs
from mmer_core.stages.update_index import (
    check_ids,
    find_index,
    holds,
    read_ids,
    update_index,
    worth_compacting,
)
from mmer_core.stages.zero_shot import zero_shot

__all__ = [
    "ATTACKING",
    "CAPTIONING",
    "ENCODING",
    "INDEXING",
    "INDEXING_PART",
    "STAGES",
    "AttackShard",
    "CaptionShard",
    "Context",
    "EvaluationPlan",
    "IndexInputs",
    "IndexShard",
    "ModelArtifacts",
    "ReportInput",
    "Sharded",
    "Shards",
    "Stage",
    "check_encoders",
    "check_every_image",
    "check_family",
    "check_has_images",
    "check_ids",
    "check_splits",
    "choose_models",
    "collect_photos",
    "dataset_card",
    "embed_gallery",
    "evaluate",
    "find_index",
    "find_model",
    "finetune",
    "first_trainings",
    "has_images",
    "has_streams_for",
    "holds",
    "ingest",
    "left_out",
    "model_card",
    "newest_model",
    "newest_models",
    "night",
    "plan_captions",
    "plan_evaluation",
    "plan_index",
    "prepared_of",
    "probe",
    "read_ids",
    "recompute",
    "remake",
    "report",
    "report_inputs",
    "section_results",
    "stage",
    "tell_notes",
    "train",
    "transfer",
    "transfer_pairs",
    "update_index",
    "worth_compacting",
    "zero_shot",
]
