"""Who finds the poisons: each detector's flags on the poisoned training split, judged where the poisons are known."""

from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import torch

from mmer_core.config import DetectorName, PoisonConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.inference import TrainedModel
from mmer_core.poisoning.detectors import (
    activation_clustering,
    deep_knn,
    deep_knn_texts,
    flag_at,
    judge,
    pair_dissimilarity,
    spectral_signatures,
)
from mmer_core.poisoning.detectors.judging import FLAGS_FILE
from mmer_core.poisoning.plans import words
from mmer_core.poisoning.poison_set import PoisonSet
from mmer_core.poisoning.record import DetectionSummary
from mmer_core.stages.context import Context
from mmer_core.stages.poison.concept import Concept
from mmer_core.stages.poison.planning import Arm
from mmer_core.stages.training import training_data
from mmer_core.store import Artifact, ArtifactKey, Workspace
from mmer_core.training.data import EmotionData, RetrievalData, mean_by_sample

VERSION = 1
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]


def detectable(detector: DetectorName, concept: Concept, family: str) -> bool:
    """Whether a detector can inspect a model: a similarity needs a space that images and texts share."""
    return detector != "similarity" or concept.column is None or family == "joint"


def detect(
    context: Context,
    config: PoisonConfig,
    concept: Concept,
    arm: Arm,
    detector: DetectorName,
    prepared: ArtifactKey,
    features: ArtifactKey,
    poison: ArtifactKey,
    model: ArtifactKey,
) -> Artifact:
    """A detector's flags (kind ``poison-detection``): ``flags.npy`` ``(N,)`` and ``scores.npy``.

    It knows the target, so it inspects samples of it and others as two classes, but no poison: as many samples
    are flagged as ``config.flagged`` allows. What it looks at are the embeddings of the poisoned model. Captioned
    images are inspected by deep k-NN through their captions.
    """

    def build(workspace: Workspace) -> DetectionSummary:
        dataset = Prepared.open(context.folder(prepared))
        data = training_data(context, dataset, Features(context.folder(features)), poison)
        trained = TrainedModel.open(context.folder(model), context.device)
        scores = _scores(detector, trained, data, concept, config.counts)
        flags = flag_at(scores, config.flagged)
        mask = PoisonSet.read(context.folder(poison)).plan.mask(len(dataset.split("train")))
        np.save(workspace.out / FLAGS_FILE, flags, allow_pickle=False)
        np.save(workspace.out / "scores.npy", scores, allow_pickle=False)
        found = asdict(judge(scores, flags, mask))
        return DetectionSummary(**asdict(arm), family=trained.spec.family, detector=detector, **found)

    key_config = {
        "detector": detector,
        "concept": concept.name,
        "flagged": config.flagged,
        "neighbours": _neighbours(config.counts),
    }
    inputs = {"prepared": prepared, "features": features, "poison": poison, "model": model}
    return context.run("poison-detection", VERSION, key_config, inputs, build, seed=arm.seed)


def _scores(
    detector: DetectorName,
    trained: TrainedModel,
    data: EmotionData | RetrievalData,
    concept: Concept,
    counts: tuple[int, ...],
) -> Floats:
    images, texts, labels = _inspected(trained, data, concept)
    if detector == "similarity":
        assert texts is not None
        return pair_dissimilarity(images, texts)
    if detector == "spectral":
        return spectral_signatures(images, labels)
    if detector == "clustering":
        return activation_clustering(images, labels)
    if concept.column is None:
        assert texts is not None
        return deep_knn_texts(images, texts, _neighbours(counts))
    return deep_knn(images, labels, _neighbours(counts))


def _neighbours(counts: tuple[int, ...]) -> int:
    """More than twice the poisons, as Peri et al. advise."""
    return 2 * max(counts) + 1


def _inspected(
    trained: TrainedModel, data: EmotionData | RetrievalData, concept: Concept
) -> tuple[Rows, Rows | None, npt.NDArray[np.int64]]:
    """Embeddings of images and, where they have any, of texts, one row a sample; and who carries the target."""
    if isinstance(data, RetrievalData):
        texts = torch.from_numpy(trained.embed_texts(data.texts))
        labels = np.zeros(len(data), np.int64)
        holders = [concept.name in words(caption) for caption in data.captions]
        labels[data.text_image.numpy()[holders]] = 1
        own = mean_by_sample(texts, data.text_image, len(data)).numpy()
        return trained.embed_images(data.images), own, labels
    embeddings = {
        name: rows.float().cpu().numpy()
        for name, rows in trained.emotions(data.streams, data.present).output.embeddings.items()
    }
    text = embeddings.pop("text", None)
    # The mean of the image streams lies in the space of the text, where the model has a shared one.
    shared = len({rows.shape[1] for rows in embeddings.values()}) == 1
    images = np.mean(list(embeddings.values()), axis=0) if shared else np.hstack(list(embeddings.values()))
    return images, text, data.labels[:, concept.column].numpy().astype(np.int64)
