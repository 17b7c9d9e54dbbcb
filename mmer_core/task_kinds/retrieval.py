"""Matching of images and texts, in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mmer_core import models
from mmer_core.attacks.criteria import Criterion, RankDrop
from mmer_core.attacks.figures import ACCURACY, Figures
from mmer_core.attacks.gallery import Gallery
from mmer_core.attacks.outcomes import Reading
from mmer_core.attacks.victims import Victim
from mmer_core.config import (
    EncoderConfig,
    EvaluationConfig,
    Family,
    FinetuneConfig,
    ReportConfig,
    SearchConfig,
    TaskTraining,
)
from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.encoders import ImageEncoder, TextEncoder
from mmer_core.encoders.dual import dual_similarity
from mmer_core.encoders.features import Features
from mmer_core.errors import ConfigError
from mmer_core.evaluation.comparing import Asked, compare_retrieval
from mmer_core.evaluation.evaluate import evaluate_retrieval
from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.evaluation.retrieval_metrics import similarity_ranks
from mmer_core.evaluation.robust_figures import robust_recalls
from mmer_core.heavy import Tensor, nn, torch
from mmer_core.inference import TrainedModel
from mmer_core.matrix import blocks, mean_by_sample
from mmer_core.models import ModelSpec, decoders
from mmer_core.poisoning.detectors.detector import Inspected
from mmer_core.poisoning.plans import words
from mmer_core.poisoning.poison_set import PoisonSet
from mmer_core.reporting.view import Captions, EmbeddingSpace, RetrievalExample, SimilarityMatrix
from mmer_core.statistics.comparison import Comparison, Rule
from mmer_core.task_kinds.analyses import analyse_retrieval
from mmer_core.task_kinds.embedded import embedded_images, embedded_texts
from mmer_core.task_kinds.kind import (
    AttackedPhoto,
    AttackedSplit,
    Decisions,
    PhotoScores,
    Samples,
    TaskKind,
)
from mmer_core.task_kinds.measured import (
    MOST_SIMILAR,
    Measured,
    chosen_rows,
    evenly,
    save_embedding,
    shown_similarity,
    shown_space,
)
from mmer_core.task_kinds.retrieval_attacks import match_criterion, match_reading, own_found
from mmer_core.task_kinds.retrieval_text import TEXT
from mmer_core.task_kinds.written import CAPTIONS_FILE, WrittenCaptions, shown_captions
from mmer_core.training.data import RetrievalData
from mmer_core.training.learner import ModelLearner, hold_temperature
from mmer_core.training.poisoned import keep_pairs, poison_pairs
from mmer_core.training.retrieval_learner import RetrievalLearner, vocabulary
from mmer_core.training.tuning import CaptionTuner

_RESULTS = 5
_CAPTION_LENGTH = 80


class RetrievalKind(TaskKind[RetrievalData]):
    """Image-text models, judged by mean recall."""

    name = "retrieval"
    summary = "images and texts that belong together"
    text = TEXT
    schedule: ClassVar = {
        "epochs": 50,
        "patience": 15,
        "batch_size": 256,
        "learning_rate": 3e-3,
        "contrastive": "grouped_infonce",
    }
    families = ("separate", "joint", "zero-shot")
    width = 512
    dropout = 0.5
    has_heads = True
    reads_parts = True
    captioned = True
    searchable = True
    ranks = True

    def data(
        self,
        features: Features,
        split: PreparedSplit,
        poisons: PoisonSet | None = None,
        keep: npt.NDArray[np.bool_] | None = None,
        scratch: Path | None = None,
    ) -> RetrievalData:
        pairs = RetrievalData.load(features, split, stored=scratch is not None)
        pairs = pairs if poisons is None else poison_pairs(pairs, poisons)
        return pairs if keep is None else keep_pairs(pairs, keep)

    def outputs(
        self, split: PreparedSplit, data: RetrievalData, family: Family
    ) -> dict[str, tuple[str, ...]]:
        return {"dimensions": (), "words": vocabulary(data.captions) if family == "separate" else ()}

    def learner(
        self,
        network: nn.Module,
        train: RetrievalData,
        val: RetrievalData,
        settings: TaskTraining,
        like: RetrievalLearner | None = None,
    ) -> RetrievalLearner:
        assert isinstance(network, models.RetrievalModel)
        return RetrievalLearner(network, train, val, settings)

    def save_heads(self, learner: ModelLearner, folder: Path) -> None:
        if isinstance(learner, RetrievalLearner) and learner.decoder is not None:
            decoders.save_decoder(learner.decoder, folder)

    def start_from_towers(
        self, network: nn.Module, towers: tuple[str, str], temperature: float | None
    ) -> None:
        if not isinstance(network, models.JointRetrievalModel):
            super().start_from_towers(network, towers, temperature)
        else:
            models.start_from_towers(network, dual_similarity(*towers).scale)
            hold_temperature(network.logit_scale, temperature)

    def zero_shot_streams(self, split: PreparedSplit) -> tuple[str, ...]:
        return "context", "text"

    def tuner(
        self,
        image: ImageEncoder,
        text: TextEncoder,
        train: PreparedSplit,
        val: PreparedSplit,
        encoders: EncoderConfig,
        config: FinetuneConfig,
    ) -> CaptionTuner:
        paired = encoders.image == encoders.text
        similarity = dual_similarity(encoders.image, encoders.text) if paired else None
        return CaptionTuner(image, text, train, val, similarity)

    def evaluate(
        self,
        trained: TrainedModel,
        split: PreparedSplit,
        features: Features,
        config: EvaluationConfig,
        folder: Path,
    ) -> EvaluationRecord:
        data = RetrievalData.load(features, split, stored=True)
        images, texts = embedded_images(trained, data), embedded_texts(trained, data)
        save_embedding(folder, "image", images)
        save_embedding(folder, "text", texts)
        others: dict[str, np.ndarray] = {}
        model = trained.retrieval_model
        if isinstance(model, models.SeparateRetrievalModel):
            with torch.inference_mode():
                own = [model.own_image_embedding(block.to(trained.device)) for block in blocks(data.images)]
            others["own_image"] = torch.cat(own).cpu().numpy()
            save_embedding(folder, "own_image", others["own_image"])
        if trained.writes_captions:
            written = WrittenCaptions.by(trained, data, split, config)
            written.write(folder / CAPTIONS_FILE)
        result = self._measured(images, texts, split, config, folder)
        analyses = analyse_retrieval(images, texts, others, split, config)
        return result.model_copy(update={"analyses": analyses})

    def remeasure(
        self, trained: TrainedModel, measured: Measured, config: EvaluationConfig
    ) -> EvaluationRecord:
        images, texts = measured.embedding("image"), measured.embedding("text")
        return self._measured(images, texts, measured.split, config, measured.evaluation_folder)

    @staticmethod
    def _measured(
        images: np.ndarray, texts: np.ndarray, split: PreparedSplit, config: EvaluationConfig, folder: Path
    ) -> EvaluationRecord:
        """Of embeddings, and of the captions that are in the evaluation's folder, if there are any."""
        record = evaluate_retrieval(images, texts, split.text_sample, config, split.clusters)
        written = WrittenCaptions.of(folder)
        if written is None:
            return record
        return record.model_copy(update={"metrics": record.metrics | written.intervals(split, config)})

    def gallery(self, trained: TrainedModel, split: PreparedSplit, features: Features) -> Gallery:
        data = RetrievalData.load(features, split, stored=True)
        texts, images = embedded_texts(trained, data), embedded_images(trained, data)
        return Gallery(
            torch.from_numpy(texts).to(trained.device), torch.from_numpy(images).to(trained.device)
        )

    def victim(self, attacked: AttackedSplit, config: SearchConfig) -> tuple[Victim, Criterion, Reading]:
        if config.stream == "body":
            raise ConfigError("a captioned photo has no body stream; attack the context, or the photo")
        trained, split, gallery = attacked.trained, attacked.split, attacked.gallery
        assert gallery is not None
        victim = attacked.victim(config.stream, lambda seen, _: _similarities(trained, gallery, seen))
        criterion = match_criterion(config, split, attacked.rows, gallery)
        return victim, criterion, match_reading(config, split, attacked.rows, gallery)

    def not_certified(self, config: SearchConfig, labels: Sequence[str]) -> str:
        if config.match_criterion != "image-to-text" or config.top != 1:
            return (
                "ablation certifies whose text is first for a photo, recall at 1; give --attack.match-criterion image-to-text "
                "and --attack.top 1"
            )
        if config.stream != "context":
            return f"of a captioned photo its context is certified, not its {config.stream}; leave out --attack.stream"
        return ""

    def decisions(self, samples: Samples, config: SearchConfig) -> Decisions:
        """Whose text is first for the photo; right if it is the photo's own."""
        trained, gallery, split = samples.trained, samples.gallery, samples.split
        assert gallery is not None
        owner = torch.tensor(split.text_sample, device=trained.device)
        return Decisions(
            lambda seen, _: owner[_similarities(trained, gallery, seen).argmax(dim=1)],
            lambda said: said == samples.rows,
            split.ids.__getitem__,
        )

    def figures_under_attack(self, split: PreparedSplit, config: SearchConfig) -> Figures:
        towards = config.match_criterion
        recalls = robust_recalls(
            towards in ("image-to-text", "both"), text_to_image=towards in ("text-to-image", "both")
        )
        return lambda samples: [*recalls, ACCURACY]

    def photo_scores(self, photo: AttackedPhoto, config: SearchConfig) -> PhotoScores:
        if config.match_criterion != "image-to-text" or config.stream == "body":
            raise ConfigError(
                "one photo is attacked for its own text only: match-criterion image-to-text, stream context or photo"
            )
        if not photo.text:
            raise ConfigError("a retrieval model matches texts; give --text, the caption that fits the photo")
        if photo.boxed:
            raise ConfigError("a retrieval model reads the whole photo; leave out --box")
        split, features = photo.captions()
        trained = photo.trained
        texts = torch.cat([photo.streams["text"], torch.from_numpy(features.load(split.split, "text"))])
        gallery = torch.from_numpy(trained.embed_texts(texts)).to(trained.device)
        return PhotoScores(
            lambda seen: trained.retrieval_model.embed_image(seen["context"]) @ gallery.T,
            [photo.text, *split.texts],
            lambda _: RankDrop([np.zeros(1, int)], config.top),
            lambda scores, _: [float((scores[1:] >= scores[0]).sum())],
        )

    def inspected(self, trained: TrainedModel, data: RetrievalData, target: str, poisons: int) -> Inspected:
        texts = torch.from_numpy(embedded_texts(trained, data))
        labels = np.zeros(len(data), np.int64)
        labels[data.text_image.numpy()[[target in words(caption) for caption in data.captions]]] = 1
        own = mean_by_sample(texts, data.text_image, len(data)).numpy()
        return Inspected(embedded_images(trained, data), labels, own, captioned=True, poisons=poisons)

    def criterion(self, config: SearchConfig, labels: Sequence[str]) -> str:
        return config.match_criterion

    def before_and_after(
        self, config: SearchConfig, outcome: Mapping[str, Any], names: Sequence[str]
    ) -> tuple[str, str]:
        before, after = super().before_and_after(config, outcome, names)
        ranks = outcome["clean_reading"], outcome["final_reading"]
        if not len(ranks[0]) or config.match_criterion in ("caption-rises", "image-rises"):
            return before, after  # ranks of the truth say nothing of a target
        return (
            own_found(config.match_criterion, ranks[0], before),
            own_found(config.match_criterion, ranks[1], after),
        )

    def columns(self, spec: ModelSpec, split: PreparedSplit) -> Sequence[str]:
        return [
            text if len(text) <= _CAPTION_LENGTH else text[: _CAPTION_LENGTH - 1] + "…"
            for text in split.texts
        ]

    def spaces(self, measured: Measured, config: ReportConfig) -> Iterator[EmbeddingSpace]:
        split = measured.split
        chosen = chosen_rows(len(split), config)
        first_text = {int(image): text for text, image in reversed(list(enumerate(split.text_sample)))}
        chosen = np.array([row for row in chosen if int(row) in first_text], dtype=np.int64)
        texts = measured.embedding("text")[[first_text[int(row)] for row in chosen]]
        images = measured.embedding("image")[chosen]
        label = (
            "text space, image mapped into it"
            if measured.spec.family == "separate"
            else "shared: image + text"
        )
        groups = ["image"] * len(images) + ["text"] * len(texts)
        pairs = [(row, len(images) + row) for row in range(len(images))]
        yield shown_space(label, np.concatenate([images, texts]), groups, config, pairs)
        if "own_image" in measured.spaces:
            yield shown_space(
                "image, its own space",
                measured.embedding("own_image")[chosen],
                ["image"] * len(chosen),
                config,
            )

    def similarities(self, measured: Measured, config: ReportConfig) -> Iterator[SimilarityMatrix]:
        described, first_text = np.unique(measured.split.text_sample, return_index=True)
        images, texts = measured.embedding("image")[described], measured.embedding("text")[first_text]
        rows = np.array(evenly(len(described), MOST_SIMILAR))
        if len(rows) > 1:
            yield shown_similarity(
                ("image", images), ("first text", texts), rows, "in the order of the split, evenly spaced"
            )

    def captions(self, measured: Sequence[Measured], config: ReportConfig) -> Captions | None:
        found = [(one, WrittenCaptions.of(one.evaluation_folder)) for one in measured]
        writers = [(one, written) for one, written in found if written is not None]
        # Only what was written for the same photos stands side by side.
        writers = [
            (one, written)
            for one, written in writers
            if one.evaluation.split == writers[0][0].evaluation.split
        ]
        if not writers:
            return None
        return shown_captions(writers, config)

    def compare(self, first: Sequence[Measured], second: Sequence[Measured], rule: Rule) -> list[Comparison]:
        mine, theirs = first[0], second[0]
        if mine.evaluation.split != theirs.evaluation.split:
            return []
        split, families = mine.split, (mine.spec.family, theirs.spec.family)
        one, other = (
            [
                similarity_ranks(each.embedding("image"), each.embedding("text"), split.text_sample)
                for each in trainings
            ]
            for trainings in (first, second)
        )
        asked = Asked(self.text.question, self.text.samples)
        return compare_retrieval(families, (one, other), split.text_sample, rule, asked, split.clusters)

    def examples(self, measured: Measured, config: ReportConfig) -> list[RetrievalExample]:
        split, family = measured.split, measured.spec.family
        images, texts = measured.embedding("image"), measured.embedding("text")
        photos = split.images("context")
        generator = np.random.default_rng(config.seed)
        examples = []
        for text in generator.choice(len(texts), size=min(config.examples, len(texts)), replace=False):
            scores = images @ texts[text]
            best = np.argsort(-scores, kind="stable")[:_RESULTS]
            own = split.text_sample[text]
            results = [(np.asarray(photos[row]), float(scores[row]), bool(row == own)) for row in best]
            examples.append(RetrievalExample(family, query_text=split.texts[text], results=results))
        for image in generator.choice(len(images), size=min(config.examples, len(images)), replace=False):
            scores = texts @ images[image]
            best = np.argsort(-scores, kind="stable")[:_RESULTS]
            found = [
                (split.texts[row], float(scores[row]), bool(split.text_sample[row] == image)) for row in best
            ]
            examples.append(RetrievalExample(family, query_image=np.asarray(photos[image]), results=found))
        return examples


def _similarities(trained: TrainedModel, gallery: Gallery, seen: Mapping[str, Tensor]) -> Tensor:
    """``(B, T)`` of photos, by their features, to all captions."""
    return trained.retrieval_model.embed_image(seen["context"]) @ gallery.texts.T
