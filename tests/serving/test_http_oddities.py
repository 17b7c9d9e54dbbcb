"""What HTTP can be made to say: a bounded answer to all of it, no 500, and nothing in the log."""

import json
import logging
import re
import socket
import time
from collections.abc import Iterator
from typing import NoReturn

import pytest
from support.service_thread import Listening, answer, ask, ended, listening

from mmer_core.querying import PhotoRoot
from mmer_core.serving import IndexSnapshot, Limits, Service

LIMITS = Limits(head_seconds=1, body_seconds=1, idle_seconds=1, linger_seconds=0.3, grace_seconds=5)
HEAD = "POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
DOG = b'{"text": "dog", "k": 1}'


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture(scope="module")
def service(world) -> Iterator[Listening]:
    with listening(Service(IndexSnapshot(world.searcher, root=PhotoRoot(world.root))), LIMITS) as running:
        yield running
        assert 'status="500"' not in running.get("/metrics").body.decode()


def get(target: str, *lines: str) -> str:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: localhost", *lines, "", ""])


def test_requests_in_a_row_are_answered_in_a_row(service) -> None:
    """Pipelined, with bodies between them, and cut anywhere."""
    post = f"{HEAD}Content-Length: {len(DOG)}\r\n\r\n".encode() + DOG
    requests = (get("/health/live").encode() + post + get("/api/photo?id=nobody").encode()) * 5
    for step in (len(requests), 7, 101):
        with service.connect() as connection:
            for start in range(0, len(requests), step):
                connection.sendall(requests[start : start + step])
            statuses, data = [], b""
            while len(statuses) < 15 and (more := connection.recv(2**16)):
                data += more
                statuses = re.findall(rb"HTTP/1.1 (\d+) ", data)
            assert statuses == [b"200", b"200", b"404"] * 5


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        ("Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(DOG), DOG), 200),
        ("Transfer-Encoding: chunked", b"%x;a=b\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (len(DOG), DOG), 200),
        ("Transfer-Encoding: chunked", b"zz\r\n" + DOG, 400),
        ("Transfer-Encoding: chunked", b"-5\r\n" + DOG, 400),
        ("Transfer-Encoding: chunked", b"5\r\n" + DOG, 400),
        ("Transfer-Encoding: chunked", b"f" * 40 + b"\r\n" + DOG, 400),
        ("Transfer-Encoding: chunked", b"fffffff\r\n" + DOG, 408),
        ("Transfer-Encoding: gzip, chunked", b"0\r\n\r\n", 400),
        ("Transfer-Encoding: identity", DOG, 400),
        ("Transfer-Encoding: xchunked", DOG, 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"0\r\n\r\n", 400),
        (f"Content-Length: {len(DOG)}\r\nTransfer-Encoding: chunked", b"0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", b"0\r\n\r\n", 400),
        ("Content-Length: 3\r\nContent-Length: 4", DOG, 400),
        ("Content-Length: -1", DOG, 400),
        ("Content-Length: +23", DOG, 400),
        ("Content-Length: 0x17", DOG, 400),
        ("Content-Length: 99999999999999999999", DOG, 413),
        ("Content-Length: 9999999999", DOG, 413),
        ("Content-Length: 1000", DOG, 408),
        ("Content-Length: 0", b"", 400),
        ("", b"", 400),
        ("Content-Length: 23\r\nExpect: 100-continue", DOG, 200),
        ("Content-Length: 9999999999\r\nExpect: 100-continue", b"", 413),
        ("Content-Length: 23\r\nExpect: something-else", DOG, 200),
        ("Content-Length: 23\r\nContent-Encoding: gzip", DOG, 200),
        ("Content-Length: 23\r\nUpgrade: websocket\r\nConnection: upgrade", DOG, 200),
        ("Content-Length: 23\r\n folded: x", DOG, 400),
        ("Content-Length: 23\r\nBad Name: x", DOG, 400),
        ("Content-Length: 23\r\nNul: \0", DOG, 400),
        ("Content-Length: 23\r\nX: " + "y" * 70_000, DOG, 400),
        ("Content-Length: 23\r\n" + "\r\n".join(f"X{place}: y" for place in range(8_000)), DOG, 400),
    ],
    ids=lambda value: str(value)[:45],
)
def test_bodies_and_their_lengths(service, head: str, body: bytes, status: int) -> None:
    given = f"{HEAD}{head}\r\n\r\n" if head else f"{HEAD}\r\n"
    refused = service.ask(given.encode("latin-1") + body)
    assert refused.status == status, refused.body
    assert status == 200 or refused.json["error"]
    assert refused.headers["x-content-type-options"] == "nosniff"


def test_what_is_smuggled_behind_a_body_is_no_request(service) -> None:
    """Of a request with two lengths nothing is read as a second request: the connection ends."""
    hidden = get("/api/index").encode()
    for lengths in (
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
    ):
        with service.connect() as connection:
            assert ask(connection, f"{HEAD}{lengths}\r\n\r\n".encode() + b"0\r\n\r\n" + hidden).status == 400
            assert ended(connection)


def test_a_body_that_turns_bad_after_the_answer_ends_quietly(service) -> None:
    with service.connect() as connection:
        head = "POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert ask(connection, head).status == 405
        connection.sendall(b"zz\r\n")
        assert ended(connection)


def _send_for_ever(connection: socket.socket) -> NoReturn:
    while True:
        connection.sendall(b"x" * 1000)
        time.sleep(0.01)


def test_the_rest_of_a_refused_body_is_not_read_for_ever(service) -> None:
    with service.connect() as connection:
        assert ask(connection, f"{HEAD}Content-Length: 999999999\r\n\r\n").status == 413
        with pytest.raises(OSError):
            _send_for_ever(connection)


@pytest.mark.parametrize(
    "target", ["/", "/api/index", "/api/search?text=dog", "/health/live", "/images/inside.png"]
)
def test_head_is_get_without_a_body(service, target: str) -> None:
    whole = service.get(target)
    with service.connect() as connection:
        connection.sendall(get(target).replace("GET", "HEAD", 1).encode() * 2 + get("/health/live").encode())
        data = b""
        while not data.endswith(b'{"live":true}'):
            data += connection.recv(2**16)
    heads = data.split(b"\r\n\r\n")
    assert [head[:12] for head in heads[:3]] == [b"HTTP/1.1 200"] * 3
    assert f"content-length: {whole.headers['content-length']}" in heads[0].decode().lower()


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/search", {"GET", "HEAD", "POST"}),
        ("/api/index", {"GET", "HEAD"}),
        ("/images/a.png", {"GET", "HEAD"}),
    ],
)
@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "TRACE", "PROPFIND", "get"])
def test_other_methods_are_told_which_there_are(service, method: str, path: str, allowed: set[str]) -> None:
    refused = service.ask(get(path).replace("GET", method, 1))
    assert refused.status == 405
    assert set(refused.headers["allow"].upper().split(", ")) == allowed


@pytest.mark.parametrize(
    ("target", "statuses"),
    [
        ("/api/search?" + "&".join(f"p{place}=1" for place in range(8_000)), {422, 400}),
        ("/api/search?" + "&".join(["text=a", *["split=val"] * 6_000]), {413}),
        ("/api/search?" + "&" * 60_000, {422}),
        ("/api/search?text=" + "%41" * 20_000, {413}),
        ("/api/search?text=" + "a" * 70_000, {400}),
        ("/api/search?text=%ff%fe", {422}),
        ("/api/search?text=%00", {200}),
        ("/api/search?text=%ED%A0%80", {422}),
        ("/api/search?id=%ff", {422}),
        ("/api/photo?id=%ff", {422}),
        ("/api/photo?id=photo+01.png&x=%C0%AF", {422}),
        ("/api/photo?id=" + "9" * 60_000, {413}),
        ("/api/photo", {422}),
        ("/api/search?text=a&k=1_0", {422}),
        ("/api/search?text=a&k=%20%31", {422}),
        ("/api/search?text=a&k=" + "9" * 5_000, {422}),
        ("/api/search?text=a&valence=-inf,inf", {422}),
        ("/api/search?text=a&valence=1e999,2", {422}),
        ("/api/search?text=a&valence=1,1e999", {422}),
        ("/images/%00", {404}),
        ("/images/%2e%2e/secret.jpg", {404}),
        ("/images/..%2f..%2fetc/passwd", {404}),
        ("/images/%ff%fe.png", {404}),
        ("/images/%ED%A0%80.png", {404}),
        ("/images/" + "a/" * 30_000, {404}),
        ("/images/inside.png%", {404}),
        ("/page/%2e%2e/app.py", {404}),
        ("//", {404}),
        ("*", {404, 400}),
        ("/%", {404}),
        ("/health%00", {404}),
        ("/a b", {400}),
        ("/\xe9", {400}),
        ("", {400}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_targets(service, target: str, statuses: set[int]) -> None:
    found = service.ask(get(target).encode("latin-1"))
    assert found.status in statuses, found.body[:200]
    assert len(found.body) < 20_000


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"text": "dog", "text": "cat"}', 422),
        (b'{"queries": [{"id": "a", "id": "b"}]}', 422),
        (b'{"text": "dog", "k": "3"}', 422),
        (b'{"text": "dog", "k": 3.0}', 422),
        (b'{"text": "dog", "k": true}', 422),
        (b'{"text": "dog", "k": 1' + b"0" * 10_000 + b"}", 400),
        (b'{"text": "dog", "k": NaN}', 422),
        (b'{"text": "dog", "valence": [NaN, 3]}', 422),
        (b'{"text": "dog", "valence": [1, Infinity]}', 422),
        (b'{"text": "dog", "split": [null]}', 422),
        (b'{"vector": ["1"]}', 422),
        (b'{"vector": [' + b",".join([b"1e308"] * 16) + b"]}", 200),
        (b'{"vector": [' + b",".join([b"-1e-320"] * 16) + b"]}", 200),
        (b'{"vector": [' + b",".join([b"9" * 400] * 16) + b"]}", 422),
        (b'{"vector": [' + b",".join([b"true"] * 16) + b"]}", 422),
        (b'{"text": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001, 400),
        (b'{"text": "\\u0000"}', 200),
        (b'{"text": "\\ud83d\\ude00"}', 200),
        (b'{"text": "\\udead"}', 400),
        (b'\xef\xbb\xbf{"text": "dog"}', 400),
        ('{"text": "dog"}'.encode("utf-16"), 400),
        (b'{"text": "dog"} {}', 400),
        (b'{"text": null, "id": null}', 422),
        (b'"dog"', 422),
    ],
    ids=lambda value: str(value)[:40],
)
def test_json(service, body: bytes, status: int) -> None:
    found = service.ask(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert found.status == status, found.body
    assert json.loads(found.body, parse_constant=pytest.fail)


def test_a_part_of_a_photo_is_answered_with_all_of_it(service, world) -> None:
    whole = (world.root / "inside.png").read_bytes()
    for asked in ("bytes=0-1", "bytes=-1", "bytes=9-2", "bytes=" + "0-1," * 5_000):
        with service.connect() as connection:
            found = ask(connection, get("/images/inside.png", f"Range: {asked}"))
            assert (found.status, found.body) == (200, whole)


def test_fields_beside_a_json_body_are_refused(service) -> None:
    head = HEAD.replace("/api/search", "/api/search?k=3")
    refused = service.ask(f"{head}Content-Length: {len(DOG)}\r\n\r\n".encode() + DOG)
    assert refused.status == 422
    assert "JSON body" in refused.json["error"]


def test_answers_come_while_a_body_is_promised(service) -> None:
    """A client that waits for 100 Continue is answered without it when the body is not needed."""
    with service.connect() as connection:
        connection.sendall(f"{HEAD}Content-Length: 23\r\nExpect: 100-continue\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(DOG)
        assert answer(connection).status == 200
