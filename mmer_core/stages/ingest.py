"""Raw dataset -> prepared arrays."""

import logging
from collections.abc import Iterable

from mmer_core.config import IngestConfig
from mmer_core.datasets.ingest import ingest as ingest_dataset
from mmer_core.datasets.prepared import DatasetSummary, Prepared
from mmer_core.log import event
from mmer_core.stages.captions import load_captions
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.identity import raw_identity
from mmer_core.store import ArtifactKey, Workspace


@stage("prepared", version=8, title="ingest {config.dataset}", identity=raw_identity)
def ingest(
    context: Context, workspace: Workspace, config: IngestConfig, captions: ArtifactKey | None = None
) -> DatasetSummary:
    """Prepared arrays of a dataset.

    The key holds the contents of the raw files, not their path: a moved dataset is the same dataset.

    Args:
        captions: What a captioning model wrote for people whom nothing else describes.

    Raises:
        DatasetError: The raw dataset is missing, unreadable or not in its layout.
    """
    workspace.use({"config": {"prepared_format": config.prepared_format}})
    return ingest_dataset(
        config,
        workspace.out,
        workspace.scratch,
        workers=context.runtime.workers,
        progress=context.progress,
        captions=load_captions(context, captions) if captions else None,
    )


def tell_notes(context: Context, prepared: ArtifactKey) -> None:
    """What was probably not meant so is said by every run, also of a dataset that is in the store already."""
    card = context.store.manifest(prepared).summary_as(DatasetSummary)
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
    dataset = Prepared.open(context.parts(prepared))
    for split in splits:
        dataset.split(split)
