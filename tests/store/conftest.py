"""What several files about the store start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_proxy import Proxy, faulty_proxy
from s3_server import S3Server
from store_helpers import FILES, folder_with


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with the files of an artifact."""
    return folder_with(tmp_path / "source", FILES)


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[Proxy]:
    """A proxy before the S3 server, without faults yet."""
    with faulty_proxy(s3.endpoint) as running:
        yield running
