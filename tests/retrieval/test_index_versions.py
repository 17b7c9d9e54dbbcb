"""Indexes of several parts with dropped rows, against brute force over what is left."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmer_core.retrieval import Filter, RetrievalIndex, build
from mmer_core.retrieval.side_table import write_table
from mmer_core.retrieval.versions import TARGETS, write_version

WIDTH = 6
SPLITS = ("train", "val")


def unit_vectors(generator: np.random.Generator, count: int) -> np.ndarray:
    vectors = generator.normal(size=(count, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def part(
    folder: Path, first: int, images: np.ndarray, texts: np.ndarray, owners: np.ndarray, factory: str
) -> None:
    """A built index of photos named by their number from ``first`` on, in splits by turns."""
    folder.mkdir(parents=True)
    ids = [str(first + row) for row in range(len(images))]
    captions = [f"caption {row} of {ids[owner]}" for row, owner in enumerate(owners)]
    build(folder, factory, images=images, image_ids=ids, texts=texts, captions=captions, text_image=owners)
    for target, names in (("image", ids), ("text", [ids[owner] for owner in owners])):
        splits = [SPLITS[int(name) % 2] for name in names]
        write_table(folder / f"{target}s.parquet", {"id": names, "caption": names, "split": splits})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.floats(0, 1),
    st.sampled_from(["Flat", "HNSW8", "IVF1,Flat"]),
    st.integers(0, 2**32 - 1),
)
def test_searches_find_what_is_left(tmp_path_factory, sizes, share, factory, seed) -> None:
    generator = np.random.default_rng(seed)
    root = tmp_path_factory.mktemp("versions")
    every: dict[str, list[np.ndarray]] = {"image": [], "text": []}
    names: dict[str, list[int]] = {"image": [], "text": []}
    for number, size in enumerate(sizes):
        images, texts = unit_vectors(generator, size), unit_vectors(generator, 2 * size)
        owners = np.sort(generator.integers(0, size, 2 * size))
        first = sum(sizes[:number])
        part(root / f"built{number}", first, images, texts, owners, factory)
        every["image"].append(images)
        every["text"].append(texts)
        names["image"] += range(first, first + size)
        names["text"] += (owners + first).tolist()
    gone = {name for name in names["image"] if generator.random() < share}
    dropped = {
        target: np.flatnonzero([name in gone for name in names[target]]).astype(np.int64)
        for target in TARGETS
    }
    out = root / "version"
    out.mkdir()
    whole = {target: np.arange(len(names[target])) for target in TARGETS}
    write_version(out, [root / f"built{number}" for number in range(len(sizes))], dropped, whole)
    index = RetrievalIndex(out)
    assert index.ids() == [str(name) for name in names["image"] if name not in gone]
    queries = unit_vectors(generator, 3)
    for target in TARGETS:
        vectors = np.concatenate(every[target])
        for only in (None, Filter(splits=["val"])):
            there = [name for name in names[target] if name not in gone]
            if only and there and not any(name % 2 for name in there):
                continue  # no such split: refused, see test_filters
            left = [
                row
                for row, name in enumerate(names[target])
                if name not in gone and (only is None or name % 2 == 1)
            ]
            assert only or index.count(target) == len(left)
            for query, hits in zip(queries, index.search(queries, target, 5, only), strict=True):
                order = sorted(left, key=lambda row: -float(vectors[row] @ query))[:5]
                assert [hit.row for hit in hits] == order
                assert [hit.id for hit in hits] == [str(names[target][row]) for row in order]
                assert [hit.score for hit in hits] == pytest.approx(
                    [float(vectors[row] @ query) for row in order], abs=1e-5
                )
    for name in names["image"]:
        if name in gone:
            assert index.records("image", str(name)) == []
            assert index.records("text", str(name)) == []
        else:
            found = index.embedding_of("image", str(name))[0]
            np.testing.assert_allclose(found, np.concatenate(every["image"])[name], atol=1e-6)


def test_versions_of_versions_share_files(tmp_path: Path) -> None:
    """Nothing is written again: both versions' parts are the files of the first index."""
    generator = np.random.default_rng(0)
    part(tmp_path / "built", 0, unit_vectors(generator, 4), unit_vectors(generator, 4), np.arange(4), "Flat")
    empty = {target: np.empty(0, np.int64) for target in TARGETS}
    whole = {target: np.arange(4) for target in TARGETS}
    folder = tmp_path / "built"
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_version(tmp_path / name, [folder], empty, whole)
        folder = tmp_path / name
    shared = [place / "image.faiss" for place in (tmp_path / "built", folder / "parts" / "0000")]
    assert shared[0].samefile(shared[1])
    assert RetrievalIndex(folder).ids() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("factory", ["HNSW4", "HNSW8", "IVF8,Flat"])
def test_as_many_are_found_as_there_are(tmp_path, factory) -> None:
    """A graph that falls apart into clusters, or a few lists, reach fewer rows than are asked for: the rest come too."""
    generator = np.random.default_rng(0)
    clusters = np.repeat(generator.normal(size=(20, WIDTH)), 16, axis=0)
    vectors = (clusters + 1e-3 * generator.normal(size=clusters.shape)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    part(tmp_path / "built", 0, vectors, vectors, np.arange(len(vectors)), factory)
    index = RetrievalIndex(tmp_path / "built")
    for only, there in ((None, set(range(320))), (Filter(splits=["val"]), set(range(1, 320, 2)))):
        for hits in index.search(vectors[::80], "image", 150, only):
            assert len({hit.row for hit in hits} & there) == 150
