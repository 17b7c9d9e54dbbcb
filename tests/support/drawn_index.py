"""A small index of drawn photos with splits, labels and ratings, and the service on it."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from mmer_core.querying import PhotoRoot, Searcher
from mmer_core.querying.searcher import Vectors
from mmer_core.retrieval import RetrievalIndex
from mmer_core.retrieval.index import Settings, write_settings
from mmer_core.retrieval.side_table import write_table
from mmer_core.serving import IndexSnapshot, Service, create_app

WIDTH = 16
PHOTOS = 60
WORDS = ("dog", "snow", "boy", "grass", "red", "ball", "sea", "night")


class WordEmbedder:
    """An embedding that needs no weights: words to random directions, photos to their mean colour's."""

    def texts(self, texts: Sequence[str]) -> Vectors:
        return np.stack([_unit(sum(map(_direction, text.lower().split()))) for text in texts])

    def photos(self, photos: Sequence[Image.Image]) -> Vectors:
        colours = [np.asarray(photo.convert("RGB"), dtype=np.float64).mean(axis=(0, 1)) for photo in photos]
        return np.stack([_unit(np.resize(colour - 100.5, WIDTH)) for colour in colours])


def _direction(word: str) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(word.encode())).normal(size=WIDTH)


def _unit(vector: np.ndarray) -> np.ndarray:
    return (vector / max(np.linalg.norm(vector), 1e-12)).astype(np.float32)


@dataclass(frozen=True)
class World:
    """Everything that the index was made from.

    Attributes:
        images: ``(N, D)``; texts: ``(2 N, D)``, two captions a photo.
        root: Folder of the photos; beside it lies ``secret.jpg``.
    """

    ids: list[str]
    images: Vectors
    texts: Vectors
    captions: list[str]
    splits: list[str]
    labels: list[list[str]]
    valence: np.ndarray
    searcher: Searcher
    root: Path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("serving")
    root = _photos(folder)
    random = np.random.default_rng(5)
    ids = [f"photo {row:02d}.png" for row in range(PHOTOS)]
    captions = [" ".join(random.choice(WORDS, 3)) + f" {row}" for row in range(2 * PHOTOS)]
    texts = WordEmbedder().texts(captions)
    images = np.stack([_unit(texts[2 * row] + 0.3 * random.normal(size=WIDTH)) for row in range(PHOTOS)])
    splits = [("train", "val", "test")[row % 3] for row in range(PHOTOS)]
    labels = [[name for name, has in zip(WORDS, random.random(8) < 0.3, strict=True) if has] for _ in ids]
    valence = random.uniform(1, 10, PHOTOS).astype(np.float32)
    index = folder / "index"
    index.mkdir()
    columns = {"split": splits, "labels": labels, "path": [f"sub/{id}" for id in ids]} | dict.fromkeys(
        ("valence", "arousal", "dominance"), valence.tolist()
    )
    write_table(index / "images.parquet", {"id": ids, "caption": captions[::2], **columns})
    twice = {name: [value for value in values for _ in range(2)] for name, values in columns.items()}
    write_table(
        index / "texts.parquet", {"id": [id for id in ids for _ in range(2)], "caption": captions, **twice}
    )
    for name, vectors in (("image", images), ("text", texts)):
        flat = faiss.IndexFlatIP(WIDTH)
        flat.add(vectors)
        faiss.write_index(flat, str(index / f"{name}.faiss"))
    write_settings(index, {"image": Settings(), "text": Settings()})
    searcher = Searcher("index/of-tests", RetrievalIndex(index), WordEmbedder(), "drawn")
    return World(ids, images, texts, captions, splits, labels, valence, searcher, root)


def _photos(folder: Path) -> Path:
    root = folder / "photos"
    (root / "sub").mkdir(parents=True)
    for row in range(PHOTOS):
        Image.new("RGB", (8, 6), (4 * row, 100, 50)).save(root / "sub" / f"photo {row:02d}.png")
    Image.new("RGB", (8, 6), (255, 0, 0)).save(folder / "secret.jpg")
    (root / "out.jpg").symlink_to(folder / "secret.jpg")
    (root / "up").symlink_to(folder)
    (root / "inside.png").symlink_to(root / "sub" / "photo 01.png")
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    (root / "notes.txt").write_text("no picture")
    (root / "lie.jpg").write_text("no picture either")
    return root


@contextmanager
def client(snapshot: IndexSnapshot, most: int = 64) -> Iterator[TestClient]:
    """The service without a socket."""
    with TestClient(create_app(Service(snapshot, most)), raise_server_exceptions=False) as started:
        yield started


@pytest.fixture(scope="session")
def ask(world: World) -> Iterator[TestClient]:
    with client(IndexSnapshot(world.searcher, root=PhotoRoot(world.root))) as started:
        yield started


@pytest.fixture
def started() -> Callable[..., object]:
    return client
