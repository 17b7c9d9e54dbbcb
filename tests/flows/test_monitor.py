"""`mmer monitor` adds up what several processes push by OpenTelemetry's own exporter."""

import gzip
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from support import scraped

from flows import monitoring
from flows.monitoring import app
from mmer_core.signals import STAGE_RUNS, STORE_READ, Counted


@pytest.fixture
def service() -> Iterator[TestClient]:
    with TestClient(app(prefect=False)) as client:
        yield client


class Process:
    """Counts as the SDK does, and gives what it would push."""

    def __init__(self, temporality: AggregationTemporality = AggregationTemporality.DELTA) -> None:
        self.reader = InMemoryMetricReader({Counter: temporality})
        self.provider = MeterProvider([self.reader])

    def add(self, counted: Counted, amount: float, **attributes: str) -> None:
        meter = self.provider.get_meter("mmer")
        meter.create_counter(counted.name, counted.unit).add(amount, attributes)

    def pushed(self) -> bytes:
        found = self.reader.get_metrics_data()
        assert found is not None
        return encode_metrics(found).SerializeToString()


def figures(service: TestClient) -> scraped.Figures:
    return scraped.figures(service.get("/metrics").text)


def test_what_several_processes_push_is_added_up(service: TestClient) -> None:
    processes = [Process(), Process()]
    for amount in (1, 2):
        for process in processes:
            process.add(STAGE_RUNS, amount, stage="model", outcome="made")
            process.add(STORE_READ, 0.5 * amount, store="s3")
            assert service.post("/v1/metrics", content=process.pushed()).status_code == 200
    packed = {"content-encoding": "gzip"}
    processes[0].add(STAGE_RUNS, 1, stage="model", outcome="failed")
    assert service.post(
        "/v1/metrics", content=gzip.compress(processes[0].pushed()), headers=packed
    ).is_success
    found = figures(service)
    assert found["mmer_stage_runs_total", "model", "made"] == 6
    assert found["mmer_stage_runs_total", "model", "failed"] == 1
    assert found["mmer_store_read_bytes_total", "s3"] == 3


def test_every_series_begins_at_nothing(service: TestClient) -> None:
    found = figures(service)
    assert found["mmer_stage_runs_total", "poison-outcome", "failed"] == 0
    assert found["mmer_job_runs_total", "nightly", "completed"] == 0
    assert not any(found.values())


def test_what_cannot_be_added_up_is_refused(service: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = Process(AggregationTemporality.CUMULATIVE)
    sums.add(STAGE_RUNS, 1, stage="model", outcome="made")
    answer = service.post("/v1/metrics", content=sums.pushed())
    assert answer.status_code == 400
    assert "TEMPORALITY_PREFERENCE=delta" in answer.text
    assert service.post("/v1/metrics", content=b"no message").status_code == 400
    for how, content in (("gzip", b"not packed"), ("br", b"")):
        refused = service.post("/v1/metrics", content=content, headers={"content-encoding": how})
        assert refused.status_code == 400
    monkeypatch.setattr(monitoring, "MOST_BYTES", 1000)
    bomb = gzip.compress(bytes(100_000))
    for headers, content in (({}, bytes(1001)), ({"content-encoding": "gzip"}, bomb)):
        answer = service.post("/v1/metrics", content=content, headers=headers)
        assert (answer.status_code, answer.text) == (400, "this is larger than 1000 bytes")
    assert not any(figures(service).values())


def test_nobody_makes_more_series_than_there_is_room_for(
    service: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(figures(service))
    monkeypatch.setattr(monitoring, "MOST_SERIES", before)
    process = Process()
    for number in range(before):
        process.add(STAGE_RUNS, 1, stage=f"kind {number}", outcome="made")
    process.add(STAGE_RUNS, 1, stage="model", outcome="made", sample="one")
    process.add(Counted("others.runs", "", "", ()), 1)
    assert service.post("/v1/metrics", content=process.pushed()).is_success
    found = figures(service)
    stages = [name for name in found if name[0] == "mmer_stage_runs_total"]
    assert len(stages) == before
    assert not any("sample" in name or "others" in name[0] for name in found)
    assert found["mmer_stage_runs_total", "model", "made"] == 0
