"""Spans of a run, sent to a collector as OpenTelemetry's own launcher sends them."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from support.prefect_place import prefect_place

pytestmark = pytest.mark.integration


@contextmanager
def collector() -> Iterator[tuple[str, list[Span]]]:
    """Address of an OTLP collector, and the spans that it has got so far."""
    spans: list[Span] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            spans.extend(
                span for source in sent.resource_spans for scope in source.scope_spans for span in scope.spans
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", spans
        server.shutdown()


def test_flow_and_tasks_are_spans_of_one_trace(tmp_path: Path) -> None:
    folder = Path(sys.executable).parent
    command = [folder / "opentelemetry-instrument", folder / "mmer", "ingest", "flickr8k"]
    command += ["--synthetic.images", "30", "--context-size", "32", "--prefect"]
    command += ["--store", str(tmp_path / "store"), "--work", str(tmp_path / "work")]
    with prefect_place(tmp_path / "prefect") as (api, _), collector() as (address, spans):
        env = {
            "PREFECT_API_URL": api,
            "OTEL_SERVICE_NAME": "mmer",
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_METRICS_EXPORTER": "none",
        }
        ended = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    named = {span.name: span for span in spans}
    run = next(span for span in spans if not span.parent_span_id)
    told = {one.key: one.value.string_value for one in run.attributes}
    assert told["prefect.run.parameter.job"] == "IngestJob"
    for task in ("ingest flickr8k", "dataset card"):
        assert named[task].trace_id == run.trace_id
        assert run.start_time_unix_nano <= named[task].start_time_unix_nano
        assert named[task].end_time_unix_nano <= run.end_time_unix_nano
