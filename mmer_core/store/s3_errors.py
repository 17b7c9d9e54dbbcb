"""Translating boto3's errors into the store's: one sentence each, without secrets."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from mmer_core import signals
from mmer_core.errors import StoreError
from mmer_core.store.backend import MissingObjectError

# A TLS record damaged in transit raises urllib3's own error in the middle of a body.
BROKEN_OFF = (HTTPClientError, ConnectionError, IncompleteReadError, HTTPError)
"""Exceptions of boto3 for a dropped connection."""

# Raised as a ValueError for a truncated date.
CUT_ANSWER = (ResponseParserError, ValueError)
"""Exceptions of boto3 for a truncated response that it mistakes for a complete one."""

_MISSING = {"NoSuchKey", "404", "NotFound"}
_TAKEN = {"PreconditionFailed", "412"}
_RACING = {"ConditionalRequestConflict", "409"}
_DAMAGED = {
    "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody",
    "NoSuchUpload",  # a collection aborted a multipart upload as a killed writer's leftover: start it again
}  # fmt: skip


class TakenError(StoreError):
    """A conditional create failed because an object exists."""


class RacingError(StoreError):
    """A conditional create collided with another one; either may have won."""


class DamagedUploadError(StoreError):
    """The stored bytes differ from the uploaded ones."""


@contextmanager
def counted() -> Iterator[None]:
    """Count what failed for good; not what a caller tries in another way, such as an object that is not there."""
    try:
        yield
    except StoreError as error:
        if type(error) is StoreError:
            signals.add(signals.STORE_ERRORS, 1, store="s3")
        raise


@contextmanager
def translated(doing: str, url: str, endpoint: str, has_bucket: Callable[[], bool]) -> Iterator[None]:
    """Convert an error of boto3 into a `StoreError`.

    Args:
        doing: The failed action (``"reading blobs/…"``).
        url: URL of the store, and ``endpoint`` of its server, both free of secrets.
        has_bucket: Called if something is missing, because the answer to a HEAD does not say what.
    """
    try:
        yield
    except S3UploadFailedError as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ClientError):
            raise _refusal(cause, doing, url, endpoint, has_bucket) from cause
        raise StoreError(f"{doing} failed in {url} at {endpoint}: try again later") from error
    except ClientError as error:
        raise _refusal(error, doing, url, endpoint, has_bucket) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StoreError(
            f"there are no credentials for {url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except BROKEN_OFF as error:
        raise StoreError(
            f"{doing} failed because {url} cannot be reached at {endpoint} ({type(error).__name__}): "
            "check AWS_ENDPOINT_URL and that the server runs"
        ) from error
    except CUT_ANSWER as error:
        raise StoreError(
            f"{doing} failed because {url} at {endpoint} returns incomplete answers ({type(error).__name__}): check the "
            "network, or a proxy before the server"
        ) from error
    except BotoCoreError as error:
        raise StoreError(
            f"{doing} failed in {url} ({type(error).__name__}): check the AWS settings"
        ) from error


def _refusal(
    error: ClientError, doing: str, url: str, endpoint: str, has_bucket: Callable[[], bool]
) -> StoreError:
    """The error for a refusal by the server; omits its own message, which may quote the request."""
    code = str(error.response.get("Error", {}).get("Code", "unknown"))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket" or (code in _MISSING and not has_bucket()):
        bucket = url.removeprefix("s3://").partition("/")[0]
        return StoreError(f"there is no bucket {bucket!r} at {endpoint}: create it or correct the address")
    if code in _MISSING:
        return MissingObjectError(f"{doing} failed because {url} does not hold it")
    if code in _TAKEN:
        return TakenError(f"{doing} in {url} found something there")
    if code in _RACING:
        return RacingError(f"{doing} in {url} met another writer")
    if code in _DAMAGED:
        return DamagedUploadError(f"{doing} in {url} arrived damaged")
    if status in (400, 401, 403):
        return StoreError(
            f"{url} at {endpoint} refuses this access ({code}): check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
            "and AWS_REGION, and what these credentials may do"
        )
    return StoreError(f"{doing} failed in {url} at {endpoint} ({code}, HTTP {status}): try again later")
