"""The words of a captioned dataset as indices, for models with their own word embeddings."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmer_core.datasets.sample import Sample
from mmer_core.escaping.tables import write_for_people

PADDING, UNKNOWN = "<pad>", "<unk>"
SPECIAL = {PADDING: 0, UNKNOWN: 1}
"""Index 0 pads a caption to the length of the longest, index 1 represents every word not in the vocabulary. There is
no token for the start or the end of a caption."""
JSON_FILE, CSV_FILE = "vocab.json", "vocab.csv"

_WORD = re.compile(r"\w+")


def words(caption: str) -> list[str]:
    """Runs of letters, digits and underscores of any script, in lower case."""
    return _WORD.findall(caption.lower())


def build_vocabulary(
    captions: Iterable[str], least: int, special: Mapping[str, int] = SPECIAL
) -> tuple[dict[str, int], Counter[str]]:
    """Index and count of every word that occurs at least ``least`` times in these captions.

    Words are numbered by descending count, ties alphabetically; the special tokens come first.
    """
    counts = Counter(word for caption in captions for word in words(caption))
    kept = sorted((word for word in counts if counts[word] >= least), key=lambda word: (-counts[word], word))
    return {**special, **{word: number for number, word in enumerate(kept, len(special))}}, counts


def encode(captions: Sequence[str], vocabulary: Mapping[str, int], length: int) -> npt.NDArray[np.int32]:
    """``(T, length)`` word indices, padded at the end; no caption may have more than ``length`` words."""
    array = np.full((len(captions), length), SPECIAL[PADDING], np.int32)
    for row, caption in enumerate(captions):
        indices = [vocabulary.get(word, SPECIAL[UNKNOWN]) for word in words(caption)]
        array[row, : len(indices)] = indices
    return array


def write_indices(path: Path, vocabulary: Mapping[str, int]) -> None:
    """Write a vocabulary as JSON, word to index, a line each."""
    path.write_text(json.dumps(vocabulary, ensure_ascii=False, indent=0) + "\n", "utf-8")


def write_vocabulary(folder: Path, kept: Mapping[str, Sequence[Sample]], least: int) -> None:
    """Write the vocabulary of train and the caption indices of every non-empty split.

    Rows of ``<split>_captions_arr.npy`` ``(T, L)`` correspond to those of ``<split>_texts.csv``; ``L`` is the number of
    words in the longest caption of all splits.
    """
    captions = {
        split: [text.text for sample in samples for text in sample.texts] for split, samples in kept.items()
    }
    vocabulary, counts = build_vocabulary(captions.get("train", ()), least)
    length = max((len(words(caption)) for texts in captions.values() for caption in texts), default=0)
    for split, texts in captions.items():
        if texts:
            array = encode(texts, vocabulary, length)
            np.save(folder / f"{split}_captions_arr.npy", array, allow_pickle=False)
    write_indices(folder / JSON_FILE, vocabulary)
    rows = ((index, word, counts[word]) for word, index in vocabulary.items())
    write_for_people(folder / CSV_FILE, ("Index", "Word", "Count"), rows)
