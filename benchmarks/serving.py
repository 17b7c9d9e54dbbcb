"""Latency and throughput of the service under load.

    python -m benchmarks.serving

The real `mmer serve` runs in a process of its own, and is queried over loopback by Locust (pip install 'mmer[bench]')
with an increasing number of concurrent users, each of whom sends the next query as soon as the previous one is answered.
The index is of all splits of drawn photos; a text query is the caption of one of them, so each query is embedded and
searched, and its 20 results are looked up. Locust shares the cores with the service, which alone would be faster.

The benchmark fails if a single request fails, or if the service does not end cleanly on SIGTERM.
"""

import json as json_format
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import pyarrow.parquet as pq
from cyclopts import App, Parameter

from benchmarks.result import finish, run_app
from flows import jobs
from flows.terminal import progress_bars
from mmer_core.config import (
    EncoderConfig,
    IndexConfig,
    IndexJob,
    IngestConfig,
    RuntimeConfig,
    SyntheticConfig,
    TrainingConfig,
)
from mmer_core.errors import ConfigError, EngineError
from mmer_core.stages import Context
from mmer_core.store import ArtifactKey

app = App(name="benchmarks.serving", help=__doc__)
_VISITORS = (1, 2, 4, 8, 16, 32)
_LOAD = Path(__file__).with_name("serving_load.py")
_STOP_SECONDS = 60


@app.default
def main(
    *,
    images: int = 800,
    seconds: int = 10,
    quick: bool = False,
    json: Path | None = None,
    runtime: Annotated[RuntimeConfig, Parameter(name="*")] = RuntimeConfig(),
) -> None:
    """Put load on the service and print how fast it responds.

    Parameters
    ----------
    images:
        Photos to draw for the index.
    seconds:
        Duration of the load for each number of users.
    quick:
        100 photos, three numbers of users, three seconds each.
    json:
        File for the figures.
    """
    if find_spec("locust") is None:
        raise ConfigError("the load is Locust's, which is not installed: pip install 'mmer[bench]'")
    images, seconds = (100, 3) if quick else (images, seconds)
    key = _index(images, runtime)
    questions = _questions(Context(runtime).folder(key))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, _service(key, runtime) as service:
        for kind, addresses in questions.items():
            _load(Path(folder), service.url, addresses, visitors=2, seconds=2)  # the first queries are slower
            for visitors in _VISITORS[::2] if quick else _VISITORS:
                load = _load(Path(folder), service.url, addresses, visitors, seconds)
                rows.append({"query by": kind, "users": visitors} | load | {"memory MiB": service.memory()})
    failed = sum(row["errors"] for row in rows)
    busiest = max(row["requests/s"] for row in rows)
    finish(
        "serving", rows, {"requests/s at most": busiest, "exit code at SIGTERM": float(service.code())}, json
    )
    if failed or service.code():
        raise EngineError(f"{failed} requests failed, and the service ended with code {service.code()}")


def _index(images: int, runtime: RuntimeConfig) -> ArtifactKey:
    """An index of all splits of a drawn dataset; reused if it is in the store."""
    job = IndexJob(
        dataset=IngestConfig(dataset="flickr8k", synthetic=SyntheticConfig(images=images)),
        encoders=EncoderConfig(image="packaged:efficientnet_lite0", image_size=112),
        training=TrainingConfig(epochs=5),
        index=IndexConfig(split="all"),
        runtime=runtime,
    )
    with progress_bars():
        return ArtifactKey.parse(jobs.index.fn(job))


def _questions(index: Path) -> dict[str, list[str]]:
    """URLs to request, by kind of query."""
    table = pq.read_table(index / "texts.parquet", columns=["id", "caption"]).to_pydict()
    asked = {"text": table["caption"], "id": sorted(set(table["id"]))}
    return {
        kind: [f"/api/search?{urlencode({kind: value, 'k': 20})}" for value in values]
        for kind, values in asked.items()
    }


@dataclass
class _Service:
    process: "subprocess.Popen[str]"
    url: str

    def memory(self) -> float:
        """Resident memory in MiB, from the service's own metrics."""
        with urlopen(f"{self.url}/metrics", timeout=30) as answer:
            found = re.search(r"^process_resident_memory_bytes (\S+)$", answer.read().decode(), re.M)
        return float(found[1]) / 2**20 if found else float("nan")

    def code(self) -> int:
        """Exit code after SIGTERM."""
        return int(self.process.wait(_STOP_SECONDS))


@contextmanager
def _service(key: ArtifactKey, runtime: RuntimeConfig) -> Iterator[_Service]:
    flags = ["--index", str(key), "--port", "0", "--store", runtime.store, "--work", str(runtime.work)]
    command = [sys.executable, "-m", "flows.cli", "serve", *flags, "--device", runtime.device]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not (found := re.search(r"(http://\S+?)/ ", line)):
            raise EngineError(f"the service did not start: run {' '.join(command)} to see why")
        yield _Service(process, found[1])
        process.send_signal(signal.SIGTERM)
        process.wait(_STOP_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _load(folder: Path, url: str, addresses: Sequence[str], visitors: int, seconds: int) -> dict[str, Any]:
    """Load by this many users for this many seconds, after one second for ramping up."""
    asked, report = folder / "asked.json", folder / "report"
    asked.write_text(json_format.dumps(list(addresses)))
    command = [sys.executable, "-m", "locust", "-f", str(_LOAD), "--headless", "--host", url, "--skip-log"]
    command += ["--users", str(visitors), "--spawn-rate", str(visitors), "--run-time", f"{seconds + 1}s"]
    command += [
        "--reset-stats",
        "--stop-timeout",
        "30",
        "--exit-code-on-error",
        "0",
        "--json-file",
        str(report),
    ]
    done = subprocess.run(command, env=os.environ | {"MMER_LOAD": str(asked)}, capture_output=True, text=True)
    if done.returncode:
        raise EngineError(f"Locust ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
    (stats,) = json_format.loads(report.with_suffix(".json").read_text())
    times = _times(stats["response_times"])
    return {
        "requests/s": stats["num_requests"] / (stats["last_request_timestamp"] - stats["start_time"]),
        "p50 ms": float(np.percentile(times, 50)),
        "p99 ms": float(np.percentile(times, 99)),
        "requests": stats["num_requests"],
        "errors": stats["num_failures"],
    }


def _times(counts: Mapping[str, int]) -> np.ndarray:
    """Response times in milliseconds; Locust rounds them to two digits from 100 ms on."""
    return np.repeat([float(time) for time in counts], list(counts.values()))


if __name__ == "__main__":
    run_app(app)
