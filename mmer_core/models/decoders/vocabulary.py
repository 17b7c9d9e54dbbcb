"""The words that a decoder knows, as numbers."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from mmer_core.errors import DatasetError

PADDING, START, END, UNKNOWN = range(4)
SPECIAL = ("<padding>", "<start>", "<end>", "<unknown>")
"""What the first numbers mean; words follow."""

LEAST = 2
"""In how many places of the training captions a word must stand to be known."""
LONGEST = 40
"""Words of a caption that are learned; what comes after them is cut off."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def caption_words(text: str) -> list[str]:
    """The words of a caption in small letters, without punctuation; an apostrophe within a word stays."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """The known words; number ``len(SPECIAL) + i`` is ``words[i]``."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, captions: Sequence[str], least: int = LEAST) -> Self:
        """The words of training captions, the most frequent first, those of one count alphabetically.

        Raises:
            DatasetError: None of them occurs ``least`` times.
        """
        counts = Counter(word for caption in captions for word in caption_words(caption))
        known = sorted((-count, word) for word, count in counts.items() if count >= least)
        if not known:
            raise DatasetError(
                f"no word occurs {least} times in the {len(captions)} training captions, so a decoder has nothing to write with; "
                "give more captions, or leave training.decoder out"
            )
        return cls(tuple(word for _, word in known))

    def __len__(self) -> int:
        """All numbers, those that are no words included."""
        return len(SPECIAL) + len(self.words)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=len(SPECIAL))}

    def encode(self, captions: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """``T`` captions as numbers.

        Returns:
            ``(T, L)`` the numbers of their words and `END`, filled up with `PADDING`; a word that is not known is `UNKNOWN`, and
            a caption of more than `LONGEST` words is cut and has no `END`. ``(T,)`` how many numbers of each are no padding.
        """
        rows = []
        for caption in captions:
            numbers = [self._numbers.get(word, UNKNOWN) for word in caption_words(caption)]
            rows.append([*numbers, END] if len(numbers) <= LONGEST else numbers[:LONGEST])
        lengths = np.array([len(row) for row in rows], np.int64)
        table = np.full((len(rows), lengths.max(initial=1)), PADDING, np.int32)
        table[np.arange(table.shape[1]) < lengths[:, None]] = [number for row in rows for number in row]
        return table, lengths

    def decode(self, numbers: Sequence[int]) -> str:
        """The words up to the first number that is none."""
        words = []
        for number in numbers:
            if number < len(SPECIAL):
                break
            words.append(self.words[number - len(SPECIAL)])
        return " ".join(words)
