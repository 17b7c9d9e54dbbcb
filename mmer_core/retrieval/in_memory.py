"""Building an index of in-memory vectors in one go."""

from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt

from mmer_core.retrieval.building import train
from mmer_core.retrieval.choice import Choice
from mmer_core.retrieval.index import Settings, write_settings
from mmer_core.retrieval.side_table import write_table


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
    """Write an index folder; `mmer_core.retrieval.RetrievalIndex` opens it.

    Args:
        factory: FAISS factory string; inner product on unit vectors is cosine similarity.
        images: ``(N, D)`` unit vectors. image_ids: their ``N`` ids.
        texts: ``(T, D)`` unit vectors. captions: their ``T`` texts. text_image: ``(T,)`` row of their image.

    Raises:
        ConfigError: FAISS does not support the factory string, or needs more vectors to train it.
    """
    first = first_captions(text_image, captions)
    shown = [first.get(row, "") for row in range(len(image_ids))]
    write_table(folder / "images.parquet", {"id": list(image_ids), "caption": shown})
    owners = [image_ids[row] for row in text_image]
    write_table(folder / "texts.parquet", {"id": owners, "caption": list(captions)})
    for name, vectors in (("image", images), ("text", texts)):
        index = train(Choice(factory), vectors, len(vectors))
        index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        faiss.write_index(index, str(folder / f"{name}.faiss"))
    write_settings(folder, {"image": Settings(), "text": Settings()})


def first_captions(text_image: npt.NDArray[np.int64], captions: Sequence[str]) -> dict[int, str]:
    """The first caption of every image that has one, by the image's row."""
    first: dict[int, str] = {}
    for row, caption in zip(text_image.tolist(), captions, strict=True):
        first.setdefault(row, caption)
    return first
