"""What surrounds the answers: headers, health, metrics, limits on what is open, and a change of the index."""

import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from mmer_core.querying import PhotoRoot
from mmer_core.serving import IndexSnapshot, Service, create_app, listen
from mmer_core.serving.app import PAGE_FILES


@pytest.mark.parametrize("path", ["/", "/photo?id=x", "/api/search?text=a", "/nothing", "/images/inside.png"])
def test_browsers_are_bound(ask: TestClient, path: str) -> None:
    headers = ask.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"unsafe|https?:|\*", policy)
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", PAGE_FILES)
def test_the_page_names_nothing_elsewhere(ask: TestClient, name: str) -> None:
    answer = ask.get(f"/page/{name}")
    assert answer.headers["content-type"] == PAGE_FILES[name]
    assert set(re.findall(r"https?://[^\s\"'`]+", answer.text)) <= {"http://www.w3.org/2000/svg"}
    assert ask.get(f"/page/{name}", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_no_variable_of_the_page_hides_a_function_of_it(ask: TestClient) -> None:
    """Where one does, a call before its declaration fails; machines without a browser would not notice."""
    script = ask.get("/page/search.js").text
    functions = set(re.findall(r"^(?:async )?function (\w+)", script, re.MULTILINE))
    declared = re.findall(r"^\s.*?\b(?:const|let|var) ([^=;]+?)(?: of | in |=|;)", script, re.MULTILINE)
    assert "shown" in functions
    assert not functions & {name for names in declared for name in re.findall(r"\w+", names)}


def test_other_names_are_refused(world) -> None:
    """A page whose name was made to point here asks by that name."""
    app = create_app(Service(IndexSnapshot(world.searcher)), hosts=["localhost", "127.0.0.1"])
    with TestClient(app, base_url="http://localhost:8008") as client:
        assert client.get("/health").status_code == 200
        answer = client.get("/api/index", headers={"Host": "rebound.example:8008"})
        assert answer.status_code == 400
        assert "rebound.example" in answer.json()["error"]


def test_metrics_are_what_was_asked(world, started) -> None:
    with started(IndexSnapshot(world.searcher)) as client:
        for text in ("dog", "snow"):
            client.get("/api/search", params={"text": text})
        client.get("/api/search", params={"text": ""})
        client.get("/never/was")
        families = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(client.get("/metrics").text)
            for sample in family.samples
        }

    def requests(route: str, status: str) -> float:
        labels = {"route": route, "method": "GET", "status": status}
        return families["mmer_requests_total", *sorted(labels.items())]

    assert requests("/api/search", "200") == 2
    assert requests("/api/search", "422") == 1
    assert requests("none", "404") == 1
    assert families["mmer_index_vectors", ("target", "image")] == 60
    assert families["mmer_embedding_seconds_count",] == 2
    assert families["mmer_questions_open",] == 0


class HeldEmbedder:
    """The same embedding, which waits to be let go."""

    def __init__(self, embedder) -> None:
        self._embedder = embedder
        self.asked, self.go = threading.Semaphore(0), threading.Event()
        self.together: list[int] = []

    def texts(self, texts):
        self.together.append(len(texts))
        self.asked.release()
        assert self.go.wait(60)
        return self._embedder.texts(texts)

    photos = texts


def test_too_many_are_told_to_come_back(world, started) -> None:
    """The ninth of eight is refused at once; the eight are answered, those that waited in one forward pass."""
    held = HeldEmbedder(world.searcher.embedder)
    snapshot = IndexSnapshot(replace(world.searcher, embedder=held))
    with started(snapshot, most=8) as client, ThreadPoolExecutor(8) as pool:
        first = pool.submit(client.get, "/api/search?text=dog")
        assert held.asked.acquire(timeout=60)
        others = [pool.submit(client.get, f"/api/search?text=sea+{number}") for number in range(7)]
        assert any(client.get("/health/ready").status_code == 503 for _ in range(5000))
        refused = client.get("/api/search?text=late")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert "again" in refused.json()["error"]
        assert client.get("/health/live").status_code == 200
        held.go.set()
        answers = [future.result() for future in (first, *others)]
    assert [answer.status_code for answer in answers] == [200] * 8
    assert sum(held.together) == 8
    assert len(held.together) <= 3
    for number, answer in enumerate(answers[1:]):
        vector = world.searcher.embedder.texts([f"sea {number}"])[0]
        assert answer.json()["results"][0]["hits"][0]["score"] == pytest.approx(
            (world.images @ vector).max(), abs=1e-5
        )


def test_one_that_cannot_be_embedded_spoils_no_other(world, started) -> None:
    """A fault of the model is an error of its own query only, without its inside."""

    class Faulty(HeldEmbedder):
        def texts(self, texts):
            if "bad" in texts and self.go.is_set():
                raise RuntimeError("weights at 0xdead")
            return super().texts(texts)

    held = Faulty(world.searcher.embedder)
    snapshot = IndexSnapshot(replace(world.searcher, embedder=held))
    with started(snapshot) as client, ThreadPoolExecutor(3) as pool:
        first = pool.submit(client.get, "/api/search?text=dog")
        assert held.asked.acquire(timeout=60)
        others = [pool.submit(client.get, f"/api/search?text={text}") for text in ("bad", "sea")]
        assert any(b"mmer_questions_open 3" in client.get("/metrics").content for _ in range(5000))
        held.go.set()
        assert first.result().status_code == 200
        bad, good = (future.result() for future in others)
        assert (bad.status_code, good.status_code) == (500, 200)
        assert "0xdead" not in bad.text
        assert "log" in bad.json()["error"]
        assert client.get("/health/ready").status_code == 200


def test_many_threads_get_their_own_answers(world, ask: TestClient) -> None:
    def one(number: int) -> None:
        row = number % len(world.ids)
        answer = ask.post("/api/search", json={"vector": world.images[row].tolist(), "k": 1}).json()
        assert answer["results"][0]["hits"][0]["id"] == world.ids[row]
        text = f"{world.captions[row]}"
        scores = world.texts @ world.searcher.embedder.texts([text])[0]
        answer = ask.get("/api/search", params={"text": text, "k": 1, "target": "text"}).json()
        assert answer["results"][0]["hits"][0]["caption"] == world.captions[int(np.argmax(scores))]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(160)))


def test_another_index_answers_from_then_on(world) -> None:
    service = Service(IndexSnapshot(world.searcher))
    with TestClient(create_app(service)) as client:
        assert client.get("/api/search?text=dog").json()["index"] == "index/of-tests"
        other = replace(world.searcher, key="index/newer")
        service.serve(IndexSnapshot(other, root=PhotoRoot(world.root)))
        assert client.get("/api/search?text=dog").json()["index"] == "index/newer"
        assert client.get("/api/index").json()["pictures"]
    assert not service.ready  # closed with the application


def test_answers_do_not_wait_to_be_acknowledged() -> None:
    """asyncio turns Nagle's algorithm off for what says that it is TCP, and accepted sockets say what this one says."""
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
