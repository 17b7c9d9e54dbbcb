"""The limits in docs/search.md are the ones in force: each number is the constant's, and what is beyond is refused."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.service_thread import Listening, listening

from mmer_core.serving import IndexSnapshot, Limits, Service, questions, server
from mmer_core.serving.limits import MIB
from mmer_core.serving.service import MAX_OPEN

PAGE = (Path(__file__).parents[2] / "docs" / "search.md").read_text()
LIMITS = Limits()
KIB = 1024

NUMBERS = {
    "a text or an id of": [questions.MAX_TEXT],
    "queries, 100": [questions.MAX_QUERIES, questions.MAX_NAMES, questions.MAX_JSON_BYTES // MIB],
    "a photo of 20 MiB": [questions.MAX_IMAGE_BYTES // MIB],
    "pixels": [questions.MAX_IMAGE_PIXELS],
    "results": [questions.MAX_RESULTS],
    "finite vectors": [questions.MAX_WIDTH],
    "address and headers": [LIMITS.head_bytes // KIB],
    "head of a request": [LIMITS.head_seconds],
    "for a body": [LIMITS.body_seconds, LIMITS.bytes_per_second // KIB],
    "to read an answer": [LIMITS.answer_seconds, LIMITS.bytes_per_second // KIB],
    "between two requests": [LIMITS.idle_seconds],
    "rest of a body": [LIMITS.linger_seconds],
    "open queries": [MAX_OPEN],
    "requests at a time": [LIMITS.requests],
    "288 connections": [LIMITS.connections],
    "of bodies in memory": [LIMITS.body_bytes // MIB],
    "have not read": [LIMITS.unsent_bytes // MIB],
}
"""Of the table's rows that have any, by words of the row."""


def rows() -> dict[str, str]:
    """Limits and what is beyond, from the documentation's table."""
    table = PAGE.split("| limit | beyond it |\n| --- | --- |\n")[1].split("\n\n")[0]
    return dict(line.strip("| ").split(" | ") for line in table.splitlines())


def numbers(text: str) -> list[float]:
    """In its order; ``2,000`` and ``2^25`` are one each."""
    found = re.findall(r"\d+\^\d+|\d[\d,]*\d|\d", text)
    return [2 ** int(one[2:]) if "^" in one else int(one.replace(",", "")) for one in found]


def test_every_number_is_that_of_a_constant() -> None:
    documented = {limit: numbers(limit) for limit in rows() if numbers(limit)}
    for words, wanted in NUMBERS.items():
        (limit,) = (limit for limit in documented if words in limit)
        assert documented.pop(limit) == wanted, limit
    assert not documented
    assert f"after {LIMITS.grace_seconds} seconds at most" in PAGE
    assert f"still open {server._LAST_SECONDS} seconds before" in PAGE


@pytest.fixture(scope="module")
def service(world) -> Iterator[Listening]:
    with listening(Service(IndexSnapshot(world.searcher))) as running:
        yield running


def post(kind: str, size: int, body: bytes = b"") -> bytes:
    head = f"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + body


def asked(fields: dict) -> bytes:
    body = json.dumps(fields).encode()
    return post("application/json", len(body), body)


def get(query: str) -> bytes:
    return f"GET /api/search?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def padded(size: int) -> bytes:
    """A request whose address and headers have this size."""
    return b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (size - 34) + b"\r\n\r\n"


BEYOND = [
    ("a text or an id", get("text=" + "a" * 2_000), get("text=" + "a" * 2_001)),
    ("a text or an id", asked({"id": "photo 01.png"}), asked({"id": "a" * 2_001})),
    (
        "queries, 100",
        asked({"queries": [{"text": "a"}] * 64, "k": 1}),
        asked({"queries": [{"text": "a"}] * 65}),
    ),
    (
        "queries, 100",
        asked({"text": "a", "split": ["val"] * 100}),
        asked({"text": "a", "split": ["val"] * 101}),
    ),
    (
        "queries, 100",
        post("application/json", 2 * MIB, b" " * (2 * MIB - 13) + b'{"text": "a"}'),
        post("application/json", 2 * MIB + 1),
    ),
    ("a photo of 20", None, post("image/png", 20 * MIB + 1)),
    ("results", get("text=a&k=200"), get("text=a&k=201")),
    ("finite vectors", asked({"vector": [1] * 16}), asked({"vector": [1] * 17})),
    ("address and headers", padded(2**16), padded(2**16 + 1)),
    ("each once", get("text=a&split=val"), get("text=a&split=nowhere")),
    ("each once", None, get("text=a&k=1&k=1")),
    ("known ids", get("id=photo+01.png"), get("id=nobody")),
    ("content types", None, post("text/plain", 1, b"x")),
    ("methods that read", None, b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a host name", get("text=a"), get("text=a").replace(b"localhost", b"rebound.example")),
]


@pytest.mark.parametrize(("words", "within", "beyond"), BEYOND, ids=[one[0] for one in BEYOND])
def test_what_is_beyond_is_refused_as_it_says(
    service, words: str, within: bytes | None, beyond: bytes
) -> None:
    (says,) = (says for limit, says in rows().items() if words in limit)
    assert within is None or service.ask(within).status == 200
    refused = service.ask(beyond)
    assert str(refused.status) == says[:3]
    assert refused.json["error"]
