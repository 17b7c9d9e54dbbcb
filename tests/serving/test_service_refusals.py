"""What is malformed, huge or hostile is refused with 4xx and a sentence, and reads nothing outside the photos."""

import io
import json
import struct
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from mmer_core.querying import NoPicture, PhotoRoot
from mmer_core.serving import questions


def refused(answer, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert all(word in error for word in words), error


def spelled(path: str) -> str:
    """Every byte by its number, so that no client tidies the path on the way."""
    return "".join(f"%{byte:02X}" for byte in path.encode(errors="surrogatepass"))


def png(width: int, height: int) -> bytes:
    """The head of a PNG that claims a size, and next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 422, ("nothing", "text, id or vector")),
        ("text=", 422, ("empty",)),
        ("text=+%09", 422, ("empty",)),
        ("text=a&id=b", 422, ("text and id",)),
        ("text=a&text=b", 422, ("twice",)),
        ("text=" + "a" * 2001, 413, ("2000", "shorten")),
        ("text=a&k=0", 422, ("k", "'0'")),
        ("text=a&k=201", 422, ("200",)),
        ("text=a&k=1e9", 422, ("k",)),
        ("text=a&k=-1", 422, ("k",)),
        ("text=a&target=video", 422, ("'image' or 'text'",)),
        ("text=a&split=nowhere", 422, ("'nowhere'", "test, train, val")),
        ("text=a&split=val%00", 422, ("no split",)),
        ("text=a&label=zebra", 422, ("zebra", "dog")),
        ("text=a&valence=9,2", 422, ("smaller number first",)),
        ("text=a&valence=nan,nan", 422, ("valence",)),
        ("text=a&valence=2", 422, ("valence",)),
        ("text=a&valence=x,y", 422, ("valence",)),
        ("text=a&colour=red", 422, ("'colour'",)),
        ("id=photo+99.png", 404, ("photo 99.png", "near to it are photo ")),
        ("id=..%2F..%2Fetc%2Fpasswd", 404, ("no photo",)),
        ("id=%00", 404, ("no photo",)),
        ("text=a" + "&label=dog" * 101, 413, ("label",)),
    ],
)
def test_query_strings(ask: TestClient, query: str, status: int, words: tuple[str, ...]) -> None:
    refused(ask.get(f"/api/search?{query}"), status, *words)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, ("no JSON",)),
        (b"{", 400, ("no JSON",)),
        (b"\xff\xfe", 400, ("no JSON",)),
        (b"[" * 100_000, 400, ("no JSON",)),
        (b"[]", 422, ("no JSON object; send one with",)),
        (b"null", 422, ("no JSON object; send one with",)),
        (b'{"text": "a", "valence": [1, 2, 3]}', 422, ("valence is not an interval", "two finite numbers")),
        (b'{"text": "a", "arousal": [1]}', 422, ("arousal is not an interval",)),
        (b'{"text": "a", "dominance": "1,2"}', 422, ("dominance is not an interval",)),
        (b'{"queries": [null]}', 422, ("queries.0 is null",)),
        (b'{"text": "a", "k": true}', 422, ("k is true",)),
        (b'{"text": "\\ud800"}', 400, ("no JSON",)),
        (b'{"text": 5}', 422, ("text",)),
        (b'{"vector": [1, 2]}', 422, ("2 numbers", "16")),
        (b'{"vector": []}', 422, ("0 numbers",)),
        (b'{"vector": "abc"}', 422, ("vector",)),
        (json.dumps({"vector": [float("nan")] * 16}).encode(), 422, ("NaN or infinity",)),
        (json.dumps({"vector": [float("-inf")] * 16}).encode(), 422, ("NaN or infinity",)),
        (b'{"vector": [' + b",".join([b"1e999"] * 16) + b"]}", 422, ("NaN or infinity",)),
        (json.dumps({"vector": [0.0] * 16}).encode(), 422, ("zero",)),
        (json.dumps({"vector": [1.0] * 70_000}).encode(), 413, ("vector",)),
        (json.dumps({"queries": []}).encode(), 422, ("empty",)),
        (json.dumps({"queries": [{"text": "a"}] * 65}).encode(), 413, ("queries", "64")),
        (json.dumps({"queries": [{"text": "a"}, {}]}).encode(), 422, ("nothing",)),
        (json.dumps({"queries": [{"text": "a", "k": 3}]}).encode(), 422, ("queries.0.k",)),
        (json.dumps({"queries": [{"text": "a"}], "text": "b"}).encode(), 422, ("both",)),
        (json.dumps({"text": "a", "k": 10**30}).encode(), 422, ("k",)),
        (json.dumps({"text": "a", "k": 1.5}).encode(), 422, ("k",)),
        (json.dumps({"text": "a", "image": "/etc/passwd"}).encode(), 422, ("no field 'image'",)),
        (json.dumps({"text": "a" * 10_000_000}).encode(), 413, ("2 MiB",)),
        (json.dumps({"text": "a" * 1_000_000}).encode(), 413, ("2000",)),
    ],
)
def test_json_bodies(ask: TestClient, body: bytes, status: int, words: tuple[str, ...]) -> None:
    refused(
        ask.post("/api/search", content=body, headers={"Content-Type": "application/json"}), status, *words
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ("cannot identify",)),
        (b"hello", ("cannot identify",)),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", ("cannot identify",)),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, ()),
        (png(60_000, 60_000), ("pixels",)),
        (png(8_000, 8_000), ("8000x8000 pixels",)),
        (png(100, 100), ()),
    ],
)
def test_broken_photos_and_bombs(ask: TestClient, body: bytes, words: tuple[str, ...]) -> None:
    answer = ask.post("/api/search", content=body, headers={"Content-Type": "image/png"})
    refused(answer, 422, "cannot read the photo", *words)


def test_a_photo_cut_off_is_refused(ask: TestClient) -> None:
    file = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(file, format="JPEG")
    half = file.getvalue()[: len(file.getvalue()) // 2]
    refused(ask.post("/api/search", content=half, headers={"Content-Type": "image/jpeg"}), 422, "truncated")


def test_a_photo_too_large_is_refused(ask: TestClient) -> None:
    body = b"\0" * (questions.MAX_IMAGE_BYTES + 1)
    refused(ask.post("/api/search", content=body, headers={"Content-Type": "image/jpeg"}), 413, "20 MiB")


def test_a_body_of_unknown_length_is_counted(ask: TestClient) -> None:
    chunks = (b" " * 2**16 for _ in range(questions.MAX_JSON_BYTES // 2**16 + 1))
    answer = ask.post("/api/search", content=chunks, headers={"Content-Type": "application/json"})
    refused(answer, 413, "2 MiB")


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "multipart/form-data; boundary=x", "image/svg+xml", "image/tiff"]
)
def test_other_content_types_are_refused(ask: TestClient, kind: str) -> None:
    refused(
        ask.post("/api/search", content=b"x", headers={"Content-Type": kind}),
        415,
        "application/json",
        "image/jpeg",
    )


HOSTILE = [
    "../secret.jpg",
    "sub/../../secret.jpg",
    "..%2fsecret.jpg",
    "/etc/passwd",
    "//etc/passwd",
    "sub//photo 01.png",
    "./sub/photo 01.png",
    "out.jpg",
    "up/secret.jpg",
    "loop.jpg",
    "sub",
    "",
    ".",
    "..",
    "sub/photo 01.png\0.jpg",
    "..\\secret.jpg",
    "a" * 5000,
    "~/secret.jpg",
    "missing.jpg",
    "notes.txt",
    "lie.jpg",
    "\udcff.jpg",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_nothing_outside_the_photos_is_read(world, ask: TestClient, path: str) -> None:
    root = PhotoRoot(world.root)
    with pytest.raises(NoPicture):
        root.open(path)
    refused(ask.get(f"/images/{spelled(path)}"), 404)


def test_links_that_stay_inside_are_followed(world, ask: TestClient) -> None:
    assert ask.get("/images/inside.png").content == (world.root / "sub" / "photo 01.png").read_bytes()


SEGMENTS = st.sampled_from(
    ["..", ".", "", "up", "out.jpg", "secret.jpg", "sub", "photo 01.png", "etc", "\0", "\\"]
)


@given(st.lists(SEGMENTS | st.text(max_size=8), max_size=8).map("/".join) | st.text())
@example("up/photos/sub/photo 01.png")
def test_paths_never_lead_outside(world, path: str) -> None:
    """Whatever is read is, by its real path, below the root."""
    root = PhotoRoot(world.root)
    try:
        found = root.locate(path)
    except NoPicture:
        return
    assert found.resolve().is_relative_to(world.root.resolve())
    assert found.is_file()


@given(st.lists(SEGMENTS | st.text(max_size=8), max_size=8).map("/".join))
def test_the_secret_is_never_served(world, ask: TestClient, path: str) -> None:
    secret = (world.root.parent / "secret.jpg").read_bytes()
    answer = ask.get(f"/images/{spelled(path)}")
    assert answer.content != secret
    assert answer.status_code in (200, 404)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST", "OPTIONS", "TRACE"])
@pytest.mark.parametrize(
    "path", ["/", "/images/inside.png", "/api/index", "/health", "/metrics", "/page/search.js"]
)
def test_nothing_is_written(ask: TestClient, method: str, path: str) -> None:
    refused(ask.request(method, path), 405, "read-only")


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/health/", "/page/app.py", "/page/..%2fapp.py", "/nothing", "/api"]
)
def test_there_is_nothing_else(ask: TestClient, path: str) -> None:
    refused(ask.get(path), 404)
