"""The jobs as pure functions from (configuration, input artifacts) to one output artifact.

A stage whose artifact is in the store is not run again. A stage's ``VERSION`` is part of the key; raise it
when the stage's code changes what comes out.
"""

from mmer_core.stages.captioning import (
    CaptionShard,
    caption_shard,
    caption_shards,
    merge_captions,
    plan_captions,
)
from mmer_core.stages.context import Context
from mmer_core.stages.dataset_card import dataset_card
from mmer_core.stages.evaluating import evaluate
from mmer_core.stages.evaluation_plan import EvaluationPlan, plan_evaluation
from mmer_core.stages.features import check_encoders, encode_features_shard, merge_features, plan_features
from mmer_core.stages.finetuning import finetune
from mmer_core.stages.index_updates import check_ids, find_index, read_ids, update_index, worth_compacting
from mmer_core.stages.indexing import (
    IndexShard,
    index_config,
    index_shard,
    index_shards,
    merge_index,
    plan_compaction,
    plan_index,
)
from mmer_core.stages.ingesting import check_splits, ingest
from mmer_core.stages.lineage import ModelArtifacts, find_model, newest_model, newest_models
from mmer_core.stages.model_card import model_card
from mmer_core.stages.reporting import ReportInput, build_report, report_inputs
from mmer_core.stages.robustness import AttackShard, attack_shard, merge_robustness, plan_attack
from mmer_core.stages.training import train
from mmer_core.stages.transfer import transfer, transfer_pairs

__all__ = [
    "AttackShard",
    "CaptionShard",
    "Context",
    "EvaluationPlan",
    "IndexShard",
    "ModelArtifacts",
    "ReportInput",
    "attack_shard",
    "build_report",
    "caption_shard",
    "caption_shards",
    "check_encoders",
    "check_ids",
    "check_splits",
    "dataset_card",
    "encode_features_shard",
    "evaluate",
    "find_index",
    "find_model",
    "finetune",
    "index_config",
    "index_shard",
    "index_shards",
    "ingest",
    "merge_captions",
    "merge_features",
    "merge_index",
    "merge_robustness",
    "model_card",
    "newest_model",
    "newest_models",
    "plan_attack",
    "plan_captions",
    "plan_compaction",
    "plan_evaluation",
    "plan_features",
    "plan_index",
    "read_ids",
    "report_inputs",
    "train",
    "transfer",
    "transfer_pairs",
    "update_index",
    "worth_compacting",
]
