"""Raw dataset -> prepared arrays."""

import logging
from collections.abc import Iterable

from mmer_core.config import IngestConfig
from mmer_core.datasets.ingest import ingest as ingest_dataset
from mmer_core.datasets.ingest import source_identity
from mmer_core.datasets.prepared import DatasetSummary, Prepared
from mmer_core.log import event
from mmer_core.stages.captioning import load_captions
from mmer_core.stages.context import Context
from mmer_core.store import Artifact, ArtifactKey, Workspace

VERSION = 6
_NOT_IN_THE_KEY = {"root", "captions", "coco_captions", "captioner", "caption"}
"""What the inputs of the stage stand for."""


def ingest(context: Context, config: IngestConfig, captions: ArtifactKey | None = None) -> Artifact:
    """Prepared arrays of a dataset (kind ``prepared``).

    The key holds the contents of the raw files, not their path: a moved dataset is the same dataset.

    Args:
        captions: What a captioning model wrote for people whom nothing else describes.

    Raises:
        DatasetError: The raw dataset is missing, unreadable or not in its layout.
    """

    def build(workspace: Workspace) -> DatasetSummary:
        return ingest_dataset(
            config,
            workspace.out,
            workspace.scratch,
            workers=context.runtime.workers,
            progress=context.progress,
            captions=load_captions(context, captions) if captions else None,
        )

    key_config = config.model_dump(mode="json", exclude=_NOT_IN_THE_KEY)
    if config.root is not None:
        key_config.pop("synthetic")
    inputs: dict[str, ArtifactKey | str] = {"raw": source_identity(config)}
    if captions:
        inputs["captions"] = captions
    artifact = context.run("prepared", VERSION, key_config, inputs, build)
    _warn(artifact.manifest.summary_as(DatasetSummary))
    return artifact


def _warn(card: DatasetSummary) -> None:
    """What was probably not meant so is said by every run, also of a dataset that is in the store already."""
    for reason, count in card.notes.items():
        event(
            f"{card.name}: probably not meant so: {count} {reason}; mmer data check says where",
            level=logging.WARNING,
            dataset=card.name,
            reason=reason,
            count=count,
        )


def check_splits(context: Context, prepared: ArtifactKey, splits: Iterable[str]) -> None:
    """Notice a split that a later stage wants and the dataset does not have, before hours of work.

    Raises:
        DatasetError: The dataset has no such split; it names those it has.
    """
    dataset = Prepared.open(context.folder(prepared))
    for split in splits:
        dataset.split(split)
