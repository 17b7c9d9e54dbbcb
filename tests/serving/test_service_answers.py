"""Answers of the service equal brute force over the same vectors, whatever the way they are asked for."""

import io
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from mmer_core.retrieval import Hit

LETTERS = st.text(alphabet="dogsnwbyra el", min_size=1, max_size=30).filter(str.strip)


def expected(world, vector: np.ndarray, target: str, k: int, allowed: np.ndarray) -> list[tuple[str, float]]:
    """``(caption or id, score)`` of the best allowed rows, by brute force."""
    vectors = world.images if target == "image" else world.texts
    names = world.ids if target == "image" else world.captions
    mask = allowed if target == "image" else np.repeat(allowed, 2)
    scores = np.where(mask, vectors @ vector, -np.inf)
    order = np.argsort(-scores, kind="stable")[: min(k, int(mask.sum()))]
    return [(names[row], float(scores[row])) for row in order]


def found(answer, target: str) -> list[tuple[str, float]]:
    assert answer.status_code == 200, answer.text
    name = "id" if target == "image" else "caption"
    return [(hit[name], hit["score"]) for hit in answer.json()["results"][0]["hits"]]


def same(left: list[tuple[str, float]], right: list[tuple[str, float]]) -> None:
    np.testing.assert_allclose([score for _, score in left], [score for _, score in right], atol=1e-5)
    assert sorted(name for name, _ in left) == sorted(name for name, _ in right)


@given(text=LETTERS, target=st.sampled_from(["image", "text"]), k=st.integers(1, 200))
def test_text(world, ask: TestClient, text: str, target: str, k: int) -> None:
    answer = ask.get("/api/search", params={"text": text, "target": target, "k": k})
    vector = world.searcher.embedder.texts([text])[0]
    got, wanted = found(answer, target), expected(world, vector, target, k, np.ones(len(world.ids), bool))
    np.testing.assert_allclose([score for _, score in got], [score for _, score in wanted], atol=1e-5)


@given(
    numbers=st.lists(st.floats(-1e300, 1e300), min_size=16, max_size=16).filter(any),
    splits=st.sets(st.sampled_from(["train", "val", "test"])),
    label=st.sampled_from([None, "dog", "snow"]),
    limits=st.tuples(st.floats(1, 10), st.floats(1, 10)).map(sorted) | st.none(),
    target=st.sampled_from(["image", "text"]),
)
def test_vector_and_filters(world, ask: TestClient, numbers, splits, label, limits, target) -> None:
    """Vectors of any length are directions, and a filter leaves what it says."""
    fields = {"vector": numbers, "target": target, "k": 7, "split": sorted(splits)}
    fields |= {"label": [label]} if label else {}
    fields |= {"valence": list(limits)} if limits else {}
    allowed = np.array([not splits or split in splits for split in world.splits])
    allowed &= np.array([label is None or label in labels for labels in world.labels])
    if limits:
        allowed &= (world.valence >= limits[0]) & (world.valence <= limits[1])
    vector = np.array(numbers) / np.abs(numbers).max()
    vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    got, wanted = (
        found(ask.post("/api/search", json=fields), target),
        expected(world, vector, target, 7, allowed),
    )
    np.testing.assert_allclose([score for _, score in got], [score for _, score in wanted], atol=1e-5)


def test_filters_of_a_query_string(world, ask: TestClient) -> None:
    asked = {"text": "dog", "k": 60, "split": ["val", "test"], "label": "dog", "valence": "2.5,8"}
    rows = [
        row
        for row in range(len(world.ids))
        if world.splits[row] != "train" and "dog" in world.labels[row] and 2.5 <= world.valence[row] <= 8
    ]
    assert rows
    hits = ask.get("/api/search", params=asked).json()["results"][0]["hits"]
    assert sorted(hit["id"] for hit in hits) == [world.ids[row] for row in rows]
    assert hits[0]["ratings"]["valence"] == pytest.approx(world.valence[hits[0]["row"]])


def test_id_finds_itself_first(world, ask: TestClient) -> None:
    hits = found(ask.get("/api/search", params={"id": world.ids[9], "k": 5}), "image")
    same(hits, expected(world, world.images[9], "image", 5, np.ones(len(world.ids), bool)))
    assert hits[0] == (world.ids[9], pytest.approx(1, abs=1e-5))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_photo(world, ask: TestClient, kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 100, 50)).save(file, format=kind)
    headers = {"Content-Type": f"image/{kind.lower()}"}
    answer = ask.post("/api/search?k=4&split=val", content=file.getvalue(), headers=headers)
    vector = world.searcher.embedder.photos([Image.open(file).convert("RGB")])[0]
    allowed = np.array([split == "val" for split in world.splits])
    same(found(answer, "image"), expected(world, vector, "image", 4, allowed))


def test_batch_keeps_the_order(world, ask: TestClient) -> None:
    queries = [{"text": "dog"}, {"id": world.ids[3]}, {"vector": [1.0] * 16}, {"text": "sea night"}]
    body = ask.post("/api/search", json={"queries": queries, "k": 3, "target": "text"}).json()
    alone = [ask.post("/api/search", json=query | {"k": 3, "target": "text"}).json() for query in queries]
    assert [one["query"] for one in body["results"]] == [*queries[:2], {"vector": ""}, queries[3]]
    for together, single in zip(body["results"], alone, strict=True):
        (single,) = single["results"]
        assert [hit["row"] for hit in together["hits"]] == [hit["row"] for hit in single["hits"]]


def test_photo_with_all_its_captions(world, ask: TestClient) -> None:
    photo = ask.get("/api/photo", params={"id": world.ids[4]}).json()
    assert photo["captions"] == world.captions[8:10]
    assert photo["labels"] == world.labels[4]
    assert photo["image"] == f"/images/sub/{quote(world.ids[4])}"
    shown = ask.get(photo["image"])
    assert shown.content == (world.root / "sub" / world.ids[4]).read_bytes()
    assert shown.headers["content-type"] == "image/png"
    again = ask.get(photo["image"], headers={"If-None-Match": shown.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_what_there_is_to_choose(world, ask: TestClient) -> None:
    about = ask.get("/api/index").json()
    assert about["splits"] == ["test", "train", "val"]
    assert set(about["labels"]) == set().union(*world.labels)
    assert about["ratings"] == ["valence", "arousal", "dominance"]
    assert (about["images"], about["texts"], about["width"]) == (60, 120, 16)


def test_a_hit_says_what_the_library_says(world, ask: TestClient) -> None:
    vector = world.searcher.embedder.texts(["boy"])
    (wanted,) = world.searcher.search(vector, "image", 3)
    hits = ask.get("/api/search", params={"text": "boy", "k": 3}).json()["results"][0]["hits"]
    for hit, one in zip(hits, wanted, strict=True):
        assert isinstance(one, Hit)
        assert (hit["id"], hit["caption"], hit["split"]) == (one.id, one.caption, one.split)
        assert (hit["path"], tuple(hit["labels"])) == (one.path, one.labels)
