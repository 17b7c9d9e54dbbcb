"""The FAISS index against a sorted matrix of cosines."""

from pathlib import Path

import numpy as np
import pytest

from mmer_core.errors import ConfigError
from mmer_core.retrieval import RetrievalIndex, build

N, D = 40, 16
RNG = np.random.default_rng(0)


def units(count: int) -> np.ndarray:
    vectors = RNG.normal(size=(count, D))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


IMAGES, QUERIES = units(N), units(5)
IDS = [f"photo-{(7 * i) % N:03d}.jpg" for i in range(N)]
# Any number of captions an image, in any order; image 3 has none.
OWNERS = np.array([owner for owner in RNG.integers(0, N, 90) if owner != 3])
TEXTS = units(len(OWNERS))
CAPTIONS = [f"caption {i}, of {owner}" for i, owner in enumerate(OWNERS)]
FIRST = dict(zip(reversed(OWNERS.tolist()), reversed(CAPTIONS), strict=True))


def indexed(folder: Path, factory: str = "Flat") -> RetrievalIndex:
    build(
        folder,
        factory,
        images=IMAGES,
        image_ids=IDS,
        texts=TEXTS,
        captions=CAPTIONS,
        text_image=OWNERS,
    )
    return RetrievalIndex(folder)


def brute_force(target: str, k: int) -> list[list[tuple[float, str, str]]]:
    rows = []
    for query in QUERIES.astype(np.float64):
        scores = (IMAGES if target == "image" else TEXTS) @ query
        best = np.argsort(-scores)[:k]
        if target == "image":
            rows.append([(scores[i], IDS[i], FIRST.get(i, "")) for i in best])
        else:
            rows.append([(scores[i], IDS[OWNERS[i]], CAPTIONS[i]) for i in best])
    return rows


@pytest.mark.parametrize("target", ["image", "text"])
@pytest.mark.parametrize("k", [1, 7, 40, 1000])
def test_a_flat_index_is_exact(tmp_path, target, k):
    index = indexed(tmp_path)
    found, expected = index.search(QUERIES, target, k), brute_force(target, k)
    assert len(found) == len(QUERIES)
    for hits, truth in zip(found, expected, strict=True):
        assert [(hit.id, hit.caption) for hit in hits] == [(id, caption) for _, id, caption in truth]
        assert [hit.score for hit in hits] == pytest.approx([score for score, _, _ in truth], abs=1e-5)
    assert index.width == D
    assert (index.count("image"), index.count("text")) == (N, len(OWNERS))


def test_every_vector_finds_itself(tmp_path):
    index = indexed(tmp_path)
    assert [hits[0].id for hits in index.search(IMAGES, "image", 1)] == IDS
    assert [hits[0].caption for hits in index.search(TEXTS, "text", 1)] == CAPTIONS
    assert index.search(IMAGES[3:4], "image", 1)[0][0].caption == ""


@pytest.mark.parametrize("factory", ["IVF4,Flat", "HNSW8"])
def test_an_approximate_index_finds_true_scores(tmp_path, factory):
    index = indexed(tmp_path, factory)
    for hits, truth in zip(index.search(QUERIES, "image", N), brute_force("image", N), strict=True):
        # It may miss some and pads with nothing; what it gives is right and in order.
        assert 1 <= len(hits) <= N
        scores = {id: score for score, id, _ in truth}
        assert [hit.score for hit in hits] == pytest.approx([scores[hit.id] for hit in hits], abs=1e-5)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert len({hit.id for hit in hits}) == len(hits)
    assert [hits[0].id for hits in index.search(IMAGES, "image", 1)] == IDS


@pytest.mark.parametrize("factory", ["Flatt", "IVF", "", "IVF64,Flat", "PQ5"])
def test_an_impossible_factory_is_refused_in_one_line(tmp_path, factory):
    with pytest.raises(
        ConfigError, match=r"\AFAISS cannot build an index .* of 40 vectors of width 16 [^\n]*\Z"
    ):
        indexed(tmp_path, factory)


def test_bad_searches_are_refused(tmp_path):
    index = indexed(tmp_path)
    for queries in (QUERIES[:, :-1], QUERIES[0], QUERIES[None]):
        with pytest.raises(ConfigError, match="the index holds vectors of width 16"):
            index.search(queries, "image", 3)
    for k in (0, -1):
        with pytest.raises(ConfigError, match=f"k is {k}"):
            index.search(QUERIES, "image", k)
