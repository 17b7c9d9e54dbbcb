"""What the loop trains: a model with its objectives, its batches, and the metric that selects it."""

from collections import defaultdict
from typing import Protocol

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer
from torch import Tensor, nn
from torch.nn import functional as F

from mmer_core.config import TrainingConfig
from mmer_core.errors import DatasetError
from mmer_core.evaluation.emotion_metrics import mean_average_precision, vad_mean_absolute_error
from mmer_core.evaluation.retrieval_metrics import retrieval_metrics, similarity_ranks
from mmer_core.models.emotion import EmotionModel, JointEmotionModel
from mmer_core.models.objectives import category_objective, continuous_objective, contrastive_objective
from mmer_core.models.retrieval import RetrievalModel, SeparateRetrievalModel
from mmer_core.training.data import EmotionData, RetrievalData

Losses = dict[str, Tensor]


class Learner(Protocol):
    """The loop's view of what it trains; everything learnable and buffered is in ``state``."""

    @property
    def state(self) -> nn.Module:
        """Everything learnable or buffered: the model and its objectives."""
        ...

    @property
    def selection(self) -> str:
        """Name of the validation metric that selects the model; higher is better."""
        ...

    def __len__(self) -> int: ...

    def losses(self, rows: Tensor) -> Losses:
        """Named losses of the training samples ``rows`` (B,); their sum is minimised."""
        ...

    def validate(self) -> dict[str, float]:
        """Metrics on the validation split."""
        ...


class EmotionLearner:
    """Trains either emotion model with category, continuous and (joint only) alignment objectives."""

    selection = "map"
    state: nn.ModuleDict

    def __init__(
        self, model: EmotionModel, train: EmotionData, val: EmotionData, config: TrainingConfig
    ) -> None:
        model.fit_statistics(train.streams, train.labels, train.ratings)
        parts: dict[str, nn.Module] = {
            "model": model,
            "categories": category_objective(config.categories),
        }
        if train.ratings.shape[1]:
            parts["continuous"] = continuous_objective(config.continuous)
        self._aligned = isinstance(model, JointEmotionModel) and "text" in train.streams
        if self._aligned:
            # People of one photo share its context, so its text is no negative for any of them.
            self._photo = torch.unique(train.streams["context"], dim=0, return_inverse=True)[1]
            parts["contrastive"] = contrastive_objective(config.contrastive)
        self.state = nn.ModuleDict(parts)
        self.model, self.train, self.val, self.config = model, train, val, config

    def __len__(self) -> int:
        return len(self.train)

    def losses(self, rows: Tensor) -> Losses:
        output = self.model({name: x[rows] for name, x in self.train.streams.items()})
        labels, ratings = self.train.labels[rows], self.train.ratings[rows]
        if isinstance(self.model, JointEmotionModel):
            logits, predicted = [output.logits], [output.ratings]
        else:
            # Each stream learns alone: the late fusion of a baseline is a mean, not a training signal.
            logits, predicted = list(output.stream_logits.values()), list(output.stream_ratings.values())
        losses = {
            "categories": _mean([self.state["categories"](one, labels) for one in logits]),
        }
        if "continuous" in self.state:
            rated = _mean([self.state["continuous"](one, ratings) for one in predicted])
            losses["continuous"] = self.config.continuous_weight * rated
        if self._aligned and isinstance(self.model, JointEmotionModel):
            image, text = self.model.image_and_text(output)
            aligned = self.state["contrastive"](
                image, text, self._photo[rows], _scale(self.model.logit_scale)
            )
            losses["contrastive"] = self.config.contrastive_weight * aligned
        return losses

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        output = self.model(self.val.streams)
        scores, labels = output.logits.float().cpu().numpy(), self.val.labels.cpu().numpy()
        metrics = {"map": 100 * float(mean_average_precision(scores, labels))}
        if "continuous" in self.state:
            truth = self.val.ratings.cpu().numpy()
            error = vad_mean_absolute_error(output.ratings.float().cpu().numpy(), truth)
            metrics["vad_mae"] = float(np.mean(error))
        return metrics


class RetrievalLearner:
    """Trains either retrieval model; an epoch shows every photo once, with one of its captions."""

    selection = "mean_recall"
    state: nn.ModuleDict

    def __init__(
        self, model: RetrievalModel, train: RetrievalData, val: RetrievalData, config: TrainingConfig
    ) -> None:
        model.fit_statistics(train.images, train.texts)
        self.state = nn.ModuleDict({"model": model, "contrastive": contrastive_objective(config.contrastive)})
        self.model, self.train, self.val = model, train, val
        texts: dict[int, list[int]] = defaultdict(list)
        for text, image in enumerate(train.text_image.tolist()):
            texts[image].append(text)
        self._images = torch.tensor(sorted(texts))
        self._texts = [torch.tensor(texts[image]) for image in self._images.tolist()]
        if isinstance(model, SeparateRetrievalModel):
            self._words = word_targets(train.captions, model.words)

    def __len__(self) -> int:
        return len(self._images)

    def losses(self, rows: Tensor) -> Losses:
        device = self.train.images.device
        images = self._images[rows.cpu()]
        texts = torch.stack(
            [own[torch.randint(len(own), ())] for own in (self._texts[r] for r in rows.tolist())]
        )
        x, y = self.train.images[images.to(device)], self.train.texts[texts.to(device)]
        losses: Losses = {}
        if isinstance(self.model, SeparateRetrievalModel):
            words = self._words[texts].to(device, torch.float32)
            image_words = self.model.image_words(self.model.own_image_embedding(x))
            text_words = self.model.text_words(self.model.own_text_embedding(y))
            losses["image_words"] = 100 * F.binary_cross_entropy_with_logits(image_words, words)
            losses["text_words"] = 100 * F.binary_cross_entropy_with_logits(text_words, words)
        losses["contrastive"] = self.state["contrastive"](
            self.model.embed_image(x),
            self.model.embed_text(y),
            images.to(device),
            _scale(self.model.logit_scale),
        )
        return losses

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        ranks = similarity_ranks(
            self.model.embed_image(self.val.images).float().cpu().numpy(),
            self.model.embed_text(self.val.texts).float().cpu().numpy(),
            self.val.text_image.cpu().numpy(),
        )
        return retrieval_metrics(ranks)


def vocabulary(captions: list[str], size: int = 1000, least: int = 5) -> tuple[str, ...]:
    """The most frequent content words of the training captions, alphabetically.

    Raises:
        DatasetError: No word stands in at least ``least`` captions.
    """
    vectorizer = CountVectorizer(stop_words="english", min_df=least, max_features=size, binary=True)
    try:
        vectorizer.fit(captions)
    except ValueError:
        raise DatasetError(
            f"no word stands in {least} of the {len(captions)} training captions; give more captions"
        ) from None
    return tuple(str(word) for word in vectorizer.get_feature_names_out())


def word_targets(captions: list[str], words: tuple[str, ...]) -> Tensor:
    """``(T, W)`` bool: which words of the vocabulary each caption holds."""
    counts = CountVectorizer(vocabulary=list(words), binary=True).transform(captions)
    return torch.from_numpy(counts.astype(bool).toarray())


def _scale(logit_scale: Tensor) -> Tensor:
    """The inverse temperature, at most 100 as in CLIP (Radford et al. 2021), so that it cannot run away."""
    return logit_scale.exp().clamp(max=100.0)


def _mean(losses: list[Tensor]) -> Tensor:
    return torch.stack(losses).mean()
