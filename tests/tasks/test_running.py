"""Tasks and flows as plain Python; no server is started."""

import threading
import time

import pytest

from mmer_core.config import ReportJob, RuntimeConfig
from mmer_core.progress import silent
from mmer_core.threads import sharing
from tasks import running
from tasks.decorators import flow, task
from tasks.running import call, call_flow, fan_out, fan_out_flows, in_flow

THREADS: list[str] = []


@task(retries=3, retry_delay_seconds=60)
def halved(runtime: RuntimeConfig, number: int, divisor: int = 2) -> float:
    THREADS.append(threading.current_thread().name)
    if number < 0:
        raise ValueError(f"cannot halve {number}")
    time.sleep(0.002 * (10 - number))  # the last finishes first
    return number / divisor


@flow()
def workers(job: ReportJob) -> int:
    return job.runtime.workers


def fan_out_in_order(work):
    fan_out(task()(work), range(5), lambda _, n: (n,), RuntimeConfig(workers=2), silent)


def fan_out_flows_in_order(work):
    fan_out_flows(flow()(work), range(5), RuntimeConfig(workers=2), silent)


def test_outside_a_flow_tasks_and_flows_are_plain_functions():
    assert not in_flow()
    assert call(halved, RuntimeConfig(), 4) == 2
    assert call_flow(workers, ReportJob(runtime=RuntimeConfig(workers=7))) == 7
    with pytest.raises(ValueError, match="cannot halve -1"):
        call(halved, RuntimeConfig(), -1)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_come_in_the_order_of_the_shards(count):
    THREADS.clear()
    seen = []
    found = fan_out(
        halved,
        iter(range(9)),
        lambda runtime, n: (runtime, n),
        RuntimeConfig(workers=count),
        lambda *said, note="": seen.append(said),
    )
    assert found == [n / 2 for n in range(9)]
    assert seen == [(done, 9) for done in range(1, 10)]
    assert len(THREADS) == 9
    assert 1 <= len(set(THREADS)) <= count


@pytest.mark.parametrize("inside", [fan_out_in_order, fan_out_flows_in_order])
def test_the_first_failure_in_order_is_raised(inside):
    """Also where a later one fails first."""
    failed = threading.Event()

    def work(number):
        if number == 1:
            assert failed.wait(10)
        if number == 2:
            failed.set()
        if number:
            raise ValueError(f"cannot do {number}")

    with pytest.raises(ValueError, match="cannot do 1"):
        inside(work)


def test_nothing_to_do_is_done():
    assert fan_out(halved, [], lambda runtime, n: (runtime, n), RuntimeConfig(workers=2), silent) == []


def test_shards_run_at_the_same_time():
    meeting = threading.Barrier(3, timeout=30)

    @task()
    def meet(number: int) -> int:
        return meeting.wait() * 0 + number

    assert fan_out(meet, [1, 2, 3], lambda _, n: (n,), RuntimeConfig(workers=3), silent) == [1, 2, 3]


@pytest.mark.parametrize(("jobs", "shares"), [(1, 1), (3, 3), (9, 4)])
def test_flows_that_run_at_the_same_time_share_the_cores(jobs, shares):
    found = fan_out_flows(flow()(lambda _: sharing()), range(jobs), RuntimeConfig(workers=4), silent)
    assert found == [shares] * jobs
    assert fan_out_flows(flow()(int), [], RuntimeConfig(), silent) == []


def test_a_shard_that_is_done_may_bring_further_ones():
    seen = []
    found = fan_out(
        halved,
        [4, 8],
        lambda runtime, n: (runtime, n),
        RuntimeConfig(workers=1),
        lambda *said, note="": seen.append(said),
        more=lambda n, half: [int(half)] if half > 1 else [],
    )
    assert found == [2, 4, 1, 2, 1]
    assert seen == [(1, 3), (2, 4), (3, 4), (4, 5), (5, 5)]


def test_work_under_way_follows_an_engine_that_grows(monkeypatch):
    """Places come as shards are done, as on a cluster that starts workers."""
    meeting, done = threading.Barrier(3, timeout=30), []

    class Growing:
        runtime = RuntimeConfig()

        @property
        def places(self) -> int:
            return 1 + 2 * len(done)

        def run(self, work, number):
            if number:
                meeting.wait()
            done.append(number)
            return number

    monkeypatch.setattr(running, "open_engine", lambda runtime: Growing())
    where = RuntimeConfig(engine="dask", address="tcp://nowhere:1", workers=1)
    assert fan_out(halved, range(4), lambda _, n: (n,), where, silent) == [0, 1, 2, 3]


def test_a_failure_lets_begun_shards_end_and_starts_no_others():
    begun, ended = [], []
    failed = threading.Event()

    @task()
    def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            failed.set()
            raise ValueError("shard 1 is broken")
        failed.wait(30)
        time.sleep(0.2)
        ended.append(number)

    with pytest.raises(ValueError, match="shard 1 is broken"):
        fan_out(work, range(50), lambda _, n: (n,), RuntimeConfig(workers=2), silent)
    assert 0 in ended
    assert sorted(ended) == sorted(set(begun) - {1})
    assert len(begun) < 50
