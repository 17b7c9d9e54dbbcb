"""A retrieval model -> embeddings of the split that it is attacked on, for all shards of the attack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mmer_core.config import AttackConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.inference import TrainedModel
from mmer_core.record import Record
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.identity import some_fields
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.task_kinds import kind_of
from mmer_core.threads import shared_cores
from mmer_core.usage import leg


class GallerySummary(Record):
    """Captions and images, and the width of their space."""

    version: Literal[1] = 1
    texts: int
    images: int
    width: int


def _of_split(config: AttackConfig) -> Mapping[str, Any]:
    return {"config": some_fields(config, "split")}


@stage("gallery", version=1, title="embed the gallery of {config.split}", gpu=True, identity=_of_split)
def embed_gallery(
    context: Context,
    workspace: Workspace,
    config: AttackConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    model: ArtifactKey,
) -> GallerySummary:
    """Embed all captions and images of the attacked split; for kinds of task that rank."""
    trained = TrainedModel.open(context.folder(model), context.device)
    split = Prepared.open(context.parts(prepared)).split(config.split)
    with shared_cores(context.runtime.workers), leg("model"):
        gallery = kind_of(trained.spec.task).gallery(trained, split, Features(context.parts(features)))
    gallery.write(workspace.out)
    return GallerySummary(texts=len(gallery.texts), images=len(gallery.images), width=gallery.images.shape[1])
