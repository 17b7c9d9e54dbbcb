"""Every reader of outside files, called as the commands call it on a folder that holds one input."""

import socket
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from mmer_core.errors import MmerError

# What is heavy is imported by the function that needs it: a worker that never reads a list needs no torch.
from tools.fuzz import by_kind


class Refused(Exception):
    """The input was answered with an error, in words."""


class Broken(Exception):
    """What must not be."""


def images(folder: Path) -> None:
    from mmer_core.datasets.pixels import UnreadableImageError, read_rgb

    try:
        read_rgb(folder / "photo").load()
    except UnreadableImageError as error:
        raise Refused(str(error)) from None


def archives(folder: Path) -> None:
    from mmer_core.datasets.archives import is_archive, unpacked

    (archive,) = filter(is_archive, folder.iterdir())
    unpacked(archive, folder / "unpacked")
    before = {archive, folder / "unpacked"}
    if set(folder.iterdir()) - before:
        raise Broken("files outside of the folder")


def annotations(folder: Path) -> None:
    from mmer_core.datasets.emotic_mat import load_annotations

    load_annotations(folder / "Annotations.mat")


def flickr(folder: Path) -> None:
    from mmer_core.datasets.formats.flickr8k import read_flickr8k

    karpathy = (folder / "dataset_flickr8k.json").exists()
    read_flickr8k(folder, splits="karpathy" if karpathy else "official")


def sidecars(folder: Path) -> None:
    from mmer_core.datasets.people_text import read_sidecar

    read_sidecar(folder / "captions.csv")


def coco(folder: Path) -> None:
    from mmer_core.datasets.coco_captions import read_coco_captions

    read_coco_captions([folder / "captions.json"])


def manifests(folder: Path) -> None:
    from mmer_core.datasets.formats.manifest import manifest_identity, read_manifest

    (path,) = (one for one in folder.glob("manifest.*") if not one.name.endswith(".labels.json"))
    raw = read_manifest(path)
    manifest_identity(path)
    if len({sample.id for sample in raw.samples}) < len(raw.samples):
        raise Broken("two samples have the same id")


def configurations(folder: Path) -> None:
    from flows.configurations import configuration_source

    (path,) = folder.glob("config.*")
    configuration_source(["train", "--config", str(path)])


def photo_lists(folder: Path) -> None:
    from mmer_core.prediction.photos import listed_photos

    listed_photos(folder / "list.csv")


def queries(folder: Path) -> None:
    from mmer_core.querying.batch import read_queries

    (path,) = folder.glob("q.*")
    read_queries(path)


def artifacts(folder: Path) -> None:
    from mmer_core.store import open_store
    from tools.fuzz.seeds import KEY

    store = open_store(str(folder / "store"), folder / "cache")
    list(store.keys())
    fetched = store.fetch(KEY)
    if _contents(fetched) != _contents(folder / "expected"):
        raise Broken("damage was not reported")
    if store.verify(KEY):
        raise Broken("damage was found after it was read")


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def requests(folder: Path) -> None:
    status = _answered(_service(), (folder / "request").read_bytes())
    if status is not None and status >= 500 and status != 503:
        raise Broken(f"answered with {status}")
    if _answered(_service(), _ALIVE) != 200:
        raise Broken("the service is no longer alive")
    if status != 200:
        raise Refused(f"answered with {status}")


_ALIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_PATIENCE = 3.0
"""Seconds without a byte after which a connection is closed: a request may announce more than it sends."""


def _answered(address: tuple[str, int], request: bytes) -> int | None:
    """The status; None where the connection was closed, or nothing came."""
    answer = b""
    with suppress(OSError), socket.create_connection(address, timeout=_PATIENCE) as connection:
        connection.sendall(request)
        while more := connection.recv(2**16):
            answer = (answer + more)[:200]
    words = answer.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None


class _Embedder:
    """Words and colours to directions, without weights."""

    def texts(self, texts: Sequence[str]) -> Any:
        return self._units([zlib.crc32(text.encode("utf-8", "replace")) for text in texts])

    def photos(self, photos: Sequence[Any]) -> Any:
        return self._units([photo.width for photo in photos])

    @staticmethod
    def _units(seeds: list[int]) -> Any:
        import numpy as np

        found = np.stack([np.random.default_rng(seed).normal(size=16) for seed in seeds])
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@cache
def _service() -> tuple[str, int]:
    """A service on a small index, which answers in a thread until this process ends."""
    import tempfile

    import faiss

    from mmer_core.querying import Searcher
    from mmer_core.retrieval import RetrievalIndex
    from mmer_core.retrieval.index import Settings, write_settings
    from mmer_core.retrieval.side_table import write_table
    from mmer_core.serving import IndexSnapshot, Service, listen
    from mmer_core.serving.server import Server

    ids = [f"photo {row:02d}" for row in range(20)]
    vectors = _Embedder().texts(ids)
    with tempfile.TemporaryDirectory(prefix="fuzz-index-") as temporary:
        folder = Path(temporary)
        for target in ("image", "text"):
            table = {"id": ids, "caption": ids, "split": ["train", "val"] * 10}
            write_table(folder / f"{target}s.parquet", table)
            flat = faiss.IndexFlatIP(16)
            flat.add(vectors)
            faiss.write_index(flat, str(folder / f"{target}.faiss"))
        write_settings(folder, {"image": Settings(), "text": Settings()})
        index = RetrievalIndex(folder)  # what it has opened outlives the names
    service = Service(IndexSnapshot(Searcher("index/fuzz", index, _Embedder(), "drawn")))
    listener = listen("127.0.0.1", 0)
    Server(service, listener).start()
    address: tuple[str, int] = listener.getsockname()
    while _answered(address, _ALIVE) != 200:
        time.sleep(0.01)
    return address


READERS: dict[str, Callable[[Path], None]] = by_kind(globals())
REFUSALS = (MmerError, Refused)
"""Errors that users see as one sentence."""
