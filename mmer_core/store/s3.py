"""Objects in a bucket of an S3-compatible server."""

import base64
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar
from urllib.parse import urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mmer_core import signals
from mmer_core.durable import finish
from mmer_core.errors import StoreError
from mmer_core.store.backend import CHUNK, MissingObjectError, StoredObject, disk_errors
from mmer_core.store.s3_errors import (
    BROKEN_OFF,
    CUT_ANSWER,
    DamagedUploadError,
    RacingError,
    TakenError,
    counted,
    translated,
)
from mmer_core.usage import count_fetched

_COPIED_WHOLE = 5 << 30
"""Size in bytes up to which a server copies an object in one request."""

_LONGEST_PROBE = 3600.0

_NOT_OFFERED = {"NotImplemented", "MethodNotAllowed"}

_FRAMES = {"content-length", "transfer-encoding"}
"""Every response with a body has one of these headers; without them, the response's head was cut off."""


class S3Backend:
    """Objects below a prefix of a bucket; endpoint, region and credentials as boto3 finds them.

    Uploads carry their SHA-256, which the server checks; downloads are hashed by the caller. Requests that fail because
    of a dropped connection or a busy server are retried before they become an error.

    Args:
        bucket: Name of an existing bucket.
        prefix: ``/``-separated segments below which everything is stored; may be empty.
        attempts: Number of tries before a request counts as failed.
        part_size: Larger files are uploaded in parts of this many bytes (S3 requires at least 5 MiB).
        timeout: Seconds without data after which a request counts as failed.

    Raises:
        StoreError: The AWS settings in the environment are invalid.
    """

    read_attempts = 3

    _probed: ClassVar[set[tuple[str, str]]] = set()
    _probing: ClassVar[Lock] = Lock()

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        attempts: int = 5,
        part_size: int = 64 << 20,
        timeout: float = 60.0,
    ) -> None:
        self.bucket = bucket
        self.url = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        self._prefix = f"{prefix}/" if prefix else ""
        self._attempts = attempts
        self._part_size = part_size
        try:
            self._client = _client(attempts, timeout)
        except (BotoCoreError, ValueError) as error:
            raise StoreError(f"the S3 settings for {self.url} do not work ({error}): check AWS_*") from error
        self.endpoint = _without_userinfo(self._client.meta.endpoint_url)

    def ensure_writable(self) -> None:
        """Probe the server once per process and store.

        Raises:
            StoreError: The server is not writable, or ignores conditional writes or checksums, so that
                two writers or a damaged upload could go unnoticed.
        """
        with self._probing:
            if (self.url, self.endpoint) in self._probed:
                return
            self._probe(f"probe/{uuid.uuid4().hex}")
            self._probed.add((self.url, self.endpoint))

    def put_file(self, key: str, source: Path, sha256: str, *, adopt: bool) -> None:
        size = source.stat().st_size
        for attempt in range(self._attempts):
            try:
                with self._errors(f"writing {key}"):
                    self._upload(key, source, size, sha256)
                    return
            except DamagedUploadError:
                _pause(attempt)
        raise StoreError(
            f"{source} arrived damaged at {self.url} {self._attempts} times: check the network, and that nothing "
            "writes to the file"
        )

    def put_bytes(self, key: str, data: bytes) -> None:
        with self._errors(f"writing {key}"):
            self._put(key, data)

    def create_exclusive(self, key: str, data: bytes) -> bool:
        for attempt in range(self._attempts):
            try:
                with self._errors(f"creating {key}"):
                    self._put(key, data, IfNoneMatch="*")
                    return True
            except (RacingError, DamagedUploadError):
                _pause(attempt)
            except TakenError:
                return False
            except StoreError:
                # Perhaps only the acknowledgement was lost: the caller reads back the stored bytes.
                if self.exists(key):
                    return False
                raise
        raise StoreError(
            f"{key} could not be created in {self.url} after {self._attempts} attempts: try again later"
        )

    def read_bytes(self, key: str) -> bytes:
        return b"".join(self._chunks(key))

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        return b"".join(self._chunks(key, start, stop))

    def path(self, key: str) -> Path | None:
        return None

    def hash(self, key: str) -> str:
        digest = hashlib.sha256()
        for chunk in self._chunks(key):
            digest.update(chunk)
        return digest.hexdigest()

    def materialise(self, key: str, target: Path) -> str:
        digest = hashlib.sha256()
        with disk_errors(target), target.open("xb") as file:
            try:
                for chunk in self._chunks(key):
                    digest.update(chunk)
                    file.write(chunk)
            except MissingObjectError:
                target.unlink()
                raise
            finish(file)
        return digest.hexdigest()

    def exists(self, key: str) -> bool:
        return self._head(key) is not None

    def stat(self, key: str) -> StoredObject | None:
        found = self._head(key)
        return _stored(key, found, "ContentLength") if found is not None else None

    def copy(self, source: str, target: str) -> None:
        original = self.stat(source)
        if original is None:
            raise MissingObjectError(f"{source} is missing from {self.url}")
        here, there = self._at(source), self._at(target)
        try:
            with self._errors(f"copying {source}"):
                if original.size <= _COPIED_WHOLE:
                    self._client.copy_object(CopySource=here, **there)
                else:
                    self._client.copy(here, **there)
        except StoreError:
            # Servers differ in their answer if the source was deleted meanwhile.
            if not self.exists(source):
                raise MissingObjectError(f"{source} is missing from {self.url}") from None
            raise
        copied = self.stat(target)
        if copied is None or copied.size != original.size:
            raise StoreError(f"{source} was not copied whole in {self.url}: try again later")

    def list(self, prefix: str) -> Iterator[StoredObject]:
        where = {"Bucket": self.bucket, "Prefix": self._prefix + prefix}
        with self._errors(f"listing {prefix}"):
            while True:
                page = self._ask("list_objects_v2", **where)
                for entry in page.get("Contents", ()):
                    yield _stored(entry["Key"].removeprefix(self._prefix), entry, "Size")
                if not page.get("IsTruncated"):
                    return
                where["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, key: str) -> bool:
        with self._errors(f"deleting {key}"):
            answer = self._client.delete_object(**self._at(key))
        return answer["ResponseMetadata"].get("RetryAttempts", 0) == 0

    def free_unfinished(self, before: float) -> Iterator[int]:
        """Abort incomplete multipart uploads, and remove leftovers of probes."""
        for upload in list(self._uploads()):
            where = {"Bucket": self.bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
            with self._errors("aborting an upload"), suppress(self._client.exceptions.NoSuchUpload):
                if upload["Initiated"].timestamp() < before:
                    parts = self._ask("list_parts", **where).get("Parts", ())
                    self._client.abort_multipart_upload(**where)
                    yield sum(part["Size"] for part in parts)
        for probe in list(self.list("probe/")):
            # A probe takes seconds; deleting one in use would make its process blame the server.
            if probe.modified < before - _LONGEST_PROBE:
                self.delete(probe.key)
                yield probe.size

    def _uploads(self) -> Iterator[dict[str, Any]]:
        """Incomplete multipart uploads of this store's contents."""
        where = {"Bucket": self.bucket, "Prefix": self._prefix}
        with self._errors("listing unfinished uploads"):
            while True:
                try:
                    page = self._ask("list_multipart_uploads", **where)
                except ClientError as error:
                    if error.response["Error"]["Code"] in _NOT_OFFERED:
                        return
                    raise
                for upload in page.get("Uploads", ()):
                    # A bucket without a prefix may have uploads that are not ours.
                    if upload["Key"].startswith((f"{self._prefix}blobs/", f"{self._prefix}trash/")):
                        yield upload
                if not page.get("IsTruncated"):
                    return
                where["KeyMarker"] = page["NextKeyMarker"]
                where["UploadIdMarker"] = page["NextUploadIdMarker"]

    def checkouts(self, cache: Path) -> Path:
        return cache

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._prefix + key}

    def _put(self, key: str, data: bytes, **conditions: str) -> None:
        checksum = _base64(hashlib.sha256(data).hexdigest())
        self._ask("put_object", **self._at(key), Body=data, ChecksumSHA256=checksum, **conditions)

    def _head(self, key: str) -> dict[str, Any] | None:
        """The server's metadata of an object, or None if it does not exist."""
        try:
            with self._errors(f"looking for {key}"):
                return self._ask("head_object", **self._at(key))
        except MissingObjectError:
            return None

    def _ask(self, operation: str, **request: Any) -> dict[str, Any]:
        """Make a request, and repeat it if the response is cut off before its body.

        boto3 retries only visible failures: it accepts a response head that ends too early, in which a date or a
        listing may be truncated.
        """
        for attempt in range(self._attempts):
            try:
                answer: dict[str, Any] = getattr(self._client, operation)(**request)
                if operation == "get_object" and _FRAMES.isdisjoint(
                    answer["ResponseMetadata"]["HTTPHeaders"]
                ):
                    raise ValueError("the answer does not say where its body ends")
                if operation == "head_object" and not {"ContentLength", "LastModified"} <= answer.keys():
                    raise ValueError("the answer ends before it says what is there")
                return answer
            except CUT_ANSWER:
                if attempt == self._attempts - 1:
                    raise
                _pause(attempt)
                if hasattr(request.get("Body"), "seek"):
                    request["Body"].seek(0)
        raise AssertionError("there is at least one attempt")

    def _upload(self, key: str, source: Path, size: int, sha256: str) -> None:
        if size <= self._part_size:
            with source.open("rb") as file:
                self._ask("put_object", **self._at(key), Body=file, ChecksumSHA256=_base64(sha256))
            return
        self._client.upload_file(
            str(source),
            self.bucket,
            self._prefix + key,
            ExtraArgs={"ChecksumAlgorithm": "SHA256"},
            Config=TransferConfig(multipart_threshold=self._part_size, multipart_chunksize=self._part_size),
        )
        if self._ask("head_object", **self._at(key)).get("ContentLength") != size:
            raise DamagedUploadError(f"{key} has another size in {self.url} than {source}")

    def _chunks(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """An object's bytes ``start:stop``; an interrupted body is resumed where it stopped."""
        position, failures = start, 0
        while True:
            end = "" if stop is None else stop - 1
            rest = {"Range": f"bytes={position}-{end}"} if position or stop is not None else {}
            with self._errors(f"reading {key}"):
                answer = self._ask("get_object", **self._at(key), **rest)
                try:
                    for chunk in answer["Body"].iter_chunks(CHUNK):
                        position += len(chunk)
                        count_fetched(len(chunk))
                        yield chunk
                    return
                except BROKEN_OFF:
                    failures += 1
                    if failures >= self._attempts:
                        raise
                    _pause(failures)

    def _probe(self, key: str) -> None:
        where = self._at(key)
        problem = None
        with self._errors("trying a write"):
            self._ask("put_object", **where, Body=b"first")
            if self._accepts(**where, Body=b"second", IfNoneMatch="*"):
                problem = "ignores conditional writes, so two writers could overwrite each other"
            elif self._accepts(**where, Body=b"third", ChecksumSHA256=_base64(hashlib.sha256().hexdigest())):
                problem = "does not check checksums, so a damaged upload would go unnoticed"
            self._client.delete_object(**where)
        if problem:
            raise StoreError(f"the server of {self.url} at {self.endpoint} {problem}: use another S3 server")

    def _accepts(self, **request: Any) -> bool:
        try:
            self._ask("put_object", **request)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 409, 412):
                return False
            raise
        return True

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        with counted(), translated(doing, self.url, self.endpoint, self._has_bucket):
            yield

    def _has_bucket(self) -> bool:
        """False only if the server says so: HEAD or GET of a missing object does not reveal whether the bucket exists."""
        try:
            self._client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"] != 404
        return True


def _stored(key: str, found: dict[str, Any], size: str) -> StoredObject:
    modified = float(found["LastModified"].timestamp())
    return StoredObject(key, found[size], modified, modified)


def _client(attempts: int, timeout: float) -> Any:
    # Making a client takes a third of a second and every task opens its store, so all threads share one.
    settings = frozenset(item for item in os.environ.items() if item[0].startswith("AWS_"))
    return _client_with(settings, attempts, timeout)


@lru_cache(maxsize=4)
def _client_with(settings: frozenset[tuple[str, str]], attempts: int, timeout: float) -> Any:
    """A client made from the environment; ``settings`` only distinguishes cached clients of different environments."""
    config = Config(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=min(10.0, timeout),
        read_timeout=timeout,
        max_pool_connections=64,
        request_checksum_calculation="when_supported",
        # Readers hash the bytes anyway, and report damage in the store's own terms.
        response_checksum_validation="when_required",
    )
    session = boto3.Session()
    # Servers other than Amazon's rarely have a DNS name per bucket.
    client = session.client("s3", config=config.merge(Config(s3={"addressing_style": "path"})))
    if (urlsplit(client.meta.endpoint_url).hostname or "").endswith(".amazonaws.com"):
        client = session.client("s3", config=config)
    client.meta.events.register("after-call.s3", _count_retries)
    return client


def _without_userinfo(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _base64(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode("ascii")


def _count_retries(parsed: dict[str, Any], **_: Any) -> None:
    """Of requests that boto3 repeated by itself until they succeeded."""
    repeated = parsed.get("ResponseMetadata", {}).get("RetryAttempts", 0)
    signals.add(signals.STORE_RETRIES, repeated, store="s3")


def _pause(attempt: int) -> None:
    signals.add(signals.STORE_RETRIES, 1, store="s3")
    time.sleep(min(0.1 * 2**attempt, 5.0))
