"""Slow, silent, many and vanishing visitors, over real sockets: each ends in bounded time, and health is answered."""

import contextlib
import logging
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from PIL import Image
from support.service_thread import Listening, answer, ask, ended, listening

from mmer_core.querying import PhotoRoot
from mmer_core.serving import IndexSnapshot, Limits, Service

QUICK = Limits(
    head_seconds=0.4,
    body_seconds=0.4,
    answer_seconds=0.6,
    bytes_per_second=64 * 1024,
    idle_seconds=0.5,
    linger_seconds=0.3,
    requests=4,
    spare_connections=4,
    grace_seconds=5,
)
GET = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = "POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n"
JSON_POST = POST.format("application/json", 1000)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that visitors do is worth a line in the log, least of all a traceback."""
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture(scope="module")
def quick(world) -> Iterator[Listening]:
    root = world.root.parent / "large"
    root.mkdir()
    Image.effect_noise((3000, 3000), 90).save(root / "large.png", compress_level=1)
    with listening(Service(IndexSnapshot(world.searcher, root=PhotoRoot(root))), QUICK) as service:
        yield service


def drip(connection: socket.socket, data: bytes, every: float) -> None:
    """Send a byte at a time until the other side answers or closes."""
    for place in range(len(data)):
        with contextlib.suppress(OSError):
            connection.sendall(data[place : place + 1])
        if select.select([connection], [], [], every)[0]:
            break


@pytest.mark.parametrize(
    ("sent", "dripped", "status"),
    [
        ("", b"", None),
        ("GET / HT", b"", 408),
        ("", GET.encode().replace(b"\r\n\r\n", b"\r\nX: " + b"x" * 500), 408),
        (JSON_POST, b"", 408),
        (JSON_POST, b" " * 900, 408),
        (
            "POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n" * 200,
            408,
        ),
        (GET, b"", None),
        (GET, b"GET / HTTP/1.1\r\nX: " + b"x" * 500, 408),
    ],
    ids=[
        "silent",
        "half a head",
        "slow head",
        "no body",
        "slow body",
        "slow chunks",
        "idle",
        "slow second head",
    ],
)
def test_what_takes_too_long_to_arrive_ends(quick, sent: str, dripped: bytes, status: int | None) -> None:
    with quick.connect() as connection:
        connection.sendall(sent.encode())
        if sent == GET:
            assert answer(connection).status == 200
        drip(connection, dripped, 0.02)
        if status:
            late = answer(connection)
            assert (late.status, late.headers["connection"]) == (status, "close")
            assert "send it faster" in late.json["error"]
            assert late.headers["x-content-type-options"] == "nosniff"
        assert ended(connection)
    assert quick.get("/health").status == 200


def test_a_steady_body_has_its_time(quick) -> None:
    """It takes longer than the time for any body, and less than its size allows."""
    size = 400_000
    with quick.connect() as connection:
        connection.sendall(POST.format("image/png", size).encode())
        start = time.monotonic()
        for _ in range(10):
            connection.sendall(b"x" * (size // 10))
            time.sleep(0.1)
        assert answer(connection).status == 422
        assert time.monotonic() - start > QUICK.body_seconds + 0.2


def test_who_does_not_take_an_answer_is_dropped(quick) -> None:
    """Neither a large photo, nor many small answers asked for at once and never read."""
    target = "/images/large.png"
    for request in (
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        GET.replace("/health", "/page/search.js") * 500,
    ):
        with quick.connect(buffer=4096) as connection:
            connection.settimeout(60)
            with contextlib.suppress(OSError):
                connection.sendall(request.encode())
            while not _is_reset(connection):
                time.sleep(0.05)
    whole = quick.get(target)
    assert whole.status == 200
    assert len(whole.body) == int(whole.headers["content-length"]) > 5_000_000


def _is_reset(connection: socket.socket) -> bool:
    """Whether the other side has reset the connection, without reading from it."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


def test_a_slow_reader_who_takes_enough_gets_all(quick) -> None:
    """It takes longer than the time for any answer, a piece at a time."""
    with quick.connect(buffer=2**15) as connection:
        connection.sendall(b"GET /images/large.png HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        taken, start = 0, time.monotonic()
        while more := connection.recv(2**15):
            taken += len(more)
            if taken < 1_500_000:
                time.sleep(0.02)
        assert time.monotonic() - start > QUICK.answer_seconds
        assert taken > 5_000_000


def test_health_is_answered_and_the_idle_make_room(quick) -> None:
    """Requests fill the service; others get 503, idle connections give way, oldest first."""
    with contextlib.ExitStack() as stack:
        busy = [stack.enter_context(quick.connect()) for _ in range(QUICK.requests)]
        for connection in busy:
            connection.sendall(JSON_POST.encode())
        idle = []
        while len(idle) < 3 * QUICK.spare_connections:
            idle.append(stack.enter_context(quick.connect()))
            assert quick.get("/health/live").status == 200
            refused = quick.get("/api/index")
            assert refused.status == 503
            assert refused.headers["retry-after"] == "1"
            assert "ask again" in refused.json["error"]
            for connection in busy:
                connection.sendall(b" " * 4)
        assert all(ended(connection) for connection in idle[: QUICK.spare_connections])
        rest = b" " * (1000 - 4 * len(idle) - 15) + b'{"text": "dog"}'
        assert [ask(connection, rest).status for connection in busy] == [200] * QUICK.requests
    assert quick.get("/api/index").status == 200


def test_thousands_of_idle_connections_do_no_harm(world) -> None:
    limits = replace(QUICK, requests=16, spare_connections=8, head_seconds=20, idle_seconds=20)
    with (
        listening(Service(IndexSnapshot(world.searcher)), limits) as service,
        contextlib.ExitStack() as stack,
    ):
        opened = []
        for number in range(2000):
            opened.append(service.connect())
            if len(opened) > 200:  # of this process, too, files are not without number
                opened.pop(0).close()
            if number % 100 == 0:
                assert service.get("/api/search?text=dog").status == 200
        for connection in opened:
            stack.callback(connection.close)
        assert sum(ended(connection) for connection in opened[:150]) == 150


def test_unsent_answers_have_a_bound_together(world, monkeypatch) -> None:
    """Beyond it the largest is dropped, though it would have had time."""
    limits = replace(QUICK, answer_seconds=60, linger_seconds=5, unsent_bytes=2_000_000)
    monkeypatch.setattr("mmer_core.querying.pictures.PIECE_BYTES", 2**23)
    monkeypatch.setattr("mmer_core.serving.app.PIECE_BYTES", 2**23)
    root = world.root.parent / "noise"
    root.mkdir()
    Image.effect_noise((1500, 1500), 90).save(root / "large.png", compress_level=0)
    running = listening(Service(IndexSnapshot(world.searcher, root=PhotoRoot(root))), limits)
    with running as service, service.connect(buffer=4096) as connection:
        connection.sendall(b"GET /images/large.png HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not _is_reset(connection):
            time.sleep(0.05)


def test_bodies_have_a_bound_together(world) -> None:
    limits = replace(QUICK, body_bytes=300_000, body_seconds=5)
    with listening(Service(IndexSnapshot(world.searcher)), limits) as service, service.connect() as first:
        first.sendall(POST.format("image/png", 250_000).encode() + b"x" * 240_000)
        assert not select.select([first], [], [], 0.3)[0]  # while it is read
        second = service.ask(POST.format("image/png", 100_000).encode() + b"x" * 100_000)
        assert (second.status, second.headers["retry-after"]) == (503, "1")
        assert ask(first, b"x" * 10_000).status == 422
        assert service.ask(POST.format("image/png", 100_000).encode() + b"x" * 100_000).status == 422


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(
    "request_",
    [
        "GET /he",
        GET,
        JSON_POST + '{"te',
        "GET /images/large.png HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /api/search?text=dog HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20,
    ],
)
def test_who_vanishes_leaves_nothing(quick, request_: str, reset: bool) -> None:
    for _ in range(10):
        connection = quick.connect()
        connection.sendall(request_.encode())
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    while quick.get("/api/index").status != 200:
        time.sleep(0.05)


def test_there_are_files_for_all_connections() -> None:
    code = """
import resource
from mmer_core.errors import ConfigError
from mmer_core.serving import listen
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 1000))
listen("127.0.0.1", 0)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
try:
    listen("127.0.0.1", 0)
except ConfigError as error:
    print(error)
"""
    allowed, refused = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    assert int(allowed) == Limits().connections + 128 + 256
    assert refused.startswith(f"this process may open 300 files, and the service needs {allowed}; raise")
