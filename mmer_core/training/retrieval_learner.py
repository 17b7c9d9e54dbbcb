"""Image-text matching models with their objectives, and the metric that selects them."""

from __future__ import annotations

import math

import numpy as np

from mmer_core import models
from mmer_core.config import TaskTraining
from mmer_core.config.training import Decoder
from mmer_core.errors import DatasetError
from mmer_core.evaluation.retrieval_metrics import retrieval_metrics, similarity_ranks
from mmer_core.heavy import Tensor, bags_of_words, inference_mode, nn, torch
from mmer_core.heavy import functional as F
from mmer_core.matrix import blocks
from mmer_core.models import decoders
from mmer_core.models.decoders import DecoderSpec, Vocabulary
from mmer_core.models.decoders.vocabulary import LONGEST, PADDING
from mmer_core.objectives import CONTRASTIVE_OBJECTIVES
from mmer_core.training.data import RetrievalData
from mmer_core.training.learner import DrawsAlone, Losses, hold_temperature, temperature_scale
from mmer_core.training.loop import initialisation
from mmer_core.transfer import to_device

_LENGTHS_WRITTEN = 0.95  # share of the training captions that are no longer than the longest that is written
_CAPTIONS_AT_ONCE = 1024


class RetrievalLearner(DrawsAlone):
    """Trains either retrieval model; an epoch shows every photo once, with some of its captions."""

    selection = "mean_recall"
    state: nn.ModuleDict

    def __init__(
        self, model: models.RetrievalModel, train: RetrievalData, val: RetrievalData, config: TaskTraining
    ) -> None:
        model.fit_statistics(train.images, train.texts)
        hold_temperature(model.logit_scale, config.temperature)
        objective = CONTRASTIVE_OBJECTIVES.configured(config.contrastive, config)
        self._grouped = objective.grouped
        self.state = nn.ModuleDict({"model": model, "contrastive": objective})
        self.model, self.train, self.val, self.captions = model, train, val, config.captions
        self._images, counts = torch.unique(train.text_image.cpu(), return_counts=True)
        self._texts = torch.argsort(
            train.text_image.cpu(), stable=True
        )  # those of an image beside each other
        self._ends = counts.cumsum(0)
        if isinstance(model, models.SeparateRetrievalModel):
            columns = word_columns(train.captions, model.words)
            model.fit_words(word_shares(columns, len(model.words)))
            self._words = columns.to(train.images.device)
        self.decoder: decoders.CaptionDecoder | None = None
        if config.decoder:
            self._decode(config.decoder, config)

    def _decode(self, kind: Decoder, config: TaskTraining) -> None:
        """Give the model a decoder of the training captions' words."""
        words = Vocabulary.of(self.train.captions)
        self._train_words, self._train_lengths = self._encoded(words, self.train)
        self._val_words, self._val_lengths = self._encoded(words, self.val)
        # The end counts as a word here, so that nearly all captions end before they are cut.
        length = math.ceil(np.quantile(self._train_lengths.numpy(), _LENGTHS_WRITTEN))
        with initialisation(config.seed):
            self.decoder = decoders.build_decoder(
                DecoderSpec(
                    kind=kind,
                    embedding=self.model.width,
                    words=words.words,
                    length=min(length, LONGEST),
                    weight=config.caption_weight,
                )
            ).to(self.train.images.device)
        counts = torch.bincount(self._train_words.cpu().flatten(), minlength=len(words))
        counts[PADDING] = 0
        self.decoder.fit_words((counts + 1) / (counts + 1).sum())
        self.state["decoder"] = self.decoder

    def _encoded(self, words: Vocabulary, data: RetrievalData) -> tuple[Tensor, Tensor]:
        """The captions as numbers, on the device, and how many each has, on the host."""
        table, lengths = words.encode(data.captions)
        return torch.from_numpy(table).to(data.images.device), torch.from_numpy(lengths)

    def __len__(self) -> int:
        return len(self._images)

    def losses(self, rows: Tensor) -> Losses:
        device = self.train.images.device
        images = to_device(self._images[rows], device)
        ends = self._ends[rows].tolist()
        starts = torch.where(rows > 0, self._ends[rows - 1], 0).tolist()
        texts_of = (self._texts[start:end] for start, end in zip(starts, ends, strict=True))
        drawn = [own[torch.randperm(len(own), generator=self.generator)[: self.captions]] for own in texts_of]
        chosen = torch.cat(drawn)  # (P,)
        texts = to_device(chosen, device)
        of_images = torch.tensor([len(own) for own in drawn])
        owner = to_device(torch.repeat_interleave(of_images), device)  # (P,) in 0..B-1
        x, y = self.train.images[images], self.train.texts[texts]
        losses: Losses = {}
        own_image = None
        if isinstance(self.model, models.SeparateRetrievalModel):
            words = word_targets(self._words[texts], len(self.model.words))
            own_image = self.model.own_image_embedding(x)
            image_words = self.model.image_words(own_image)
            text_words = self.model.text_words(self.model.own_text_embedding(y))
            losses["image_words"] = 100 * F.binary_cross_entropy_with_logits(image_words[owner], words)
            losses["text_words"] = 100 * F.binary_cross_entropy_with_logits(text_words, words)
        image, text = self.model.to_align(x, y)
        losses["contrastive"] = self._contrast(image, text, owner, images)
        if self.decoder is not None:
            weight = self.decoder.spec.weight
            losses = {name: (1 - weight) * loss for name, loss in losses.items()}
            seen = self.model.scale * image if own_image is None else own_image
            words, places = _unpadded(self._train_words, self._train_lengths, chosen, texts)
            losses["captions"] = weight * self.decoder.loss(seen[owner], words, places)
        return losses

    def _contrast(self, image: Tensor, text: Tensor, owner: Tensor, image_id: Tensor) -> Tensor:
        """Mean over the heads of the objective on ``image (B, D)`` and ``text (P, D)``."""
        objective, scale = self.state["contrastive"], temperature_scale(self.model.logit_scale)
        heads = zip(self.model.by_head(image), self.model.by_head(text), strict=True)
        if self._grouped:
            each = [objective(images, texts, owner, scale) for images, texts in heads]
        else:  # pairs, so an image occurs once for each of its captions
            each = [objective(images[owner], texts, image_id[owner], scale) for images, texts in heads]
        return torch.stack(each).mean()

    @inference_mode()
    def validate(self) -> dict[str, float]:
        images = torch.cat([self.model.embed_image(block) for block in blocks(self.val.images)])
        texts = torch.cat([self.model.embed_text(block) for block in blocks(self.val.texts)])
        metrics = retrieval_metrics(similarity_ranks(images.float(), texts.float(), self.val.text_image))
        return metrics if self.decoder is None else metrics | {"caption_loss": self._caption_loss()}

    def _caption_loss(self) -> float:
        """Mean cross-entropy in nats of the words of the validation captions, ends included."""
        assert self.decoder is not None
        seen = torch.cat([self.model.own_image_embedding(block) for block in blocks(self.val.images)])
        sums = []
        for chosen in torch.arange(len(self._val_words)).split(_CAPTIONS_AT_ONCE):
            texts = to_device(chosen, seen.device)
            words, places = _unpadded(self._val_words, self._val_lengths, chosen, texts)
            loss = self.decoder.loss(seen[self.val.text_image[texts]], words, places)
            sums.append(len(places) * loss.float())
        return (torch.stack(sums).sum() / self._val_lengths.sum()).item()

    def settle(self, epochs: int) -> None:
        """It starts from nothing worth keeping."""


def _unpadded(words: Tensor, lengths: Tensor, chosen: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers ``(P, L)`` of some captions, no longer than the longest of them, and where these are no padding.

    Args:
        words: ``(T, ...)`` of all captions, on the device.
        lengths: ``(T,)``, on the host, which so needs not wait for the device to know the shapes.
        chosen: ``(P,)`` which captions, on the host.
        texts: The same, on the device.
    """
    own = lengths[chosen]
    longest = int(own.max())
    (places,) = (torch.arange(longest) < own[:, None]).flatten().nonzero(as_tuple=True)
    return words[texts, :longest], to_device(places, words.device)


def vocabulary(captions: list[str], size: int = 1000, least: int = 5) -> tuple[str, ...]:
    """The most frequent content words of the training captions, alphabetically.

    Raises:
        DatasetError: No word occurs in at least ``least`` captions.
    """
    vectorizer = bags_of_words.CountVectorizer(
        stop_words="english", min_df=least, max_features=size, binary=True
    )
    try:
        vectorizer.fit(captions)
    except ValueError:
        raise DatasetError(
            f"no word occurs in {least} of the {len(captions)} training captions; give more captions"
        ) from None
    return tuple(str(word) for word in vectorizer.get_feature_names_out())


def word_columns(captions: list[str], words: tuple[str, ...]) -> Tensor:
    """``(T, M)`` int16: which of the ``W`` words of the vocabulary each caption holds, filled up with ``W``; a table of all
    words would take far more memory."""
    counts = bags_of_words.CountVectorizer(vocabulary=list(words), binary=True).transform(captions)
    held = np.diff(counts.indptr)
    columns = np.full((len(captions), max(1, held.max(initial=0))), len(words), np.int16)
    columns[np.arange(columns.shape[1]) < held[:, None]] = counts.indices
    return torch.from_numpy(columns)


def word_shares(columns: Tensor, words: int) -> Tensor:
    """``(W,)`` the share of captions that hold each word, from their ``columns (T, M)``; as if one more caption held it and one
    more did not (Laplace's rule of succession), so that no share is 0 or 1."""
    holding = torch.bincount(columns.flatten().long(), minlength=words + 1)[:words]
    return (holding + 1) / (len(columns) + 2)


def word_targets(columns: Tensor, words: int) -> Tensor:
    """``(P, W)`` 1 for each word that a caption holds, from its ``columns (P, M)``."""
    empty = torch.zeros(len(columns), words + 1, device=columns.device)
    return empty.scatter_(1, columns.long(), 1.0)[:, :words]
