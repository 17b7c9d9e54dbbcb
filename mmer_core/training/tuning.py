"""Tuning of encoders: the objectives of training, with gradients that reach into the towers.

The heads here only carry the gradient. They are thrown away; what is kept are the towers, whose features a
model is then trained on like those of any other encoder.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Protocol

import numpy as np

from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.encoders.base import ImageEncoder, TextEncoder
from mmer_core.encoders.dual import Similarity
from mmer_core.errors import DatasetError, at
from mmer_core.evaluation.emotion_metrics import mean_average_precision
from mmer_core.evaluation.retrieval_metrics import retrieval_metrics, similarity_ranks
from mmer_core.heavy import Tensor, nn, no_grad, torch
from mmer_core.heavy import functional as F
from mmer_core.matrix import mean_by_sample
from mmer_core.objectives.base import Objective
from mmer_core.objectives.bce import BinaryCrossEntropy
from mmer_core.objectives.infonce import InfoNCE
from mmer_core.training.learner import Learner, Losses, temperature_scale
from mmer_core.training.towers import Tower
from mmer_core.transfer import to_device

_WIDTH = 256  # of the space in which towers that are no pair are compared


def _tuned(encoders: list[ImageEncoder | TextEncoder], heads: nn.Module) -> nn.Module:
    """What the loop saves, restores and selects: tuned parameters and heads, but no frozen weight."""
    parameters = [p for encoder in encoders for p in encoder.module.parameters() if p.requires_grad]
    return nn.ModuleDict({"heads": heads, "towers": nn.ParameterList(parameters)})


class Tuner(Learner, Protocol):
    """A learner that adapts encoders."""

    def similarity(self) -> tuple[float, float] | None:
        """Logarithm of the learned scale, and the bias, by which a dual encoder's towers are compared."""
        ...


class CaptionTuner:
    """InfoNCE between the towers; a dual encoder's are compared as they are, others through a linear head each."""

    selection = "mean_recall"

    def __init__(
        self,
        image: ImageEncoder,
        text: TextEncoder,
        train: PreparedSplit,
        val: PreparedSplit,
        similarity: Similarity | None,
    ) -> None:
        self._named = train.named
        self._bias = similarity.bias if similarity else None
        scale = torch.tensor(similarity.scale if similarity else 1 / 0.07).log()
        heads = {"image": _space(image.width, similarity), "text": _space(text.width, similarity)}
        self._heads = nn.ModuleDict(heads).to(image.device)
        self.logit_scale = nn.Parameter(scale.to(image.device))
        self._heads.register_parameter("logit_scale", self.logit_scale)
        self.state: nn.Module = _tuned([image, text], self._heads)
        self._train = Tower(image, train.images("context")), Tower(text, train.texts)
        self._val = Tower(image, val.images("context")), Tower(text, val.texts)
        self._val_owner = val.text_sample
        self._objective = InfoNCE()
        own: dict[int, list[int]] = defaultdict(list)
        for place, sample in enumerate(train.text_sample.tolist()):
            own[sample].append(place)
        self._images = torch.tensor(sorted(own))
        self._texts = [torch.tensor(own[sample]) for sample in sorted(own)]

    def similarity(self) -> tuple[float, float] | None:
        return None if self._bias is None else (self.logit_scale.item(), self._bias)

    def __len__(self) -> int:
        return len(self._images)

    def losses(self, rows: Tensor) -> Losses:
        images = self._images[rows]
        texts = torch.stack(
            [own[torch.randint(len(own), ())] for own in (self._texts[r] for r in rows.tolist())]
        )
        with at(lambda: self._named(images.numpy())):
            x, y = self._embed(self._train[0](images), self._train[1](texts))
        scale = temperature_scale(self.logit_scale)
        return {"contrastive": self._objective(x, y, to_device(images, x.device), scale)}

    @no_grad()
    def validate(self) -> dict[str, float]:
        x, y = self._embed(self._val[0].all(), self._val[1].all())
        return retrieval_metrics(similarity_ranks(x, y, self._val_owner))

    def settle(self, epochs: int) -> None:
        """It starts from nothing worth keeping."""

    def _embed(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self._heads["image"](images), self._heads["text"](texts)
        return F.normalize(x, dim=-1), F.normalize(y, dim=-1)


class EmotionTuner:
    """An objective of the categories, binary cross-entropy unless another is given, read by a linear head a stream and averaged over the streams.

    Raises:
        DatasetError: ``text`` is given, and not every sample has a text.
    """

    selection = "map"

    def __init__(
        self,
        image: ImageEncoder,
        text: TextEncoder | None,
        train: PreparedSplit,
        val: PreparedSplit,
        objective: Objective | None = None,
    ) -> None:
        self._named = train.named
        self._splits = {"train": _Streams(image, text, train), "val": _Streams(image, text, val)}
        widths = dict.fromkeys(train.streams, image.width) | ({"text": text.width} if text else {})
        prevalence = torch.from_numpy(train.labels).mean(dim=0).clamp(1e-3, 1 - 1e-3)
        self._heads = nn.ModuleDict(
            {name: _head(width, len(prevalence), torch.logit(prevalence)) for name, width in widths.items()}
        ).to(image.device)
        self.state: nn.Module = _tuned([image, *([text] if text else [])], self._heads)
        self._labels = torch.from_numpy(train.labels).to(image.device)
        self._val_labels = val.labels
        self._objective = objective or BinaryCrossEntropy()

    def similarity(self) -> None:
        """None: the towers are not compared."""

    def __len__(self) -> int:
        return len(self._labels)

    def losses(self, rows: Tensor) -> Losses:
        with at(lambda: self._named(rows.numpy())):
            logits = self._logits(self._splits["train"](rows))
        return {"categories": self._objective(logits, self._labels[to_device(rows, self._labels.device)])}

    @no_grad()
    def validate(self) -> dict[str, float]:
        logits = self._logits(self._splits["val"].all()).float().cpu().numpy()
        return {"map": 100 * float(mean_average_precision(logits, self._val_labels))}

    def settle(self, epochs: int) -> None:
        """It starts from nothing worth keeping."""

    def _logits(self, features: dict[str, Tensor]) -> Tensor:
        return torch.stack([self._heads[name](x) for name, x in features.items()]).mean(dim=0)


class _Streams:
    """The features of a split's streams; of several texts of a sample one at random, and in ``all`` their mean."""

    def __init__(self, image: ImageEncoder, text: TextEncoder | None, split: PreparedSplit) -> None:
        if split.streams and split.without_image:
            raise DatasetError(
                f"{split.without_image} of the {len(split)} samples in {split.split} have no image to tune encoders on; leave them "
                "out of the dataset"
            )
        self._images = {name: Tower(image, split.images(name)) for name in split.streams}
        self._text = None
        if text is not None:
            self._text, self._owner = Tower(text, split.texts), torch.tensor(split.text_sample)
            counts = np.bincount(split.text_sample, minlength=len(split))
            if not counts.all():
                raise DatasetError(
                    f"{(counts == 0).sum()} of the {len(split)} samples in {split.split} have no text to tune a text "
                    "encoder on; give them texts, or use finetune.towers image"
                )
            order = torch.argsort(self._owner, stable=True)
            self._of_sample = torch.split(order, counts.tolist())

    def __call__(self, rows: Tensor) -> dict[str, Tensor]:
        features = {name: tower(rows) for name, tower in self._images.items()}
        if self._text is not None:
            own = (self._of_sample[row] for row in rows.tolist())
            features["text"] = self._text(torch.stack([one[torch.randint(len(one), ())] for one in own]))
        return features

    def all(self) -> dict[str, Tensor]:
        features = {name: tower.all() for name, tower in self._images.items()}
        if self._text is not None:
            texts = self._text.all()
            mean = mean_by_sample(texts.cpu(), self._owner, len(self._of_sample))
            features["text"] = to_device(mean, texts.device)
        return features


def _space(width: int, similarity: Similarity | None) -> nn.Module:
    if similarity is not None:
        return nn.Identity()
    return nn.Sequential(nn.LayerNorm(width, elementwise_affine=False), nn.Linear(width, _WIDTH))


def _head(width: int, categories: int, bias: Tensor) -> nn.Module:
    linear = nn.Linear(width, categories)
    with torch.no_grad():
        linear.bias.copy_(bias)
    return nn.Sequential(nn.LayerNorm(width, elementwise_affine=False), linear)
