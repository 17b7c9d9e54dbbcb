"""What is counted of a store on a bad day: requests that were repeated, and those that failed for good."""

import os
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.faulty_proxy import Fault, faulty_proxy
from support.s3_server import S3Server
from support.store_helpers import FILES, KEY, draft

from mmer_core import signals
from mmer_core.errors import StoreError
from mmer_core.store import open_store

pytestmark = pytest.mark.integration


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> InMemoryMetricReader:
    """What this process counts; a provider for all of it can be set only once."""
    found = InMemoryMetricReader()
    meter = MeterProvider([found]).get_meter(signals.SCOPE)
    counters = {one: meter.create_counter(one.name, one.unit) for one in signals.COUNTED}
    monkeypatch.setattr(signals, "_counter", counters.__getitem__)
    return found


def counted(reader: InMemoryMetricReader, store: str) -> dict[str, float]:
    """So far, by name."""
    data = reader.get_metrics_data()
    metrics = data.resource_metrics[0].scope_metrics[0].metrics if data else []
    return {
        metric.name: sum(
            point.value for point in metric.data.data_points if point.attributes.get("store") == store
        )
        for metric in metrics
    }


def test_repeated_requests_and_failures_of_s3_are_counted(
    s3: S3Server,
    s3_url: str,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reader: InMemoryMetricReader,
) -> None:
    with faulty_proxy(os.environ["AWS_ENDPOINT_URL_S3"], s3.certificate) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        store = open_store(s3_url, tmp_path / "cache")
        store.publish(source, draft())
        sizes = sum(len(content) for content in {*FILES.values()})
        found = counted(reader, "s3")
        assert found["mmer.store.written"] == sizes
        assert not {"mmer.store.errors", "mmer.store.retries"} & found.keys()

        proxy.faults.append(Fault("busy", "GET", "/blobs/"))
        proxy.faults.append(Fault("cut_answer", "GET", "manifest.json"))
        store.fetch(KEY)
        found = counted(reader, "s3")
        assert found["mmer.store.retries"] == 2
        assert found["mmer.store.read"] == sum(map(len, FILES.values()))
        assert "mmer.store.errors" not in found

        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(StoreError):
            open_store(s3_url, tmp_path / "other").has(KEY)
        assert counted(reader, "s3")["mmer.store.errors"] == 1


def test_a_disk_that_cannot_be_used_is_counted(
    source: Path, tmp_path: Path, reader: InMemoryMetricReader
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "blobs").write_text("no folder")
    with pytest.raises(StoreError):
        open_store(str(tmp_path / "store")).publish(source, draft())
    assert counted(reader, "file")["mmer.store.errors"] == 1
