"""What the policies of ``docker/policies`` allow on a real server, which enforces them: each role what it needs, and no more."""

from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from support.s3_server import ROLES, TEAM, S3Server, client_of, credentials_of
from support.store_helpers import FILES, KEY, contents, draft

from mmer_core.errors import StoreError
from mmer_core.store import ArtifactKey, Store, open_store

pytestmark = pytest.mark.integration
As = Callable[[str], Store]


@pytest.fixture
def store_of(s3: S3Server, s3_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> As:
    """Opens the team's store, or another one in the bucket, as somebody with a role. ``s3_url`` sets the server's address."""
    client = client_of(s3)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=s3.bucket, Prefix=f"{TEAM}/"):
        for entry in page.get("Contents", ()):
            client.delete_object(Bucket=s3.bucket, Key=entry["Key"])

    def open_as(role: str, prefix: str = TEAM) -> Store:
        for name, value in credentials_of(role).items():
            monkeypatch.setenv(name, value)
        return open_store(f"s3://{s3.bucket}/{prefix}", tmp_path / f"cache of {role}")

    return open_as


def test_a_writer_publishes_and_a_reader_fetches(store_of: As, source: Path) -> None:
    writer = store_of("writer")
    writer.ensure_writable()
    writer.publish(source, draft())
    for role in ROLES:
        assert contents(store_of(role).fetch(KEY)) == FILES


def test_a_reader_writes_nothing(store_of: As, source: Path) -> None:
    store_of("writer").publish(source, draft())
    reader = store_of("reader")
    for refused in (
        lambda: reader.publish(source, draft(ArtifactKey(KEY.kind, "4567"))),
        lambda: reader.delete(KEY),
        lambda: reader.gc(older_than=0.0),
    ):
        with pytest.raises(StoreError, match="credentials"):
            refused()
    assert contents(store_of("writer").fetch(KEY)) == FILES


def test_a_writer_deletes_nothing(store_of: As, source: Path) -> None:
    writer = store_of("writer")
    writer.publish(source, draft())
    for refused in (lambda: writer.delete(KEY), lambda: writer.gc(older_than=0.0)):
        with pytest.raises(StoreError, match="credentials"):
            refused()
    assert store_of("reader").has(KEY)


def test_a_collector_frees_what_nothing_uses(store_of: As, source: Path) -> None:
    store_of("writer").publish(source, draft())
    collector = store_of("collector")
    collector.delete(KEY)
    freed = collector.gc(older_than=0.0)
    assert freed
    assert not store_of("reader").has(KEY)


@pytest.mark.parametrize("role", ROLES)
def test_no_role_reaches_the_store_of_another_team(
    role: str, store_of: As, source: Path, s3: S3Server, s3_url: str
) -> None:
    client = client_of(s3)
    client.put_object(Bucket=s3.bucket, Key=f"{TEAM}-other/artifacts/{KEY}/manifest.json", Body=b"{}")
    theirs = store_of(role, f"{TEAM}-other")
    for refused in (
        lambda: theirs.manifest(KEY),
        lambda: list(theirs.list()),
        lambda: theirs.publish(source, draft()),
        lambda: theirs.delete(KEY),
    ):
        with pytest.raises(StoreError):
            refused()
    client.head_object(Bucket=s3.bucket, Key=f"{TEAM}-other/artifacts/{KEY}/manifest.json")
    with pytest.raises(ClientError):
        client.head_object(Bucket=s3.bucket, Key=f"{TEAM}-other/artifacts/{KEY}/absent")
