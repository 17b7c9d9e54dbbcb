"""The arrays of the old Flickr8k notebooks: one row per caption, in a folder of their own beside the prepared arrays.

Files of the folder, per split with ``T`` captions, in the order of ``<split>_texts.csv``:

* ``<split>_context_arr.npy`` ``(T, 224, 224, 3)`` uint8 RGB, the whole photo, once for each of its captions
* ``<split>_body_arr.npy`` ``(T, 128, 128, 3)`` uint8 RGB, the whole photo again, because nobody has a box
* ``<split>_cat_arr.npy`` ``(T, 50)`` int64 word indices: start, the words, end, padding
* ``<split>.csv`` with the columns ``COLUMNS``: ``Image_Size`` is ``[height, width]`` in pixels, ``Caption_Index`` numbers the
  captions of a photo that were kept from 0, ``Caption_Length`` counts the indices before the padding

and once ``vocab.json``, word to index: padding, start, end and unknown first, then the words of the training captions that
occur at least twice, by descending count, ties alphabetically.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmer_core.datasets.prepared import DatasetSummary, PreparedSplit
from mmer_core.datasets.rows import RowWriter
from mmer_core.datasets.vocabulary import JSON_FILE, PADDING, UNKNOWN, build_vocabulary, words, write_indices
from mmer_core.tabular import write_table

FOLDER = "notebook"
COLUMNS = ("Index", "Filename", "Image_Size", "Caption", "Caption_Index", "Caption_Length")
LENGTH = 50
"""Indices of a caption; of a longer one the first words are kept, and the end token."""
LEAST = 2
START, END = "<start>", "<end>"
SPECIAL = {PADDING: 0, START: 1, END: 2, UNKNOWN: 3}
STREAMS = ("context", "body")


def write_layout(prepared: Path, card: DatasetSummary) -> None:
    """Write the folder into a prepared one that is complete but for its ``dataset.json``, and has both streams.

    The prepared arrays keep each photo once, as every job reads them; those of the stream ``body`` are removed, because a
    captioned dataset has none. One picture at a time is in memory.
    """
    folder = prepared / FOLDER
    folder.mkdir(exist_ok=True)
    splits = {name: PreparedSplit(prepared, name, card) for name in card.splits}
    captions = splits["train"].texts if "train" in splits else []
    vocabulary, _ = build_vocabulary(captions, LEAST, SPECIAL)
    for name, split in splits.items():
        for stream in STREAMS:
            _write_pictures(folder / f"{name}_{stream}_arr.npy", split, stream)
        indices = np.array([indices_of(text, vocabulary) for text in split.texts], np.int64)
        np.save(folder / f"{name}_cat_arr.npy", indices, allow_pickle=False)
        write_table(folder / f"{name}.csv", COLUMNS, _rows(split, indices))
        for left in prepared.glob(f"{name}_body_*"):
            left.unlink()
    write_indices(folder / JSON_FILE, vocabulary)


def indices_of(caption: str, vocabulary: Mapping[str, int]) -> list[int]:
    """``LENGTH`` indices of a caption."""
    inner = [vocabulary.get(word, SPECIAL[UNKNOWN]) for word in words(caption)][: LENGTH - 2]
    found = [SPECIAL[START], *inner, SPECIAL[END]]
    return found + [SPECIAL[PADDING]] * (LENGTH - len(found))


def _write_pictures(path: Path, split: PreparedSplit, stream: str) -> None:
    pictures = split.images(stream)
    writer = RowWriter(path, len(split.texts), pictures.shape[1])
    writer.open()
    try:
        shown, picture = -1, None
        for row, sample in enumerate(split.text_sample.tolist()):
            if sample != shown:
                shown, picture = sample, np.asarray(pictures[sample])
            assert picture is not None
            writer.write(row, picture)
        writer.finish(list(range(len(split.texts))))
    finally:
        writer.close()


def _rows(split: PreparedSplit, indices: npt.NDArray[np.int64]) -> list[Sequence[object]]:
    sizes, names = split.table["Image Size"].map(_height_first), split.table["Filename"]
    numbers: defaultdict[int, int] = defaultdict(int)
    rows: list[Sequence[object]] = []
    lengths = (indices != SPECIAL[PADDING]).sum(1).tolist()
    for row, (sample, text) in enumerate(zip(split.text_sample.tolist(), split.texts, strict=True)):
        rows.append((row, names[sample], sizes[sample], text, numbers[sample], lengths[row]))
        numbers[sample] += 1
    return rows


def _height_first(size: str) -> str:
    width, height = size.strip("[]").split(", ")
    return f"[{height}, {width}]"
