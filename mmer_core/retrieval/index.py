"""One index of the images and one of the texts of a dataset, with a side table that says what they are.

Folder: ``image.faiss``, ``text.faiss`` (ids are row numbers of the tables), ``images.parquet`` (``id``,
``caption``) and ``texts.parquet`` (``id`` of the image, ``caption``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import faiss
import numpy as np
import numpy.typing as npt
import pandas as pd

from mmer_core.errors import ConfigError

Target = Literal["image", "text"]


@dataclass(frozen=True)
class Hit:
    """One search result: cosine similarity, the id of the photo, and a caption of it."""

    score: float
    id: str
    caption: str


def build(
    folder: Path,
    factory: str,
    *,
    images: npt.NDArray[np.float32],
    image_ids: Sequence[str],
    texts: npt.NDArray[np.float32],
    captions: Sequence[str],
    text_image: npt.NDArray[np.int64],
) -> None:
    """Write an index folder.

    Args:
        factory: FAISS factory string; inner product on unit vectors is cosine similarity.
        images: ``(N, D)`` unit vectors. image_ids: their ``N`` ids.
        texts: ``(T, D)`` unit vectors. captions: their ``T`` texts. text_image: ``(T,)`` row of their image.

    Raises:
        ConfigError: FAISS does not understand the factory string, or has too few vectors to train it.
    """
    first_caption: dict[int, str] = {}
    for row, caption in zip(text_image.tolist(), captions, strict=True):
        first_caption.setdefault(row, caption)
    shown = [first_caption.get(row, "") for row in range(len(image_ids))]
    _table(image_ids, shown).to_parquet(folder / "images.parquet")
    _table([image_ids[row] for row in text_image], captions).to_parquet(folder / "texts.parquet")
    for name, vectors in (("image", images), ("text", texts)):
        faiss.write_index(_index(factory, vectors), str(folder / f"{name}.faiss"))


class RetrievalIndex:
    """An index folder, opened for search; both files are read into memory once."""

    def __init__(self, folder: Path) -> None:
        self._index = {name: faiss.read_index(str(folder / f"{name}.faiss")) for name in ("image", "text")}
        self._tables = {
            "image": pd.read_parquet(folder / "images.parquet"),
            "text": pd.read_parquet(folder / "texts.parquet"),
        }

    @property
    def width(self) -> int:
        """``D`` of the vectors."""
        return int(self._index["image"].d)

    def count(self, target: Target) -> int:
        """Vectors in one of the two indexes."""
        return int(self._index[target].ntotal)

    def search(self, queries: npt.NDArray[np.float32], target: Target, k: int) -> list[list[Hit]]:
        """The ``k`` nearest images or texts of each of ``(Q, D)`` unit vectors, best first.

        Raises:
            ConfigError: The queries have another width than the index, or ``k`` is below 1.
        """
        if queries.ndim != 2 or queries.shape[1] != self.width:
            raise ConfigError(
                f"queries have shape {queries.shape} but the index holds vectors of width {self.width}; "
                "embed them with the model that the index was built with"
            )
        if k < 1:
            raise ConfigError(f"k is {k}; ask for at least one result")
        k = min(k, self.count(target))
        scores, rows = self._index[target].search(np.ascontiguousarray(queries, dtype=np.float32), k)
        table = self._tables[target]
        return [
            [
                Hit(float(score), str(table["id"].iat[row]), str(table["caption"].iat[row]))
                for score, row in zip(*found, strict=True)
                if row >= 0  # an approximate index pads with -1 what it did not find
            ]
            for found in zip(scores, rows, strict=True)
        ]


def _index(factory: str, vectors: npt.NDArray[np.float32]) -> faiss.Index:
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConfigError(
            f"FAISS cannot build an index {factory!r} of {len(vectors)} vectors of width {vectors.shape[1]} "
            f"({reason}); 'Flat' always works"
        ) from None
    return index


def _table(ids: Sequence[str], captions: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"id": list(ids), "caption": list(captions)})
