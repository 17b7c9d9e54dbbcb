"""What several files about the store start from."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.faulty_proxy import Proxy, faulty_proxy
from support.s3_server import S3Server
from support.store_helpers import FILES, folder_with


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with the files of an artifact."""
    return folder_with(tmp_path / "source", FILES)


@pytest.fixture(params=["http", "tls"])
def remote_url(request: pytest.FixtureRequest) -> str:
    """Address of an empty store on the S3 server: the test runs over HTTP and over TLS."""
    return request.getfixturevalue({"http": "s3_url", "tls": "tls_url"}[request.param])


@pytest.fixture
def proxy(remote_url: str, s3: S3Server) -> Iterator[Proxy]:
    """A proxy before the S3 server, without faults yet."""
    with faulty_proxy(os.environ["AWS_ENDPOINT_URL_S3"], s3.certificate) as running:
        yield running
