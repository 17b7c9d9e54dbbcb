"""What connections do on a bad day, over HTTP and over TLS: broken, half sent, silent, slow, harmed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.s3_server import S3Server
from support.store_helpers import KEY, contents, draft, folder_with
from support.tcp_proxy import Harmed, TcpProxy, tcp_proxy

from mmer_core.errors import StoreError
from mmer_core.store import Store, open_store
from mmer_core.store.s3 import S3Backend

pytestmark = pytest.mark.integration

DATA = np.random.default_rng(0).bytes(700_000)
# In the middle of the body, whatever the headers and the handshake of TLS add.
MIDDLE = 350_000


@pytest.fixture(scope="module", params=["http", "tls"])
def tunnel(request: pytest.FixtureRequest, s3: S3Server) -> Iterator[TcpProxy]:
    with tcp_proxy(s3.endpoint if request.param == "http" else s3.tls_endpoint) as running:
        yield running


@pytest.fixture
def proxy(tunnel: TcpProxy) -> TcpProxy:
    """A proxy that does no harm yet."""
    tunnel.harms.clear()
    tunnel.done = 0
    return tunnel


@pytest.fixture
def calm(proxy: TcpProxy, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store without the proxy."""
    url = request.getfixturevalue("tls_url" if proxy.endpoint.startswith("https") else "s3_url")
    return open_store(url, tmp_path / "calm")


@pytest.fixture
def store(
    calm: Store, proxy: TcpProxy, s3: S3Server, tmp_path: Path, monkeypatch, request: pytest.FixtureRequest
) -> Store:
    """The same store through the proxy; the probe of the server is behind it.

    Silence must be waited out, so there is little patience with it; elsewhere a busy machine may take its time.
    """
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    timeout = 2.0 if "stall" in request.node.name else 30.0
    backend = S3Backend(s3.bucket, calm.url.rpartition("/")[2], attempts=2, timeout=timeout)
    backend.ensure_writable()
    proxy.drop()
    return Store(backend, tmp_path / "cache")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return folder_with(tmp_path / "source", {"a.npy": DATA})


FAULTS = [
    Harmed("reset", "up", 0),
    Harmed("reset", "up", MIDDLE),
    Harmed("close", "up", MIDDLE),
    Harmed("stall", "up", MIDDLE),
    Harmed("delay", "up", MIDDLE, seconds=0.01),
    Harmed("reset", "down", 0),
    Harmed("close", "down", 0),
    Harmed("stall", "down", 0),
    Harmed("reset", "down", MIDDLE),
    Harmed("close", "down", MIDDLE),
    Harmed("stall", "down", MIDDLE),
    Harmed("delay", "down", MIDDLE, seconds=0.01),
    Harmed("flip", "up", MIDDLE),
    Harmed("flip", "down", MIDDLE),
]


@pytest.mark.parametrize(
    "fault",
    FAULTS,
    ids=lambda fault: f"{fault.harm}-{fault.direction}-{'middle' if fault.after else 'start'}",
)
def test_a_harmed_connection_does_no_harm(
    store: Store, calm: Store, proxy: TcpProxy, source: Path, fault: Harmed
) -> None:
    proxy.harms.append(Harmed(fault.harm, fault.direction, fault.after, seconds=fault.seconds))
    store.publish(source, draft())
    assert contents(store.fetch(KEY)) == {"a.npy": DATA}
    assert proxy.done == 1
    assert calm.verify(KEY) == []


def test_an_answer_that_is_cut_off_in_its_head_is_asked_for_again(
    store: Store, calm: Store, proxy: TcpProxy, source: Path
) -> None:
    """To an HTTP client the part that arrived is all of it: with half a date, or half a length."""
    manifest = calm.publish(source, draft())
    cuts = range(5, 400, 13)
    for after in cuts:
        for ask, expected in ((store.has, True), (store.manifest, manifest)):
            proxy.drop()
            proxy.harms.append(Harmed("close", "down", after))
            assert ask(KEY) == expected
    assert proxy.done >= len(cuts)


@pytest.mark.long
@pytest.mark.parametrize(
    ("harm", "direction"), [("reset", "up"), ("stall", "up"), ("close", "down"), ("stall", "down")]
)
def test_a_network_that_stays_broken_is_one_clear_error(
    store: Store, calm: Store, proxy: TcpProxy, source: Path, harm: str, direction: str
) -> None:
    proxy.harms.append(Harmed(harm, direction, 100_000, times=1000))
    if direction == "up":
        with pytest.raises(StoreError) as error:
            store.publish(source, draft())
        assert not calm.has(KEY)
        assert list(calm.list()) == []
        proxy.harms.clear()
        store.publish(source, draft())
    else:
        store.publish(source, draft())
        with pytest.raises(StoreError) as error:
            store.fetch(KEY)
        proxy.harms.clear()
    assert "\n" not in str(error.value)
    assert proxy.endpoint in str(error.value)
    assert "testsecret12345" not in str(error.value)
    assert contents(store.fetch(KEY)) == {"a.npy": DATA}
    assert calm.verify(KEY) == []


def test_an_upload_in_parts_survives_a_reset_in_each(
    calm: Store, proxy: TcpProxy, s3: S3Server, tmp_path: Path, monkeypatch
) -> None:
    """Over TLS the parts' checksums travel behind them."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    data = DATA * 16
    backend = S3Backend(s3.bucket, calm.url.rpartition("/")[2], part_size=5 << 20, timeout=5.0)
    store = Store(backend, tmp_path / "cache")
    store.ensure_writable()
    proxy.harms.append(Harmed("reset", "up", 3 << 20, times=2))
    store.publish(folder_with(tmp_path / "large", {"big.npy": data}), draft())
    assert proxy.done == 2
    assert contents(calm.fetch(KEY)) == {"big.npy": data}
