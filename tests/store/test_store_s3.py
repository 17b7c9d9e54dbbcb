"""What only an S3 server can do to a store: refuse, vanish, lie, and harm bytes on the way."""

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support.faulty_proxy import Fault, Proxy
from support.s3_server import S3Server, client_of
from support.store_helpers import FILES, KEY, contents, draft, folder_with

from mmer_core.errors import StoreError
from mmer_core.store import ArtifactKey, Store, open_store
from mmer_core.store.s3 import S3Backend

pytestmark = pytest.mark.integration
SECRET = "testsecret12345"
MANIFEST = f"artifacts/{KEY}/manifest.json"


@pytest.fixture
def proxied(remote_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    """A store behind the faulty proxy."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    return open_store(remote_url, tmp_path / "cache")


def sentence_of(error: pytest.ExceptionInfo[StoreError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert SECRET not in text
    return text


@pytest.mark.parametrize(
    ("name", "value"), [("AWS_SECRET_ACCESS_KEY", "wrong-secret"), ("AWS_ACCESS_KEY_ID", "nobody")]
)
def test_wrong_credentials(
    remote_url: str, source: Path, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    store = open_store(remote_url)
    for ask in (lambda: store.has(KEY), lambda: store.publish(source, draft()), lambda: list(store.list())):
        with pytest.raises(StoreError) as error:
            ask()
        assert "AWS_SECRET_ACCESS_KEY" in sentence_of(error)
        assert value not in sentence_of(error)


def test_missing_credentials(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(StoreError) as error:
        open_store(s3_url).has(KEY)
    assert "there are no credentials" in sentence_of(error)


def test_missing_bucket(remote_url: str, source: Path) -> None:
    store = open_store("s3://absent-bucket/x")
    for ask in (
        lambda: store.has(KEY),
        lambda: store.manifest(KEY),
        lambda: store.publish(source, draft()),
        lambda: list(store.list()),
    ):
        with pytest.raises(StoreError) as error:
            ask()
        assert "there is no bucket 'absent-bucket'" in sentence_of(error)


def test_unreachable_server(s3_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{unused.getsockname()[1]}")
        store = Store(S3Backend("artifacts", attempts=2), tmp_path)
        with pytest.raises(StoreError, match=r"cannot be reached at http://127\.0\.0\.1") as error:
            store.has(KEY)
        sentence_of(error)


def test_settings_that_make_no_sense(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "not an address")
    with pytest.raises(StoreError, match="AWS_"):
        open_store(s3_url)


def test_large_files_go_up_in_parts(remote_url: str, s3: S3Server, tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes((11 << 20) + 17)
    prefix = remote_url.rpartition("/")[2]
    store = Store(S3Backend(s3.bucket, prefix, part_size=5 << 20), tmp_path / "cache")
    store.publish(folder_with(tmp_path / "large", {"big.npy": data}), draft())
    assert contents(store.fetch(KEY)) == {"big.npy": data}
    listed = client_of(s3).list_objects_v2(Bucket=s3.bucket, Prefix=f"{prefix}/blobs/")["Contents"]
    assert listed[0]["ETag"].strip('"').endswith("-3")  # S3's mark of an upload in three parts


def test_more_artifacts_than_one_page_lists(remote_url: str, s3: S3Server) -> None:
    client, prefix = client_of(s3), remote_url.rpartition("/")[2]

    def put(number: int) -> None:
        client.put_object(
            Bucket=s3.bucket, Key=f"{prefix}/artifacts/shard/{number:04d}/manifest.json", Body=b"{}"
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(1005)))
    assert [key.digest for key in open_store(remote_url).keys("shard")] == [
        f"{number:04d}" for number in range(1005)
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    "fault",
    [
        Fault("flip_request", "PUT", "/blobs/"),
        Fault("flip_request", "PUT", "manifest.json"),
        Fault("reset", "PUT", "/blobs/"),
        Fault("busy", "PUT", "/blobs/", times=2),
        Fault("lose_answer", "PUT", "/blobs/"),
        Fault("lose_answer", "PUT", "manifest.json"),
        Fault("busy", "PUT", "manifest.json"),
        Fault("flip_answer", "GET", "/blobs/"),
        Fault("flip_answer", "GET", "manifest.json"),
        Fault("cut_answer", "GET", "/blobs/"),
        Fault("cut_answer", "GET", "manifest.json"),
        Fault("busy", "GET", "manifest.json"),
    ],
    ids=lambda fault: f"{fault.action}-{fault.method}-{fault.path.strip('/')}",
)
def test_a_passing_fault_does_no_harm(proxied: Store, proxy: Proxy, fault: Fault, tmp_path: Path) -> None:
    source = folder_with(tmp_path / "one", {"a.npy": FILES["a.npy"]})
    proxy.faults.append(fault)
    proxied.publish(source, draft())
    assert contents(proxied.fetch(KEY)) == {"a.npy": FILES["a.npy"]}
    assert fault.times == 0  # the fault did happen
    assert proxied.verify(KEY) == []


FETCHING = """
import sys, time
from pathlib import Path
from mmer_core.store import ArtifactKey, open_store
from mmer_core.usage import Meter
url, cache, go = sys.argv[1:4]
store = open_store(url, Path(cache))
store.has(ArtifactKey("none", "0"))
print("ready", flush=True)
while not Path(go).exists():
    time.sleep(0.001)
with Meter() as meter:
    store.fetch(ArtifactKey.parse(sys.argv[4]))
print(meter.usage().bytes_fetched)
"""


def test_two_processes_of_a_machine_fetch_an_artifact_once(s3_url: str, tmp_path: Path) -> None:
    files = {f"{number}.npy": bytes([number]) * 700_000 for number in range(12)}
    open_store(s3_url).publish(folder_with(tmp_path / "one", files), draft())
    command = [
        sys.executable,
        "-c",
        FETCHING,
        s3_url,
        str(tmp_path / "cache"),
        str(tmp_path / "go"),
        str(KEY),
    ]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.stdout and process.stdout.readline() for process in both] == ["ready\n"] * 2
    (tmp_path / "go").touch()
    fetched = [int(process.communicate(timeout=60)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    data = sum(map(len, files.values()))
    assert data <= sum(fetched) <= 1.2 * data
    assert min(fetched) < 0.1 * data, "one fetched and the other waited"


def test_every_acknowledgement_lost_still_reads_back(proxied: Store, proxy: Proxy, source: Path) -> None:
    proxied.ensure_writable()
    proxy.faults.append(Fault("lose_answer", "PUT", "manifest.json", times=1000))
    proxied.publish(source, draft())
    creations = [request for request in proxy.requests if request.startswith("PUT") and MANIFEST in request]
    assert len(creations) > 1
    assert contents(proxied.fetch(KEY)) == FILES


@pytest.mark.parametrize(
    ("action", "says"),
    [("ignore_condition", "ignores conditional writes"), ("ignore_checksum", "does not check checksums")],
)
def test_a_server_that_lies_is_refused_before_anything_is_stored(
    proxied: Store, proxy: Proxy, source: Path, action: str, says: str
) -> None:
    proxy.faults.append(Fault(action, "PUT", "/probe/", times=1000))
    with pytest.raises(StoreError, match=says) as error:
        proxied.publish(source, draft())
    sentence_of(error)
    assert not any("/blobs/" in request for request in proxy.requests)


def test_the_probe_runs_once_and_leaves_nothing(
    proxied: Store, proxy: Proxy, s3: S3Server, remote_url: str, source: Path
) -> None:
    proxied.publish(source, draft())
    open_store(remote_url).publish(source, draft(ArtifactKey("other", "1")))
    probes = [request for request in proxy.requests if "/probe/" in request]
    assert len({request.split("/probe/")[1][:32] for request in probes}) == 1
    prefix = remote_url.rpartition("/")[2]
    assert "Contents" not in client_of(s3).list_objects_v2(Bucket=s3.bucket, Prefix=f"{prefix}/probe/")
