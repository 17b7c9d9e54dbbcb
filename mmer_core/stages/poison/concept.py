"""What the poisons should make a model see: an emotion, or a word of captions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmer_core.config import PoisonConfig
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.errors import ConfigError
from mmer_core.heavy import bags_of_words
from mmer_core.poisoning.plans import words

RARE_WORD = 0.005
"""Largest share of the captions that hold a word chosen by default, so that chance seldom retrieves one."""

FEWEST_PEOPLE = 20
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Concept:
    """The target of an experiment.

    Attributes:
        name: Emotion or word.
        column: Of the emotion among the labels; None for a word.
    """

    name: str
    column: int | None

    def texts(self, split: PreparedSplit) -> Flags:
        """``(T,)``: the texts that hold the word."""
        return np.array([self.name in words(text) for text in split.texts], dtype=bool)

    def carriers(self, split: PreparedSplit) -> Flags:
        """``(N,)``: the samples that have the emotion, or a text with the word."""
        if self.column is not None:
            return split.labels[:, self.column] > 0
        found = np.zeros(len(split), dtype=bool)
        found[split.text_sample[self.texts(split)]] = True
        return found


def choose_concept(config: PoisonConfig, dataset: Prepared, split: str) -> Concept:
    """The target that is asked for, or the default.

    Raises:
        ConfigError: The dataset has no such emotion, or no caption of both splits holds the word.
    """
    labels = dataset.card.labels
    if labels:
        name = config.target or _rarest(dataset, split)
        if name not in labels:
            raise ConfigError(f"no label is called {name!r}; give one of {', '.join(labels)}")
        return Concept(name, labels.index(name))
    name = config.target.casefold() if config.target else _rare_word(dataset, split)
    concept = Concept(name, None)
    for place in ("train", split):
        if not concept.texts(dataset.split(place)).any():
            raise ConfigError(
                f"no {place} caption holds the word {name!r}; give one that train and {split} share"
            )
    return concept


def grouped_texts(split: PreparedSplit) -> list[tuple[str, ...]]:
    """The texts of each sample, in file order."""
    own: list[list[str]] = [[] for _ in range(len(split))]
    for text, sample in zip(split.texts, split.text_sample, strict=True):
        own[sample].append(text)
    return [tuple(texts) for texts in own]


def _rarest(dataset: Prepared, split: str) -> str:
    train = dataset.split("train").labels.sum(axis=0)
    shared = (train > 0) & (dataset.split(split).labels.sum(axis=0) > 0)
    if not shared.any():
        raise ConfigError(f"no label is seen in both train and {split}; give a larger dataset")
    enough = np.flatnonzero(shared & (train >= min(FEWEST_PEOPLE, train[shared].max())))
    return dataset.card.labels[enough[train[enough].argmin()]]


def _rare_word(dataset: Prepared, split: str) -> str:
    train = _holders(dataset.split("train").texts)
    there = _holders(dataset.split(split).texts)
    limit = RARE_WORD * len(dataset.split("train").texts)
    shared = [
        word
        for word in sorted(train)
        if there[word] and word.isalpha() and word not in bags_of_words.ENGLISH_STOP_WORDS
    ]
    if not shared:
        raise ConfigError(f"train and {split} captions share no word; name one as the target")
    rare = [word for word in shared if train[word] <= limit]
    return max(rare, key=train.__getitem__) if rare else min(shared, key=train.__getitem__)


def _holders(texts: Sequence[str]) -> Counter[str]:
    """How many texts hold each word."""
    return Counter(word for text in texts for word in words(text))
