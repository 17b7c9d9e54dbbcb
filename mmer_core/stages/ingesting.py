"""Raw dataset -> prepared arrays."""

from collections.abc import Iterable
from dataclasses import asdict

from mmer_core.config import IngestConfig
from mmer_core.datasets.ingest import ingest as ingest_dataset
from mmer_core.datasets.ingest import source_identity
from mmer_core.datasets.prepared import Prepared
from mmer_core.stages.context import Context
from mmer_core.store import Artifact, ArtifactKey, Workspace

VERSION = 2


def ingest(context: Context, config: IngestConfig) -> Artifact:
    """Prepared arrays of a dataset (kind ``prepared``).

    The key holds the contents of the raw files, not their path: a moved dataset is the same dataset.

    Raises:
        DatasetError: The raw dataset is missing, unreadable or not in its layout.
    """

    def build(workspace: Workspace) -> dict[str, object]:
        card = ingest_dataset(
            config,
            workspace.out,
            workspace.scratch,
            workers=context.runtime.workers,
            progress=context.progress,
        )
        return asdict(card)

    decides = config.model_dump(mode="json", exclude={"root", "captions", "coco_captions"})
    if config.root is not None:
        decides.pop("synthetic")
    return context.run("prepared", VERSION, decides, {"raw": source_identity(config)}, build)


def check_splits(context: Context, prepared: ArtifactKey, splits: Iterable[str]) -> None:
    """Notice a split that a later stage wants and the dataset does not have, before hours of work.

    Raises:
        DatasetError: The dataset has no such split; it names those it has.
    """
    dataset = Prepared.open(context.folder(prepared))
    for split in splits:
        dataset.split(split)
