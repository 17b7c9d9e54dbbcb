"""Indexes that are chosen, filled in shards, joined and tuned, against brute force in NumPy."""

from itertools import product
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmer_core.errors import ConfigError
from mmer_core.evaluation.retrieval_metrics import similarity_ranks
from mmer_core.retrieval.building import in_shards, join_shards, train, write_shard
from mmer_core.retrieval.choice import FEW, Choice, choose, packed_bytes, training_rows
from mmer_core.retrieval.index import OneIndex, Settings
from mmer_core.retrieval.ranking import Neighbours, exact_neighbours, merge, own_ranks, recall
from mmer_core.retrieval.tuning import effort_of, tune

N, D = 2000, 32
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module", autouse=True)
def one_faiss_thread():
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


def units(count: int, width: int = D) -> np.ndarray:
    centres = np.random.default_rng(7).normal(size=(40, width))
    vectors = centres[RNG.integers(0, 40, count)] + 0.8 * RNG.normal(size=(count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS, QUERIES = units(N), units(60)
SCORES = QUERIES.astype(float) @ VECTORS.T.astype(float)
ORDER = np.argsort(-SCORES, axis=1)


def joined(folder: Path, factory: str, refine: int = 0, cuts: tuple[int, ...] = (700, 1500)) -> OneIndex:
    trained = train(Choice(factory), VECTORS, N)
    faiss.write_index(trained, str(folder / "trained.faiss"))
    shards = []
    for start, stop in zip((0, *cuts), (*cuts, N), strict=True):
        shards.append(folder / f"shard{start}")
        shards[-1].mkdir()
        empty = faiss.read_index(str(folder / "trained.faiss"))
        write_shard(shards[-1], empty, VECTORS[start:stop], start, bool(refine))
    out = folder / "out"
    out.mkdir()
    join_shards(out, "image", Choice(factory), trained, shards, bool(refine))
    for file in out.iterdir():
        file.chmod(0o444)  # as the store hands them out
    # It may depend on nothing but its own folder, wherever that is moved to.
    for shard in shards:
        for file in shard.iterdir():
            file.unlink()
    return OneIndex(out.rename(folder / "elsewhere"), "image", Settings(None, refine))


@pytest.mark.parametrize("factory", ["Flat", "IVF16,Flat"])
def test_joined_shards_are_brute_force(tmp_path, factory):
    found = joined(tmp_path, factory).search(QUERIES, 10, effort=16)
    np.testing.assert_array_equal(found.rows, ORDER[:, :10])
    np.testing.assert_allclose(found.scores, np.take_along_axis(SCORES, ORDER[:, :10], 1), atol=1e-6)


@pytest.mark.parametrize(
    "factory",
    ["IVF16,SQ8", "PCA16,IVF16,SQ6", "PCA16,IVF16,Flat", "HNSW16", "IVF16,PQ8x4fs", "RR32,IVF16,PQ16x4fsr"],
)
def test_shards_change_nothing(tmp_path, factory):
    """Beside FAISS's own index, filled at once; the codes of a fast scan are those of FAISS's own, too."""
    whole = faiss.index_factory(D, factory, faiss.METRIC_INNER_PRODUCT)
    whole.train(VECTORS)
    whole.add(VECTORS)
    index = joined(tmp_path, factory)
    _, effort = effort_of(whole)
    kind = "nprobe" if faiss.try_extract_index_ivf(whole) is not None else "efSearch"
    faiss.ParameterSpace().set_index_parameter(whole, kind, effort)
    scores, _ = whole.search(QUERIES, 10)
    np.testing.assert_allclose(index.search(QUERIES, 10, effort=effort).scores, scores, atol=2e-3)
    assert in_shards(index.faiss) is False or "IVF" in factory


def test_candidates_are_scored_again_by_vectors_on_disk(tmp_path):
    (tmp_path / "again").mkdir()
    (tmp_path / "codes").mkdir()
    again = joined(tmp_path / "again", "IVF16,RaBitQ", refine=30)
    codes = joined(tmp_path / "codes", "IVF16,RaBitQ")
    true = Neighbours(ORDER[:, :10], np.take_along_axis(SCORES, ORDER[:, :10], 1))
    found = again.search(QUERIES, 10, effort=16)
    np.testing.assert_allclose(found.scores, np.take_along_axis(SCORES, found.rows, 1), atol=1e-3)
    assert recall(found.rows, true) > 0.9 > recall(codes.search(QUERIES, 10, effort=16).rows, true) + 0.2


@pytest.mark.parametrize(
    ("factory", "allowed"),
    [
        *product(("Flat", "HNSW16", "IVF16,Flat", "IVF16,SQ8", "SQ8"), (3, 150, 1500)),
        *product(("HNSW16_SQ8", "RR32,IVF16,PQ16x4fsr", "IVF16,RaBitQ"), (3, 150, 1500)),
        ("PQ16x4", 150),  # takes no selector
    ],
)
def test_a_filter_lets_only_the_allowed_rows_through(tmp_path, factory, allowed):
    index = joined(tmp_path, factory, refine=30 if "PQ16x4fs" in factory or "RaBitQ" in factory else 0)
    mask = np.zeros(N, bool)
    mask[np.random.default_rng(allowed).choice(N, allowed, replace=False)] = True
    found = index.search(QUERIES, 10, mask, effort=16 if "IVF" in factory else 400)
    assert mask[found.rows[found.rows >= 0]].all()
    best = np.argsort(-np.where(mask, SCORES, -np.inf), axis=1)[:, : min(10, allowed)]
    exact = factory in ("Flat", "IVF16,Flat") or (factory == "HNSW16" and allowed < 200)
    if exact:
        np.testing.assert_array_equal(found.rows[:, : best.shape[1]], best)
        assert (found.rows[:, best.shape[1] :] == -1).all()
    else:
        close = recall(found.rows, Neighbours(best, np.take_along_axis(SCORES, best, 1)), best.shape[1])
        assert close > (0.5 if factory == "PQ16x4" else 0.9)
    assert (index.search(QUERIES, 10, np.zeros(N, bool)).rows == -1).all()


@pytest.mark.parametrize("factory", ["Flat", "IVF16,Flat", "HNSW16"])
def test_vectors_come_back(tmp_path, factory):
    rows = [1999, 0, 701]
    np.testing.assert_array_equal(joined(tmp_path, factory).vectors(rows), VECTORS[rows])


@pytest.mark.parametrize("factory", ["IVF64,Flat", "HNSW8"])
def test_tuning_takes_the_least_effort_that_is_enough(tmp_path, factory):
    index = joined(tmp_path, factory)
    exact = Neighbours(ORDER[:, :20], np.take_along_axis(SCORES, ORDER[:, :20], 1))

    def search(queries, effort):
        return index.search(queries, 10, effort=effort).rows

    def reached(effort):
        return recall(search(QUERIES[::2], effort), Neighbours(exact.rows[::2], exact.scores[::2]))

    quality = tune(index.faiss, search, QUERIES, exact, 0.9)
    assert quality.reached
    assert quality.queries == 30
    assert reached(quality.effort) >= 0.9
    assert quality.effort == 1 or reached(quality.effort // 2) < 0.9
    assert quality.recall == recall(
        search(QUERIES[1::2], quality.effort), Neighbours(exact.rows[1::2], exact.scores[1::2])
    )
    assert tune(index.faiss, search, QUERIES, exact, 0.5).effort <= quality.effort


def test_tuning_says_when_no_effort_is_enough(tmp_path):
    index = joined(tmp_path, "IVF16,RaBitQ")
    exact = Neighbours(ORDER[:, :10], np.take_along_axis(SCORES, ORDER[:, :10], 1))
    quality = tune(
        index.faiss, lambda some, effort: index.search(some, 10, effort=effort).rows, QUERIES, exact, 0.999
    )
    assert (quality.reached, quality.effort, quality.parameter) == (False, 16, "nprobe")
    assert quality.recall < 0.999


@given(
    count=st.integers(1, 10**9),
    width=st.sampled_from([64, 256, 384]),
    memory=st.integers(2**20, 2**40),
    wanted=st.floats(0.5, 1),
)
def test_what_is_chosen_fits(count, width, memory, wanted):
    try:
        choice = choose(count, width, memory=memory, recall=wanted)
    except ConfigError:
        assert memory < count * (width / 16 + 8) + (5 * width + 200) * 4 * count**0.5 + 8 * (width + 8) ** 2
        return
    code = choice.factory.split(",")[-1]
    if choice.factory == "Flat":
        assert count <= FEW or wanted == 1
        return
    assert count * (int(code.removeprefix("PQ").removesuffix("x4fsr")) / 2 + 8) <= memory
    assert choice.refine > 1
    assert 1 <= training_rows(count, choice.factory) <= count
    if count < 10**6:
        faiss.index_factory(width, choice.factory, faiss.METRIC_INNER_PRODUCT)


def test_less_memory_means_smaller_codes():
    chosen = [choose(1_000_000, 256, memory=2**20 * mib, recall=0.95) for mib in (4096, 60, 40)]
    assert [one.factory.split(",")[-1] for one in chosen] == ["PQ128x4fsr", "PQ64x4fsr", "PQ32x4fsr"]
    assert chosen[0].refine < chosen[1].refine < chosen[2].refine
    assert choose(1_000_000, 256, memory=2**32, recall=0.99).refine > chosen[0].refine
    with pytest.raises(ConfigError, match=r"--index\.memory-gib"):
        choose(1_000_000, 256, memory=2**20, recall=0.95)


@given(st.data())
@settings(max_examples=60)
def test_ranks_are_those_of_the_protocol(data):
    """Small whole numbers, so that many scores tie."""
    texts = data.draw(st.integers(1, 12))
    images = data.draw(st.integers(1, 6))
    draw = st.integers(-2, 2)
    image = data.draw(arrays(np.float32, (images, 3), elements=draw))
    text = data.draw(arrays(np.float32, (texts, 3), elements=draw))
    owner = data.draw(arrays(np.int64, texts, elements=st.integers(0, images - 1)))
    cut = data.draw(st.integers(0, texts))
    expected = similarity_ranks(image, text, owner)

    t2i = exact_neighbours(text, image, 0, images)
    np.testing.assert_array_equal(own_ranks(t2i, owner[:, None]), expected.t2i)

    own = np.full((images, texts), -1)
    for row in range(images):
        mine = np.flatnonzero(owner == row)
        own[row, : len(mine)] = mine
    parts = [exact_neighbours(image, text[:cut], 0, texts), exact_neighbours(image, text[cut:], cut, texts)]
    ranks = own_ranks(merge(parts, texts), own)
    queries = expected.i2t >= 0
    np.testing.assert_array_equal(ranks[queries], expected.i2t[queries])


def test_recall_counts_ties_as_found():
    exact = Neighbours(np.array([[4, 7, 2]]), np.array([[0.9, 0.5, 0.5]]))
    assert recall(np.array([[4, 2]]), exact, 2) == 1
    assert recall(np.array([[4, 3]]), exact, 2) == 0.5
    assert recall(np.array([[-1, -1]]), exact, 2) == 0


@given(count=st.integers(1000, 3000), width=st.sampled_from([15, 32, 50]), lists=st.sampled_from([4, 16, 25]))
@settings(max_examples=10, deadline=None)
def test_what_a_search_holds_is_no_larger_than_was_reckoned(tmp_path_factory, count, width, lists):
    """As FAISS writes it: that is what is read into memory."""
    components = 2 + 2 * (count % 2)
    codes = -(-width // components)
    choice = Choice(f"RR{codes * components},IVF{lists},PQ{codes}x4fsr", 2)
    folder = tmp_path_factory.mktemp("chosen")
    vectors = units(count, width)
    write_shard(folder, train(choice, vectors, count), vectors, 0, True)
    join_shards(folder, "image", choice, train(choice, vectors, count), [folder], True)
    size = (folder / "image.faiss").stat().st_size
    reckoned = packed_bytes(count, width, lists, codes)
    assert size <= reckoned
    assert reckoned - size < lists * (140 + 32 * codes) + 4 * (width + 16) ** 2 + 64 * (width + 16)
    index = OneIndex(folder, "image", Settings(None, choice.refine))
    np.testing.assert_allclose(index.vectors([count - 1])[0], vectors[-1], atol=1e-3)


@pytest.mark.parametrize("factory", ["HNSW16_SQ4", "RR32,IVF16,PQ16x4fsr", "IVF16,SQ4", "IVF16,RaBitQ"])
def test_scoring_again_is_exact_ranking_of_the_candidates(tmp_path, factory):
    """The best 10 of the 40 candidates that the codes give, by the float16 vectors."""
    for name in ("again", "codes"):
        (tmp_path / name).mkdir()
    effort = 16 if "IVF" in factory else 64
    candidates = joined(tmp_path / "codes", factory).search(QUERIES, 40, effort=effort).rows
    scores = np.where(candidates >= 0, np.take_along_axis(SCORES, candidates, 1), -np.inf)
    expected = -np.sort(-scores, axis=1)[:, :10]
    found = joined(tmp_path / "again", factory, refine=4).search(QUERIES, 10, effort=effort)
    np.testing.assert_allclose(found.scores, expected, atol=1e-3)
    np.testing.assert_allclose(np.take_along_axis(SCORES, found.rows, 1), expected, atol=1e-3)


def test_the_chosen_index_reaches_the_recall_it_is_tuned_to(tmp_path):
    index = joined(tmp_path, "RR32,IVF16,PQ16x4fsr", refine=8)
    exact = Neighbours(ORDER[:, :20], np.take_along_axis(SCORES, ORDER[:, :20], 1))
    quality = tune(
        index.faiss, lambda some, effort: index.search(some, 10, effort=effort).rows, QUERIES, exact, 0.95
    )
    found = index.search(QUERIES[::2], 10, effort=quality.effort).rows
    assert quality.reached
    assert (
        np.mean([len({*rows} & {*best[:10]}) / 10 for rows, best in zip(found, ORDER[::2], strict=True)])
        >= 0.95
    )


def test_an_index_without_its_vectors_says_so(tmp_path):
    joined(tmp_path, "IVF16,SQ8", refine=2)
    (tmp_path / "elsewhere" / "image.vectors").unlink()
    with pytest.raises(
        ConfigError, match=r"image\.vectors is missing: build the index again with mmer index"
    ):
        OneIndex(tmp_path / "elsewhere", "image", Settings(None, 2))


def test_ids_are_not_wrapped_twice():
    with pytest.raises(ConfigError, match="leave out IDMap"):
        train(Choice("IDMap,Flat"), VECTORS, N)


def test_lists_on_disk_keep_their_folder_and_standard_output_to_themselves(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two machines that build the same get the same bytes, and answers in JSON are nothing but JSON."""
    index = joined(tmp_path, "IVF16,Flat")
    for file in tmp_path.rglob("image.faiss"):
        assert str(tmp_path).encode() not in file.read_bytes()
    assert index.search(VECTORS[:3], 1, effort=16).rows[:, 0].tolist() == [0, 1, 2]
    said = capfd.readouterr()
    assert said.out == ""
    assert "image.lists" in said.err, "FAISS is silent by itself now: native_output is not needed any more"
