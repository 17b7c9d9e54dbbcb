"""A training split with poisons in it, or without the samples that a detector flagged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from mmer_core.heavy import Tensor, torch
from mmer_core.matrix import Matrix, joined, replaced, taken
from mmer_core.poisoning.poison_set import PoisonSet
from mmer_core.training.data import EmotionData, RetrievalData

POISONED_STREAM = "context"
"""The image that poisons change; body crops and texts of people stay as they are."""


def poison_people(data: EmotionData, poison: PoisonSet) -> EmotionData:
    """A split of people, ``N`` or, where poisons are added, ``N + P``."""
    plan, count = poison.plan, len(data)
    mixed = data.selected(torch.from_numpy(plan.sources(count)))
    if poison.image_features is not None:
        seen = replaced(
            mixed.streams[poison.stream], _tensor(plan.places(count)), _tensor(poison.image_features)
        )
        mixed = replace(mixed, streams={**mixed.streams, poison.stream: seen})
    labels = plan.poisoned_labels(data.labels.numpy())
    return replace(mixed, labels=torch.from_numpy(labels).to(data.labels.dtype))


def poison_pairs(data: RetrievalData, poison: PoisonSet) -> RetrievalData:
    """A split of captioned images, ``N`` or, where poisons are added, ``N + P``; their texts come last."""
    plan, count = poison.plan, len(data)
    places = _tensor(plan.places(count))
    images = taken(data.images, _tensor(plan.sources(count)))
    if poison.image_features is not None:
        images = replaced(images, places, _tensor(poison.image_features))
    if plan.texts is None and plan.mode == "replace":
        return replace(data, images=images)
    kept = torch.from_numpy(~np.isin(data.text_image, places))
    old = RetrievalData(images, *_texts_of(data, kept))
    new = _own_texts(data, poison) if plan.texts is None else _given_texts(poison)
    features, lengths, captions = new
    owner = torch.repeat_interleave(places, torch.tensor(lengths, dtype=torch.int64))
    return RetrievalData(
        images,
        joined(old.texts, features),
        torch.cat([old.text_image, owner]),
        [*old.captions, *captions],
    )


def keep_people(data: EmotionData, keep: np.ndarray) -> EmotionData:
    """Only the samples of a mask ``(N,)``."""
    return data.selected(torch.from_numpy(np.flatnonzero(keep)))


def keep_pairs(data: RetrievalData, keep: np.ndarray) -> RetrievalData:
    """Only the images of a mask ``(N,)``, with their texts."""
    mask = torch.from_numpy(keep)
    texts, owner, captions = _texts_of(data, mask[data.text_image])
    return RetrievalData(
        taken(data.images, mask.nonzero()[:, 0]), texts, (mask.cumsum(0) - 1)[owner], captions
    )


def _texts_of(data: RetrievalData, mask: Tensor) -> tuple[Matrix, Tensor, list[str]]:
    captions = [caption for caption, kept in zip(data.captions, mask.tolist(), strict=True) if kept]
    return taken(data.texts, mask.nonzero()[:, 0]), data.text_image[mask], captions


def _given_texts(poison: PoisonSet) -> tuple[Tensor, list[int], list[str]]:
    """Features, numbers and words of the texts that the plan gives its poisons."""
    assert poison.plan.texts is not None
    assert poison.text_features is not None
    own = poison.plan.texts
    return _tensor(poison.text_features), [len(texts) for texts in own], list(chain.from_iterable(own))


def _own_texts(data: RetrievalData, poison: PoisonSet) -> tuple[Tensor, list[int], list[str]]:
    """The same for added poisons that keep the texts of the images they are made of."""
    rows: list[Sequence[int]] = [
        torch.nonzero(data.text_image == row)[:, 0].tolist() for row in poison.plan.rows.tolist()
    ]
    flat = list(chain.from_iterable(rows))
    return (
        data.texts[torch.tensor(flat, dtype=torch.int64)],
        [len(own) for own in rows],
        [data.captions[row] for row in flat],
    )


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values)
