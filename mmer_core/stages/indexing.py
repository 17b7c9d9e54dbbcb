"""A trained retrieval model -> a FAISS index of a split."""

from mmer_core.config import IndexConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.inference import TrainedModel
from mmer_core.retrieval import build as build_folder
from mmer_core.stages.context import Context
from mmer_core.store import Artifact, ArtifactKey, Workspace
from mmer_core.training.data import RetrievalData

VERSION = 1


def build_index(
    context: Context, config: IndexConfig, prepared: ArtifactKey, features: ArtifactKey, model: ArtifactKey
) -> Artifact:
    """Image and text index of a split (kind ``index``).

    Raises:
        ConfigError: The model reads emotions, or FAISS does not understand the factory string.
    """

    def build(workspace: Workspace) -> dict[str, object]:
        split = Prepared.open(context.folder(prepared)).split(config.split)
        trained = TrainedModel.open(context.folder(model), context.device)
        data = RetrievalData.load(Features(context.folder(features)), split)
        build_folder(
            workspace.out,
            config.factory,
            images=trained.embed_images(data.images),
            image_ids=split.ids,
            texts=trained.embed_texts(data.texts),
            captions=split.texts,
            text_image=split.text_sample,
        )
        return {
            "family": trained.spec.family,
            "dataset": trained.spec.dataset,
            "split": config.split,
            "images": len(split),
            "texts": len(split.texts),
        }

    inputs = {"prepared": prepared, "features": features, "model": model}
    return context.run("index", VERSION, config, inputs, build)
