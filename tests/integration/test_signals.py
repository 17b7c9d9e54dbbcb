"""What plain runs tell: metrics that `mmer monitor` adds up, and spans, by OpenTelemetry's own launcher."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from support import scraped
from support.otlp_collector import collector
from support.scraped import Figures

from mmer_core.store import Manifest, open_store

pytestmark = pytest.mark.integration

BIN = Path(sys.executable).parent
DATA = ["flickr8k", "--synthetic.images", "30", "--context-size", "32"]
QUICK = ["--encoders.image-size", "32", "--training.epochs", "2", "--evaluation.resamples", "20"]


@pytest.fixture
def monitor() -> Iterator[str]:
    """Its address."""
    env = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    command = [BIN / "mmer", "monitor", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=env | {"PYTHONUNBUFFERED": "1"}
    ) as running:
        assert running.stdout is not None
        found = re.search(r"asks (http://\S+)/metrics, without a queue", running.stdout.readline())
        try:
            assert found
            yield found[1]
        finally:
            running.send_signal(signal.SIGINT)


def run(
    monitor: str, folder: Path, *arguments: str, traces: str | None = None
) -> subprocess.CompletedProcess[str]:
    """A command that is watched, in a process of its own."""
    env = {
        "OTEL_SERVICE_NAME": "mmer",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{monitor}/v1/metrics",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_TRACES_EXPORTER": "otlp" if traces else "none",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{traces}/v1/traces",
    }
    where = ["--store", str(folder / "store"), "--work", str(folder / "work")]
    command = [BIN / "opentelemetry-instrument", "--", BIN / "mmer", *arguments, *where]
    clean = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return subprocess.run(command, env=clean | env, capture_output=True, text=True, timeout=280)


def figures(monitor: str) -> Figures:
    """Those that are not 0."""
    with urlopen(f"{monitor}/metrics") as answer:
        found = scraped.figures(answer.read().decode())
    return {name: value for name, value in found.items() if value}


def outcomes(found: Figures, outcome: str) -> dict[str, float]:
    return {
        name[1]: value
        for name, value in found.items()
        if name[0] == "mmer_stage_runs_total" and name[2] == outcome
    }


def agree(found: Figures, manifests: list[Manifest]) -> None:
    """Counters and what the store's manifests say."""
    assert outcomes(found, "made") == Counter(one.kind for one in manifests)
    contents = {(one.key, entry.sha256): entry.size for one in manifests for entry in one.files}
    assert found["mmer_store_written_bytes_total", "file"] == sum(contents.values())
    for kind in {one.kind for one in manifests}:
        for leg in ("read", "model", "other"):
            noted = sum(one.usage.seconds.get(leg, 0) for one in manifests if one.kind == kind and one.usage)
            assert found.get(("mmer_stage_time_seconds_total", kind, leg), 0) == pytest.approx(noted, abs=0.2)


def test_metrics_and_spans_of_plain_runs_agree_with_the_store(monitor: str, tmp_path: Path) -> None:
    with collector() as (address, spans):
        ended = run(monitor, tmp_path, "ingest", *DATA, traces=address)
    assert ended.returncode == 0, ended.stderr
    store = open_store(str(tmp_path / "store"))
    manifests = [*store.list()]
    found = figures(monitor)
    agree(found, manifests)
    assert found["mmer_job_runs_total", "ingest", "completed"] == 1
    assert found["mmer_job_time_seconds_total", "ingest"] >= sum(one.wall_seconds for one in manifests)

    (job,) = (one for one in spans if not one.parent_span_id)
    assert job.name == "ingest"
    made = {one.name: one for one in spans if one is not job}
    assert made.keys() == {f"make {one.kind}" for one in manifests}
    for manifest in manifests:
        one = made[f"make {manifest.kind}"]
        assert (one.trace_id, one.parent_span_id) == (job.trace_id, job.span_id)
        noted = {each.key: each.value for each in one.attributes}
        assert noted["artifact"].string_value == str(manifest.key)
        assert noted["bytes_stored"].int_value == sum(entry.size for entry in manifest.files)

    assert run(monitor, tmp_path, "ingest", *DATA).returncode == 0
    again = figures(monitor)
    assert outcomes(again, "made") == outcomes(found, "made")
    assert outcomes(again, "found") == {"prepared": 1, "dataset-card": 1}
    assert not outcomes(again, "failed")

    (tmp_path / "empty").mkdir()
    failed = run(monitor, tmp_path, "ingest", "flickr8k", "--root", str(tmp_path / "empty"))
    assert failed.returncode == 1
    assert figures(monitor)["mmer_job_runs_total", "ingest", "failed"] == 1


def test_a_run_whose_monitor_is_gone_goes_on(tmp_path: Path) -> None:
    ended = run("http://127.0.0.1:1", tmp_path, "ingest", *DATA)
    assert ended.returncode == 0, ended.stderr
    assert [*open_store(str(tmp_path / "store")).list()]


@pytest.mark.long
def test_shards_in_other_processes_are_counted_and_belong_to_the_same_trace(
    monitor: str, tmp_path: Path
) -> None:
    with collector() as (address, spans):
        ended = run(monitor, tmp_path, "train", *DATA, *QUICK, "--engine", "processes", traces=address)
    assert ended.returncode == 0, ended.stderr
    agree(figures(monitor), [*open_store(str(tmp_path / "store")).list()])
    assert len({one.trace_id for one in spans}) == 1
    assert any(one.name == "make feature-shard" for one in spans)
