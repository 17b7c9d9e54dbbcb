"""What `mmer monitor` serves to Prometheus: sums of what runs push, and the queue of a Prefect server.

Runs and shards are processes that end, which Prometheus cannot ask. They push what they did since the last time (OTLP over
HTTP, with delta temporality), and what many processes push can be added up. A collector of OpenTelemetry cannot: it takes a
series to have one writer.
"""

import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any

from fastapi import FastAPI, Request, Response
from google.protobuf.message import DecodeError
from httpx import HTTPError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA, Metric, NumberDataPoint
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import PrefectHTTPStatusError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool

from flows.job_table import JOBS, load
from mmer_core.signals import COUNTED, JOB_RUNS, Counted
from mmer_core.stages import STAGES
from mmer_core.usage import LEGS

MOST_BYTES = 4 << 20
"""Of one push, unpacked."""
MOST_SERIES = 1000
"""Of one counter: nobody who can push may fill the memory."""
_PROTOBUF = "application/x-protobuf"
_KNOWN = {
    "outcome": ("made", "found", "failed"),
    "leg": LEGS,
    "store": ("file", "s3"),
}


class Refused(Exception):
    """A push that is not taken, and why."""


class Sums:
    """Counters of `mmer_core.signals`, to which processes add. All series begin at 0, so that a first failure is an increase."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counters = {
            one.name: Counter(
                one.in_prometheus.removesuffix("_total"), one.description, one.attributes, registry=registry
            )
            for one in COUNTED
        }
        self._series: dict[str, set[tuple[str, ...]]] = {one.name: set() for one in COUNTED}
        for one in COUNTED:
            for values in product(*(_values(one, name) for name in one.attributes)):
                self._add(one, values, 0.0)

    def take(self, body: bytes) -> None:
        """Add what a process pushed; metrics of others than mmer are left out.

        Raises:
            Refused: It is no such message, or its figures are no differences.
        """
        try:
            pushed = ExportMetricsServiceRequest.FromString(body)
        except DecodeError:
            raise Refused("this is no OTLP message of metrics") from None
        named = {one.name: one for one in COUNTED}
        found = [metric for metric in _metrics(pushed) if metric.name in named]
        for metric in found:
            if metric.sum.aggregation_temporality != AGGREGATION_TEMPORALITY_DELTA:
                raise Refused(
                    "figures of several processes can be added up only as differences: set "
                    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta where runs are"
                )
        for metric in found:
            for point in metric.sum.data_points:
                self._take(named[metric.name], point)

    def _take(self, counted: Counted, point: NumberDataPoint) -> None:
        given = {one.key: one.value.string_value for one in point.attributes}
        amount = point.as_int if point.HasField("as_int") else point.as_double
        if given.keys() == {*counted.attributes} and 0 <= amount < float("inf"):
            self._add(counted, tuple(given[name] for name in counted.attributes), amount)

    def _add(self, counted: Counted, values: tuple[str, ...], amount: float) -> None:
        series = self._series[counted.name]
        if values not in series and len(series) >= MOST_SERIES:
            return
        series.add(values)
        self._counters[counted.name].labels(*values).inc(amount)


def _values(counted: Counted, attribute: str) -> Iterable[str]:
    if attribute == "stage":
        for job in JOBS:
            load(job.flow)  # its stages are declared when it is imported
        return sorted({one.kind for one in STAGES.values()})
    if attribute == "job":
        return [job.name for job in JOBS]
    if (counted, attribute) == (JOB_RUNS, "outcome"):
        return ("completed", "failed")
    return _KNOWN[attribute]


def _metrics(pushed: ExportMetricsServiceRequest) -> Iterator[Metric]:
    for resource in pushed.resource_metrics:
        for scope in resource.scope_metrics:
            yield from scope.metrics


class Queue(Collector):
    """What a Prefect server knows of its pools, asked whenever Prometheus asks."""

    FAMILIES = (
        ("mmer_prefect_up", "Whether the Prefect server answers.", ()),
        (
            "mmer_queue_runs",
            "Runs that wait for a worker although it is time, and that run.",
            ("pool", "state"),
        ),
        ("mmer_queue_waiting_seconds", "For how long the run that waits longest has done so.", ("pool",)),
        ("mmer_queue_workers", "Workers that are online.", ("pool",)),
        (
            "mmer_deployment_completed_timestamp_seconds",
            "When a deployment with a schedule that is on last completed a run, or that was switched on.",
            ("deployment",),
        ),
    )

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return self._families().values()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        families = self._families()
        up = families["mmer_prefect_up"]
        try:
            with get_client(sync_client=True) as client:
                for name, values, figure in _asked(client):
                    families[name].add_metric(values, figure)
        except (HTTPError, PrefectHTTPStatusError):
            up.add_metric((), 0)
            return [up]
        up.add_metric((), 1)
        return families.values()

    def _families(self) -> dict[str, GaugeMetricFamily]:
        return {name: GaugeMetricFamily(name, about, labels=labels) for name, about, labels in self.FAMILIES}


def _asked(client: SyncPrefectClient) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """Name of a family, values of its labels, and the figure."""
    now = datetime.now(UTC)
    due = {
        "state": {"type": {"any_": ["SCHEDULED", "PENDING"]}},
        "expected_start_time": {"before_": now.isoformat()},
    }
    for pool in client.read_work_pools():
        here = {"work_pools": {"name": {"any_": [pool.name]}}}
        for state, wanted in (("waiting", due), ("running", {"state": {"type": {"any_": ["RUNNING"]}}})):
            count = client.request("POST", "/flow_runs/count", json={**here, "flow_runs": wanted}).json()
            yield "mmer_queue_runs", (pool.name, state), count
        longest = _first(
            client, {**here, "flow_runs": due, "sort": "EXPECTED_START_TIME_ASC"}, "expected_start_time"
        )
        yield "mmer_queue_waiting_seconds", (pool.name,), now.timestamp() - longest if longest else 0.0
        workers = client.read_workers_for_work_pool(pool.name)
        online = sum(worker.status == WorkerStatus.ONLINE for worker in workers)
        yield "mmer_queue_workers", (pool.name,), online
    for deployment in client.read_deployments():
        switched_on = [one.updated.timestamp() for one in deployment.schedules if one.active and one.updated]
        if switched_on:
            completed = {
                "deployments": {"id": {"any_": [str(deployment.id)]}},
                "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
                "sort": "END_TIME_DESC",
            }
            ended = _first(client, completed, "end_time")
            since = max(ended or 0.0, *switched_on)
            yield "mmer_deployment_completed_timestamp_seconds", (deployment.name,), since


def _first(client: SyncPrefectClient, wanted: dict[str, Any], field: str) -> float | None:
    """A time of the first run that a filter finds, in seconds since the epoch."""
    found = client.request("POST", "/flow_runs/filter", json={**wanted, "limit": 1}).json()
    return datetime.fromisoformat(found[0][field]).timestamp() if found and found[0][field] else None


def app(*, prefect: bool) -> FastAPI:
    """The service: ``POST /v1/metrics`` for runs, ``GET /metrics`` for Prometheus, ``GET /health``.

    Args:
        prefect: Whether there is a Prefect server to ask.
    """
    registry = CollectorRegistry()
    sums = Sums(registry)
    if prefect:
        registry.register(Queue())
    made = FastAPI(title="mmer monitor", docs_url=None, redoc_url=None, openapi_url=None)

    @made.post("/v1/metrics")
    async def take(request: Request) -> Response:
        try:
            sums.take(await _body(request))
        except Refused as why:
            return Response(str(why), 400, media_type="text/plain")
        return Response(ExportMetricsServiceResponse().SerializeToString(), media_type=_PROTOBUF)

    @made.get("/metrics")
    async def metrics() -> Response:
        text = await run_in_threadpool(generate_latest, registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    @made.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return made


async def _body(request: Request) -> bytes:
    """Unpacked. Raises `Refused` where it is larger than `MOST_BYTES`, or packed in an unknown way."""
    how = request.headers.get("content-encoding", "identity")
    if how not in ("identity", "gzip"):
        raise Refused(f"this is packed as {how}; leave it as it is, or use gzip")
    unpacker = zlib.decompressobj(wbits=31) if how == "gzip" else None
    found = bytearray()
    try:
        async for chunk in request.stream():
            found += unpacker.decompress(chunk, MOST_BYTES + 1 - len(found)) if unpacker else chunk
            if len(found) > MOST_BYTES or (unpacker and unpacker.unconsumed_tail):
                raise Refused(f"this is larger than {MOST_BYTES} bytes")
    except zlib.error:
        raise Refused("this is said to be gzip and is not") from None
    return bytes(found)
