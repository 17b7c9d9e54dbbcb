"""The same attack on threads, on processes, and on clusters of Dask and Ray; and what happens when one dies."""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
from pandas.testing import assert_frame_equal
from support.dask_cluster import DaskCluster, dask_cluster
from support.small_pipeline import Study, attack_elsewhere, created

import tasks.engines.dask
import tasks.reports
import tasks.running
from flows import jobs
from mmer_core.config import AttackConfig, RobustnessJob, RuntimeConfig
from mmer_core.errors import ConfigError, EngineError
from mmer_core.progress import silent
from mmer_core.stages import Context, context, robustness
from mmer_core.stages.cutting import size_by_cost
from mmer_core.stages.robustness import load_outcomes
from mmer_core.store import ArtifactKey
from mmer_core.usage import Usage
from tasks.decorators import task
from tasks.engines import open_engine
from tasks.progress import show_in_terminal
from tasks.reports import report_to, reports
from tasks.running import fan_out

pytestmark = pytest.mark.integration

ATTACK = {
    "images": 4,
    "pixels": (1, 3),
    "criterion": "suppress",
    "category": "Anticipation",
    "budget": 60,
    "de": {"population": 10},
    "attacks": ("de", "sparse-rs"),
}


@pytest.fixture(scope="module")
def _scheduler(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.fixture
def cluster(_scheduler: DaskCluster) -> DaskCluster:
    """Two workers, whatever befell them in the test before."""
    _scheduler.expect(2)
    return _scheduler


def attack(study: Study, place: Path, *, shard_size: int | None, **runtime: object) -> RobustnessJob:
    """The attack of all tests here, in a store that has everything but its outcomes."""
    settings = AttackConfig.model_validate(dict(study.config.attack) | ATTACK | {"shard_size": shard_size})
    return attack_elsewhere(study, settings, place, **runtime)


def outcomes(job: RobustnessJob) -> pd.DataFrame:
    """Run an attack, and read the table that it leaves."""
    key = ArtifactKey.parse(jobs.robustness.fn(job))
    return load_outcomes(Context(job.runtime).folder(key))


@pytest.fixture(scope="module")
def calm(study: Study, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Outcomes on one thread, in one shard for each attack and K."""
    table = outcomes(attack(study, tmp_path_factory.mktemp("calm"), shard_size=4, workers=1))
    assert len(table) == 4 * 2 * 2
    assert {True, False} == set(table["status"] == "fooled")
    return table


@pytest.mark.parametrize(
    ("engine", "shard_size", "workers", "batch_size"),
    [
        ("threads", 1, 3, 5),
        pytest.param("processes", 2, 2, 64, marks=pytest.mark.long),
    ],  # and dask below, where a worker is killed as well
)
def test_engines_shards_workers_and_batches_change_no_row(
    study: Study, calm, tmp_path, engine, shard_size, workers, batch_size
) -> None:
    settings = {"engine": engine, "workers": workers, "batch_size": batch_size}
    job = attack(study, tmp_path, shard_size=shard_size, **settings)
    assert_frame_equal(outcomes(job), calm, check_exact=True)
    assert len(list(Context(job.runtime).store.keys("attack-shard"))) == -(-4 // shard_size) * 4


@pytest.mark.long
def test_shards_of_the_size_that_a_first_one_suggests_change_no_row_and_are_found_again(
    study: Study, calm, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robustness, "_FIRST", 1)
    job = attack(study, tmp_path, shard_size=None, workers=2)
    store = Context(job.runtime).store
    costs = []

    def sized(units: int, usage: Usage) -> int:
        """As if an image took 16 seconds: two are a shard."""
        costs.append(usage.model_dump_json())
        return size_by_cost(units, cost(16.0 * units))

    monkeypatch.setattr(robustness, "size_by_cost", sized)
    assert_frame_equal(outcomes(job), calm, check_exact=True)
    made = created(store)
    shards = [key for key in made if key.kind == "attack-shard"]
    assert len(shards) == 4 * (1 + 2)
    plans = [*store.keys("network-plan")]
    assert len(plans) == len(ATTACK["pixels"]) + 1, (
        "one for each K, and one for what Sparse-RS exchanges at K = 3"
    )
    # A kill left all but the last of them, and no whole.
    gone = max(shards, key=made.__getitem__)
    store.delete(gone)
    store.delete(next(key for key in made if key.kind == "robustness"))
    assert_frame_equal(outcomes(job), calm, check_exact=True)
    assert {
        key for key, when in created(store).items() if key.kind == "attack-shard" and made.get(key) != when
    } == {gone}
    assert sorted(costs[:4]) == sorted(costs[4:]), (
        "the rest is cut by what the first shards cost when they were made"
    )


def cost(seconds: float) -> Usage:
    return Usage(
        seconds={"model": seconds}, cpu_seconds=seconds, peak_memory=0, bytes_read=None, bytes_written=None
    )


@pytest.mark.parametrize("seconds", [0.0, 0.3, 19.9, 20.1, 40.0, 500.0, 1e5])
def test_a_shard_takes_between_twenty_and_forty_seconds(seconds: float) -> None:
    size = size_by_cost(64, cost(seconds))
    taken = seconds / 64 * size
    assert 20 <= taken <= 40 or size == 1 or seconds < 1e-3
    assert size in {2**power for power in range(40)}


@pytest.mark.long  # by another process: test_a_shard_that_ends_every_process_ends_in_an_error
def test_a_worker_killed_in_the_middle_costs_nothing(study: Study, calm, cluster, tmp_path) -> None:
    settings = {"engine": "dask", "address": cluster.address, "workers": 2, "batch_size": 17}
    job = attack(study, tmp_path, shard_size=1, **settings)
    store = Context(job.runtime).store
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(outcomes, job)
        deadline = time.monotonic() + 120
        while len(list(store.keys("attack-shard"))) < 3 or len(cluster.busy()) < 2:
            assert not running.done(), "ended before a worker could be killed"
            assert time.monotonic() < deadline, "the shards do not run"
            time.sleep(0.002)
        victim = cluster.workers[cluster.busy()[0]]
        victim.kill()
        assert victim.wait() == -signal.SIGKILL
        survived = created(store)
        table = running.result(120)
    assert_frame_equal(table, calm, check_exact=True)
    finished = created(store)
    assert survived.items() <= finished.items(), "something that had been published was made again"
    made = [key for key in finished if key.kind == "attack-shard"]
    assert 3 <= sum(key.kind == "attack-shard" for key in survived) < len(made) == 16
    assert not table.duplicated(["sample", "attack", "pixels"]).any()
    assert [path.name for path in job.runtime.work.iterdir() if path.name != "fetched"] == []


@task()
def loaded(runtime: RuntimeConfig, number: int, encoder: str) -> tuple[int, int, int, RuntimeConfig]:
    """Process, how often it has loaded an encoder, threads of torch, what arrived."""
    for _ in range(2):
        Context(runtime).image_encoder(encoder, 32)
    misses = context._image_encoder.cache_info().misses
    if number < 0:
        raise ConfigError(f"cannot do {number}")
    return os.getpid(), misses, torch.get_num_threads(), runtime


RAY_TOKEN = secrets.token_hex(32)  # one for all tests: Ray reads it once in a process


@pytest.fixture
def ray_address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Ray of this process, which leaves no token in the user's home."""
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_TOKEN", RAY_TOKEN)
    yield "local"
    ray.shutdown()


@pytest.fixture
def address(engine: str, request: pytest.FixtureRequest) -> str | None:
    """Of a cluster for the engine, which only now starts; None where it starts its own processes."""
    match engine:
        case "dask":
            return request.getfixturevalue("cluster").address
        case "ray":
            return request.getfixturevalue("ray_address")
    return None


@pytest.mark.long
@pytest.mark.parametrize("engine", ["processes", "dask", pytest.param("ray", marks=pytest.mark.long)])
def test_every_process_loads_an_encoder_once(
    engine: str, address: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    runtime = RuntimeConfig(engine=engine, address=address, workers=2)
    said = []

    def report(done: int, total: int, note: str = "") -> None:
        said.append((done, total))

    def call(runtime: RuntimeConfig, number: int) -> tuple[RuntimeConfig, int, str]:
        return runtime, number, "packaged:efficientnet_lite0"

    answers = fan_out(loaded, range(8), call, runtime, report)
    assert said == [(done, 8) for done in range(1, 9)]
    processes, loads, threads, arrived = zip(*answers, strict=True)
    assert 1 <= len(set(processes)) <= 2
    assert os.getpid() not in processes
    assert set(loads) == {1}
    assert set(threads) == {1}
    assert {each.work for each in arrived} == {tmp_path / ".mmer/work"}
    assert {each.store for each in arrived} == {str(tmp_path / ".mmer/store")}
    assert {each.workers for each in arrived} == {1}, "a process has its own share of the cores"
    with pytest.raises(ConfigError, match=r"^cannot do -2$"):
        fan_out(loaded, [1, -2, 3], call, runtime, silent)


@task()
def gpu_seen(runtime: RuntimeConfig, number: int) -> tuple[int, str | None]:
    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")


def by_process(runtime: RuntimeConfig) -> dict[int, str | None]:
    """What each process sees, which is the same for all of its work."""
    seen = fan_out(gpu_seen, range(8), lambda runtime, number: (runtime, number), runtime, silent)
    assert len({*seen}) == len(dict(seen)) < 8
    return dict(seen)


def test_every_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    found = by_process(RuntimeConfig(engine="processes", workers=2))
    assert {*found.values()} <= {"4", "7"}
    assert len({*found.values()}) == len(found)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "9")  # processes that run already are shown it, too
    assert {*by_process(RuntimeConfig(engine="processes", workers=2)).values()} == {"9"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "8")
    found = by_process(RuntimeConfig(engine="processes", workers=2, device="cpu"))
    assert {*found.values()} == {"9"}, "a process that computes on the CPU needs no GPU"


@task()
def counted(runtime: RuntimeConfig, folder: Path) -> int:
    """How much work runs at the same time, itself included."""
    mine = folder / secrets.token_hex(8)
    mine.touch()
    time.sleep(0.2)
    together = len([*folder.iterdir()])
    mine.unlink()
    return together


@pytest.mark.parametrize(("device", "most"), [("cuda", 2), ("cpu", 4)])
def test_work_for_gpus_waits_for_the_gpus_of_a_cluster(tmp_path, device: str, most: int) -> None:
    from distributed import LocalCluster

    options = {"threads_per_worker": 2, "resources": {"GPU": 1}, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=2, processes=False, **options) as cluster:
        runtime = RuntimeConfig(engine="dask", address=cluster.scheduler_address, workers=8, device=device)
        assert open_engine(runtime).places == most + 8
        found = fan_out(counted, range(12), lambda runtime, number: (runtime, tmp_path), runtime, silent)
        tasks.engines.dask._clients.pop((runtime.address, 0)).close()
    assert max(found) == most


@pytest.mark.long
def test_a_ray_process_has_a_gpu_and_keeps_its_models(ray_address: str) -> None:
    import ray

    ray.init(num_cpus=4, num_gpus=2, log_to_driver=False)
    found = by_process(RuntimeConfig(engine="ray", address=ray_address, workers=2))
    assert {*found.values()} <= {"0", "1"}


@task()
def patient(runtime: RuntimeConfig, place: Path, seen: Path) -> None:
    """A shard that is not done before its progress was seen."""
    report_to(place)(1, 4, "half a note")
    deadline = time.monotonic() + 60
    while not seen.exists():
        assert time.monotonic() < deadline, "nobody looks"
        time.sleep(0.01)


@pytest.mark.parametrize(
    "engine", ["threads", "processes", "dask", pytest.param("ray", marks=pytest.mark.long)]
)
def test_shards_report_from_inside(engine: str, address: str | None, tmp_path: Path) -> None:
    runtime = RuntimeConfig(engine=engine, address=address, workers=2)
    inside = []

    def look(done: float, total: int, note: str = "") -> None:
        if done % 1:
            inside.append((done, total, note))
        if done == 0.5:
            (tmp_path / "seen").touch()

    with reports() as said:
        fan_out(
            patient,
            range(3),
            lambda runtime, number: (runtime, said.place(number), tmp_path / "seen"),
            runtime,
            look,
            said.so_far,
        )
    assert (0.5, 3, "1 of 4 half a note") in inside
    assert not said.folder.exists()


@pytest.mark.long
def test_a_job_reports_from_inside_its_shards(
    study: Study, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.running, "_SECONDS_BETWEEN_LOOKS", 0.001)
    monkeypatch.setattr(tasks.reports, "_SECONDS_BETWEEN_REPORTS", 0.0)
    said = []

    def look(done: float, total: int, note: str = "") -> None:
        said.append((done, total, note))

    show_in_terminal(lambda label: look if label == "attack" else silent)
    try:
        jobs.robustness.fn(attack(study, tmp_path, shard_size=4, workers=1, batch_size=5))
    finally:
        show_in_terminal(lambda label: silent)
    assert {total for _, total, _ in said} == {4}
    assert said[-1][:2] == (4, 4)
    assert any(0 < done % 1 < 1 and "fooled" in note for done, _, note in said)


@task()
def deadly(runtime: RuntimeConfig, number: int) -> int:
    if number == 1:
        os._exit(1)
    return number


def test_a_shard_that_ends_every_process_ends_in_an_error() -> None:
    runtime = RuntimeConfig(engine="processes", workers=2)
    scheduler = open_engine(runtime).client.cluster.scheduler
    assert scheduler.allowed_failures == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler, "allowed_failures", 1)  # the next process takes seconds to start
        with pytest.raises(EngineError, match="ended 2 worker processes one after another"):
            fan_out(deadly, [0, 1, 2], lambda runtime, number: (runtime, number), runtime, silent)
    # Others took their place.
    assert fan_out(deadly, [2, 3], lambda runtime, number: (runtime, number), runtime, silent) == [2, 3]


def test_processes_that_are_ended_at_their_start_are_told_of() -> None:
    """Each one as soon as it is there, until no more come."""
    me, over = psutil.Process(), threading.Event()
    others = set(me.children())

    def end_them() -> None:
        while not over.wait(0.01):
            for child in set(me.children()) - others:
                with suppress(psutil.NoSuchProcess):
                    if "spawn_main" in " ".join(child.cmdline()):
                        child.kill()

    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(end_them)
        try:
            runtime = RuntimeConfig(engine="processes", workers=3)
            with pytest.raises(
                EngineError, match=r"did not start \(Nanny failed to start\): run the same again"
            ):
                fan_out(deadly, [0], lambda runtime, number: (runtime, number), runtime, silent)
        finally:
            over.set()
        ending.result()


def test_a_cluster_without_workers_ends_in_an_error(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.engines.dask, "_CHECK_SECONDS", 0.2)
    monkeypatch.setattr(tasks.engines.dask, "_NO_WORKER_SECONDS", 1.0)
    with dask_cluster(tmp_path) as empty:
        runtime = RuntimeConfig(engine="dask", address=empty.address)
        with pytest.raises(EngineError, match=f"{empty.address} has had no worker for 1 s"):
            fan_out(deadly, [0], lambda runtime, number: (runtime, number), runtime, silent)


ORPHANS = """
import time
from mmer_core.config import RuntimeConfig
from tasks.engines import open_engine
client = open_engine(RuntimeConfig(engine="processes", workers=2)).client
print(*(worker.process.pid for worker in client.cluster.workers.values()), flush=True)
time.sleep(600)
"""


@pytest.mark.long
def test_processes_end_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(children) == 2
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


@pytest.mark.timeout(60)  # Ray itself tries for minutes
@pytest.mark.parametrize(
    ("engine", "address", "message"),
    [
        ("dask", "tcp://127.0.0.1:9", "no Dask scheduler answers at tcp://127.0.0.1:9 (OSError)"),
        ("dask", "nowhere", "no Dask scheduler answers at nowhere (ValueError)"),
        ("ray", "127.0.0.1:9", "no Ray cluster answers at 127.0.0.1:9 ("),
    ],
)
def test_an_address_where_nothing_answers_is_told_at_once(
    mmer: Callable, tmp_path, monkeypatch, engine, address, message
) -> None:
    if engine == "ray":
        pytest.importorskip("ray")
        monkeypatch.setenv("RAY_AUTH_TOKEN", RAY_TOKEN)
    answer = mmer("robustness", "--engine", engine, "--address", address, "--store", tmp_path / "store")
    assert answer.code == 1
    assert f"mmer: {message}" in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "store").exists(), "work was done before the engine was found missing"


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_is_named_before_any_work(mmer: Callable, tmp_path, device) -> None:
    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    answer = mmer("train", "--device", device, "--store", tmp_path / "store")
    assert answer.code == 1
    assert f"mmer: device '{device}' is not available on this machine; it has cpu" in answer.err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--address", "tcp://h:1"], "engine threads takes no address: give --engine dask or ray"),
        (["--engine", "dask"], "engine dask needs the address of a cluster: give --address tcp://HOST:8786"),
        (["--engine", "ray"], "engine ray needs the address of a cluster: give --address HOST:6379"),
    ],
)
def test_an_engine_and_an_address_belong_together(mmer: Callable, flags, message) -> None:
    answer = mmer("robustness", *flags)
    assert answer.code == 1
    assert message in answer.err


@pytest.mark.parametrize(
    ("engine", "package", "cure"),
    [
        ("processes", "distributed", r"pip install 'mmer\[dask\]'"),
        ("dask", "prefect_dask", r"pip install 'mmer\[dask\]'"),
        ("ray", "ray", r"pip install 'mmer\[ray\]'"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_cure(monkeypatch, engine, package, cure) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what makes an import fail
    runtime = RuntimeConfig(engine=engine, address=None if engine == "processes" else "tcp://127.0.0.1:9")
    with pytest.raises(ConfigError, match=f"package {package}, which is not installed: {cure}"):
        tasks.engines.check_engine(runtime)
