"""boto3's errors in words of the store: one sentence each, without secrets."""

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

from mmer_core.errors import StoreError
from mmer_core.store.backend import MissingObjectError

# A record of TLS that was altered on the way raises urllib3's own error out of the middle of a body.
BROKEN_OFF = (HTTPClientError, ConnectionError, IncompleteReadError, HTTPError)
"""What boto3 raises when a connection breaks off."""

# Raised as a ValueError: a date of which a part is missing.
CUT_ANSWER = (ResponseParserError, ValueError)
"""What boto3 raises when it takes the part of an answer that arrived for all of it."""

_MISSING = {"NoSuchKey", "404", "NotFound"}
_TAKEN = {"PreconditionFailed", "412"}
_RACING = {"ConditionalRequestConflict", "409"}
_DAMAGED = {
    "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody",
    "NoSuchUpload",  # a collection took an upload in parts for that of a killed writer: it has to begin anew
}  # fmt: skip


class TakenError(StoreError):
    """A conditional create found something there."""


class RacingError(StoreError):
    """A conditional create met another one at the same moment; either may have won."""


class DamagedUploadError(StoreError):
    """The bytes that arrived are not those that were sent."""


@contextmanager
def translated(doing: str, url: str, endpoint: str, has_bucket: Callable[[], bool]) -> Iterator[None]:
    """Turn an error of boto3 into a `StoreError`.

    Args:
        doing: What was tried (``"reading blobs/…"``).
        url: The store, and ``endpoint`` the server behind it, both free of secrets.
        has_bucket: Asked when something is missing, as the answer to a HEAD does not say what.
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
            f"{doing} failed because {url} at {endpoint} answers in part only ({type(error).__name__}): check the "
            "network, or what stands between here and the server"
        ) from error
    except BotoCoreError as error:
        raise StoreError(
            f"{doing} failed in {url} ({type(error).__name__}): check the AWS settings"
        ) from error


def _refusal(
    error: ClientError, doing: str, url: str, endpoint: str, has_bucket: Callable[[], bool]
) -> StoreError:
    """What an answer of the server means; its own message is left out, as it may quote the request."""
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
