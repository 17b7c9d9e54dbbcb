"""The real service over a real socket: right answers, hostile requests, many at once, and a clean end."""

import contextlib
import io
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from support.served import Served, photo_folder, serving
from support.small_pipeline import Study

from mmer_core.datasets.prepared import Prepared, PreparedSplit

pytestmark = pytest.mark.integration

TEN_MEGABYTES = 10_000_000


@pytest.fixture(scope="module")
def gallery(study: Study) -> PreparedSplit:
    """The split that was indexed."""
    matcher = study.only("model", task="retrieval", family="joint")
    return Prepared.open(study.context.folder_of(matcher.inputs["prepared"])).split("test")


@pytest.fixture(scope="module")
def photos(gallery: PreparedSplit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "secret.png").write_bytes(_png(np.zeros((4, 4, 3), np.uint8)))
    return photo_folder(gallery, folder / "photos")


@pytest.fixture(scope="module")
def service(study: Study, photos: Path) -> Iterator[Served]:
    with serving(study, photos.parent / "output", "--images", str(photos)) as served:
        yield served
        os.kill(served.process.pid, signal.SIGTERM)
        assert served.exit_code() == 0, served.output.read_text()


@pytest.fixture
def client(service: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def raw(service: Served, request: bytes) -> bytes:
    """The beginning of what a socket answers to some bytes, which need be no HTTP."""
    with socket.create_connection(service.address, timeout=60) as connection:
        with contextlib.suppress(OSError):  # the answer may come, and the connection end, before all is sent
            connection.sendall(request)
        return connection.recv(2**16)


def test_answers_are_those_of_the_command(study, mmer: Callable, gallery, photos, client) -> None:
    text, photo, id = gallery.texts[4], photos / gallery.table["Filename"][2], gallery.ids[1]
    flags = ["--k", 4, "--json", *study.flags()]
    content = {"content": photo.read_bytes(), "headers": {"Content-Type": "image/png"}}
    for arguments, answer in (
        ([text], client.get("/api/search", params={"text": text, "k": 4})),
        (["--image", photo, "--target", "text"], client.post("/api/search?k=4&target=text", **content)),
        (["--id", id], client.post("/api/search", json={"id": id, "k": 4})),
    ):
        command = mmer("search", *arguments, *flags)
        assert command.code == 0, command.err
        hits = answer.json()["results"][0]["hits"]
        wanted = json.loads(command.out)
        assert [hit["score"] for hit in hits] == pytest.approx([hit["score"] for hit in wanted], abs=1e-4)
        assert (hits[0]["id"], hits[0]["caption"]) == (wanted[0]["id"], wanted[0]["caption"])
        shown = client.get(hits[0]["image"])
        assert shown.content == (photos / wanted[0]["path"]).read_bytes()


def test_the_model_space_takes_vectors(study, gallery, client) -> None:
    matcher = study.only("model", task="retrieval", family="joint")
    folder = study.context.folder(study.made_from("evaluation", "model", matcher).key)
    images, texts = (np.load(folder / f"embedding_{name}.npy") for name in ("image", "text"))
    body = {"queries": [{"vector": vector.tolist()} for vector in texts[:20]], "k": 3}
    for vector, result in zip(texts, client.post("/api/search", json=body).json()["results"], strict=False):
        best = np.sort(images @ vector)[::-1][:3]
        assert [hit["score"] for hit in result["hits"]] == pytest.approx(best.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /images/../secret.png",
        "GET /images/%2e%2e/secret.png",
        "GET /images/..%2fsecret.png",
        "GET /images//etc/passwd",
        "GET /images/%00",
        "GET /../../../etc/passwd",
        "GET /pictures?id=../../etc/passwd",
        "GET /api/search?text=a&k=999999",
        f"GET /api/search?text={'a' * 5000}",
        f"GET /api/search?text={'a' * 70_000}",
        "GET /api/search?id=nobody",
        "DELETE /api/index",
        "BREW /",
    ],
    ids=lambda line: line[:40],
)
def test_hostile_requests_are_refused(service: Served, request_line: str) -> None:
    answer = raw(service, f"{request_line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 4"), answer[:200]


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000,
    ],
)
def test_what_is_no_http_is_refused(service: Served, junk: bytes) -> None:
    assert raw(service, junk).startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b'{"text": "' + b"a" * TEN_MEGABYTES + b'"}', 413),
        ("application/json", b'{"vector": [' + b", ".join([b"NaN"] * 1536) + b"]}", 422),
        ("application/json", b'{"vector": [1, 2, 3]}', 422),
        ("image/jpeg", b"\xff\xd8\xff\xe0 no photo", 422),
        ("text/plain", b"a dog", 415),
    ],
    ids=["10 MB", "NaN", "width", "broken", "type"],
)
def test_hostile_bodies_are_refused(client: httpx.Client, kind: str, body: bytes, status: int) -> None:
    answer = client.post("/api/search", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert answer.json()["error"]
    assert client.get("/health").json()["ready"]


@pytest.mark.parametrize("length", ["Content-Length: 10000000000", "Transfer-Encoding: chunked"])
def test_a_huge_body_is_refused_before_it_came(service: Served, length: str) -> None:
    """The answer is there while most of the body, or of what was promised, is not."""
    head = (
        f"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    )
    with socket.create_connection(service.address, timeout=60) as connection:
        connection.sendall(head.encode())
        if "chunked" in length:
            for _ in range(33):
                connection.sendall(b"10000\r\n" + b"a" * 2**16 + b"\r\n")  # and no last chunk
        assert connection.recv(2**16).startswith(b"HTTP/1.1 413")


def test_many_at_once_without_an_error(service: Served, gallery) -> None:
    """Every answer is the one that its question has when it is asked alone."""
    questions = [{"text": text} for text in gallery.texts[:10]] + [{"id": id} for id in gallery.ids]
    with httpx.Client(base_url=service.url, timeout=60) as client:
        alone = [
            client.post("/api/search", json=one | {"k": 3}).json()["results"][0]["hits"] for one in questions
        ]

    def many(start: int) -> None:
        with httpx.Client(base_url=service.url, timeout=60) as client:
            for place in range(start, start + 12):
                place %= len(questions)
                answer = client.post("/api/search", json=questions[place] | {"k": 3})
                assert answer.status_code == 200, answer.text
                hits = answer.json()["results"][0]["hits"]
                assert [hit["score"] for hit in hits] == pytest.approx(
                    [hit["score"] for hit in alone[place]], abs=1e-4
                )
                assert client.get(hits[0]["image"]).status_code == 200

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(many, range(16)))
    with httpx.Client(base_url=service.url) as client:
        metrics = client.get("/metrics").text
    assert 'status="500"' not in metrics
    assert 'status="503"' not in metrics


def test_hangup_opens_the_index_again(service: Served, client: httpx.Client) -> None:
    before = client.get("/api/index").json()
    os.kill(service.process.pid, signal.SIGHUP)
    while f"serving {before['index']}\n" not in service.output.read_text():
        assert client.get("/api/search?text=a+dog").status_code == 200
    assert client.get("/api/index").json() == before


@pytest.mark.long
def test_prepared_pictures_and_an_end_that_answers_what_is_open(study, gallery, tmp_path: Path) -> None:
    """Without the photos the arrays are shown; Ctrl-C in the middle of a request lets it end."""
    body = json.dumps({"text": gallery.texts[0], "k": 1}).encode()
    head = f"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with serving(study, tmp_path / "output") as served:
        (hit,) = httpx.post(f"{served.url}/api/search", json={"id": gallery.ids[0], "k": 1}).json()[
            "results"
        ][0]["hits"]
        shown = httpx.get(served.url + hit["image"])
        pixels = np.asarray(Image.open(io.BytesIO(shown.content)).resize((64, 64)), dtype=float)
        assert np.abs(pixels - gallery.images("context")[0]).mean() < 16  # a JPEG, resized twice
        with socket.create_connection(served.address, timeout=60) as connection:
            connection.sendall(head.encode() + body[:10])
            while httpx.get(f"{served.url}/health/live").status_code != 200:
                pass
            os.kill(served.process.pid, signal.SIGINT)
            while _listens(served):
                pass
            assert served.process.is_alive()
            connection.sendall(body[10:])
            answer = b"".join(iter(lambda: connection.recv(2**16), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"hits"' in answer
        assert served.exit_code() == 0, served.output.read_text()


def _listens(served: Served) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(served.address) == 0


def test_what_cannot_be_served_is_told_in_a_sentence(
    study, mmer: Callable, tmp_path: Path, service: Served
) -> None:
    taken = mmer("serve", "--port", service.address[1], *study.flags())
    assert taken.code == 1
    assert "give another --host or --port" in taken.err
    elsewhere = mmer("serve", "--port", 0, "--images", tmp_path, *study.flags())
    assert elsewhere.code == 1
    assert "does not hold the photos" in elsewhere.err
    nowhere = mmer("serve", "--port", 0, "--index", "index/none", *study.flags())
    assert nowhere.code == 1
    assert "build one first" in nowhere.err
