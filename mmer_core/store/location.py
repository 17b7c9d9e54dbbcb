"""Opening a store by its URL."""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mmer_core.errors import StoreError
from mmer_core.store.artifact import checked_path, checked_segment
from mmer_core.store.local import LocalBackend
from mmer_core.store.store import CACHE_BYTES, Store

_HALF_AN_ADDRESS = re.compile(r"(s3|file):(?!//)", re.IGNORECASE)


def open_store(url: str, cache: Path | None = None, cache_bytes: int = CACHE_BYTES) -> Store:
    """Open an artifact store; nothing is read or written yet.

    Args:
        url: A folder, ``file:///…``, or ``s3://bucket/prefix`` (endpoint, region and credentials from the
            usual AWS variables).
        cache: Where artifacts fetched from S3 are kept; ``$MMER_CACHE`` or ``~/.cache/mmer`` by default. A local
            store keeps its own checkouts, as hard links.
        cache_bytes: Maximal size of that cache; beyond it, the least recently used artifacts not in use are removed.

    Raises:
        StoreError: The URL is not supported.
    """
    if not url.strip():
        raise StoreError("the address of the store is empty: give a folder, file:///… or s3://bucket/prefix")
    if _HALF_AN_ADDRESS.match(url):
        raise StoreError(
            f"{url[:80]!r} is neither an address of a store nor a plain folder: write {url.partition(':')[0]}:// "
            "with two slashes, or ./ before the name of a folder"
        )
    cache = cache or Path(os.environ.get("MMER_CACHE") or "~/.cache/mmer")
    scheme, separator, _ = url.partition("://")
    match scheme if separator else "":
        case "":
            return Store(LocalBackend(Path(url)), cache, cache_bytes)
        case "file":
            return Store(LocalBackend(_file_path(url)), cache, cache_bytes)
        case "s3":
            from mmer_core.store.s3 import S3Backend  # local stores need not import boto3

            return Store(S3Backend(*_bucket_and_prefix(url)), cache, cache_bytes)
    raise StoreError(
        f"a store cannot be a {scheme[:20]}:// address: give a folder, file:///… or s3://bucket/prefix"
    )


def _file_path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or parts.path in ("", "/"):
        raise StoreError(f"{url!r} names no folder of this machine: write file:/// and an absolute path")
    return Path(unquote(parts.path, errors="surrogateescape"))  # file names are bytes


def _bucket_and_prefix(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        # Not quoted in the message, because it may contain a secret.
        raise StoreError(
            "an s3:// address holds a bucket and a prefix only: put credentials into AWS_* variables"
        )
    prefix = parts.path.strip("/")
    return checked_segment(parts.netloc, "bucket"), checked_path(prefix) if prefix else ""
