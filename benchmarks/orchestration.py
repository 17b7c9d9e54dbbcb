"""The overhead of Prefect: the pipeline as flows against the same stages as plain Python calls, and of fan-out per shard.

    python -m benchmarks.orchestration

A real Prefect server runs in a separate process on this machine, in both cases. The pipeline (the demo's configuration)
is run alternately as plain Python (as the command line does without a server) and as flows, subflows and tasks with
all their notes, tables and logs on the server, each time with an empty store. Encoders are loaded before the first run.

Shards are those of a real attack, one photo each, in one thread, so that times may be subtracted: the time of 200 of
them inside a flow, minus that of the same function called by a plain loop. Both publish 200 artifacts.
"""

import os
import statistics
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.result import finish, run_app
from flows import configurations, jobs
from flows.local_server import free_port, prefect_server
from mmer_core.config import (
    AttackConfig,
    EncoderConfig,
    EvaluationConfig,
    IngestConfig,
    PipelineJob,
    RuntimeConfig,
    SyntheticConfig,
    TrainingConfig,
    TrainJob,
)
from mmer_core.progress import silent
from mmer_core.stages import ATTACKING, AttackShard, Context
from tasks.decorators import flow
from tasks.running import fan_out
from tasks.stages import task_of

app = App(name="benchmarks.orchestration", help=__doc__)
ENCODERS = EncoderConfig(image="packaged:efficientnet_lite0", image_size=64)
SHARDS = 200
LIMIT_PERCENT, LIMIT_MILLISECONDS = 10, 60


@app.default
def main(
    *,
    rounds: int = 3,
    quick: bool = False,
    json: Path | None = None,
    runtime: Annotated[RuntimeConfig, Parameter(name="*")] = RuntimeConfig(),
) -> None:
    """Time flows and plain calls alternately (A B B A …) and print medians and ratios.

    Parameters
    ----------
    rounds:
        Number of rounds.
    quick:
        A pipeline of one small dataset instead of the demo, in one round; the number of shards is the same.
    json:
        File for the figures.
    """
    rounds = 1 if quick else rounds
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder)):
        pipelines = _pipelines(Path(folder), _demo(quick), runtime, rounds)
        shards = _shards(Path(folder), runtime, max(rounds, 2))
    _finish("small pipeline" if quick else "demo", pipelines, shards, json)


@dataclass(frozen=True)
class Seconds:
    """Wall times of the same work, in the order of the rounds."""

    plain: list[float]
    flows: list[float]

    @property
    def ratio(self) -> float:
        """Flows over plain calls, per round, because the load of the machine changes between rounds."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.flows, self.plain, strict=True))

    @property
    def difference(self) -> float:
        return statistics.median(mine - theirs for mine, theirs in zip(self.flows, self.plain, strict=True))


@contextmanager
def _server(folder: Path) -> Iterator[None]:
    """A server with its own database, used by the flows of this process."""
    before = os.environ.get("PREFECT_HOME")
    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    try:
        with prefect_server(free_port()) as api, temporary_settings({PREFECT_API_URL: api}):
            yield
    finally:
        del os.environ["PREFECT_HOME"]
        if before is not None:
            os.environ["PREFECT_HOME"] = before


def _alternate(rounds: int, plain: Callable[[], float], flows: Callable[[], float]) -> Seconds:
    """Run both in every round, in alternating order."""
    seconds = Seconds([], [])
    for number in range(rounds):
        turns = [(seconds.plain, plain), (seconds.flows, flows)]
        for times, run in turns if number % 2 == 0 else reversed(turns):
            times.append(run())
    return seconds


def _pipelines(folder: Path, config: PipelineJob, runtime: RuntimeConfig, rounds: int) -> Seconds:
    """Run the pipeline, each time with a new empty store."""
    stores = (folder / f"store-{number}" for number in range(2 * rounds))

    def into_an_empty_store(run: Callable[[PipelineJob], Any]) -> float:
        place = next(stores)
        where = runtime.model_copy(update={"store": str(place), "work": place / "work"})
        start = time.perf_counter()
        run(config.model_copy(update={"runtime": where}))
        return time.perf_counter() - start

    context = Context(runtime)
    context.image_encoder(config.encoders.image, config.encoders.image_size)
    context.text_encoder(config.encoders.text)
    return _alternate(
        rounds, lambda: into_an_empty_store(jobs.pipeline.fn), lambda: into_an_empty_store(jobs.pipeline)
    )


def _demo(quick: bool) -> PipelineJob:
    """The configuration of ``mmer pipeline --config demo``, or a small one of the same kind."""
    if not quick:
        shipped = resources.files(configurations) / "demo.toml"
        return PipelineJob.model_validate(tomllib.loads(shipped.read_text("utf-8")))
    return PipelineJob(
        datasets={"flickr8k": IngestConfig(dataset="flickr8k", synthetic=SyntheticConfig(images=100))},
        families=("joint",),
        encoders=ENCODERS,
        training=TrainingConfig(epochs=10),
        attack=AttackConfig.model_validate(
            {"pixels": (1,), "images": 10, "budget": 60, "shard_size": 5, "de": {"population": 20}}
        ),
    )


def _shards(folder: Path, runtime: RuntimeConfig, rounds: int) -> Seconds:
    """The shards of one attack by a plain loop, and fanned out in a flow; their artifacts are deleted each time."""
    place = folder / "shards"
    runtime = runtime.model_copy(update={"store": str(place), "work": place / "work", "workers": 1})
    train = TrainJob(
        dataset=IngestConfig(dataset="emotic", synthetic=SyntheticConfig(images=400)),
        encoders=ENCODERS,
        training=TrainingConfig(epochs=1),
        evaluation=EvaluationConfig(resamples=10),
        runtime=runtime,
    )
    trained = jobs.train.fn(train).artifacts()
    attack = AttackConfig.model_validate(
        {"pixels": (1, 3), "images": SHARDS // 4, "budget": 40, "shard_size": 1, "de": {"population": 20}}
    )
    keys = trained.prepared, trained.features, trained.model
    planned = ATTACKING.plan(Context(runtime), attack, *keys)
    if len(planned) != SHARDS:
        raise AssertionError(f"there are {len(planned)} shards instead of {SHARDS}")

    def arguments(runtime: RuntimeConfig, shard: AttackShard) -> tuple[Any, ...]:
        return runtime, attack, *keys, shard

    attack_shard = task_of(ATTACKING.work)

    def plain() -> float:
        start = time.perf_counter()
        for shard in planned:
            attack_shard.fn(*arguments(runtime, shard))
        return time.perf_counter() - start

    @flow(name="shards")
    def fanned_out() -> float:
        start = time.perf_counter()
        fan_out(attack_shard, planned, arguments, runtime, silent)
        return time.perf_counter() - start

    def afresh(run: Callable[[], float]) -> float:
        seconds = run()
        store = Context(runtime).store
        made = list(store.keys("attack-shard"))
        if len(made) != SHARDS:
            raise AssertionError(f"{len(made)} shards were made instead of {SHARDS}")
        for key in made:
            store.delete(key)
        return seconds

    afresh(plain)  # plans of the networks are made only once
    return _alternate(rounds, lambda: afresh(plain), lambda: afresh(fanned_out))


def _finish(what: str, pipelines: Seconds, shards: Seconds, json: Path | None) -> None:
    rows = [
        _row(f"pipeline ({what}), plain calls", pipelines.plain),
        _row(f"pipeline ({what}), as Prefect flows", pipelines.flows),
        _row(f"{SHARDS} shards, plain loop", shards.plain),
        _row(f"{SHARDS} shards, fanned out in a flow", shards.flows),
    ]
    percent = 100 * (pipelines.ratio - 1)
    milliseconds = 1000 * shards.difference / SHARDS
    ratios = {
        f"wall time of the pipeline ({what}), Prefect flows / plain calls": pipelines.ratio,
        f"wall time of {SHARDS} shards, fanned out in a flow / plain loop": shards.ratio,
        "milliseconds that a shard costs above its own work": milliseconds,
    }
    finish("orchestration", rows, ratios, json)
    print(
        f"The pipeline as flows costs {percent:.1f} % (to be at most {LIMIT_PERCENT} % on the demo), a shard"
    )
    print(f"{milliseconds:.0f} ms (to be less than {LIMIT_MILLISECONDS} ms).")


def _row(what: str, seconds: list[float]) -> dict[str, Any]:
    return {
        "what": what,
        "median s": statistics.median(seconds),
        "rounds": ", ".join(f"{one:.1f}" for one in seconds),
    }


if __name__ == "__main__":
    run_app(app)
