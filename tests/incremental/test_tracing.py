"""Networks run side by side and are traced alone."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest
import torch
from support.incremental_helpers import CPU, draw_candidates, network, normalise, plain
from torch import nn

from mmer_core.attacks.candidates import apply
from mmer_core.incremental.evaluator import CandidateEvaluator
from mmer_core.incremental.planning import Planner
from mmer_core.tracing import running, tracing

SIZE = (40, 32)


def test_who_runs_does_not_wait_for_who_runs():
    both = threading.Barrier(2)

    def run() -> int:
        with running():
            return both.wait(timeout=30)  # raises when the other is kept out

    with ThreadPoolExecutor(2) as pool:
        running_at_once = [pool.submit(run) for _ in range(2)]
        assert {done.result() for done in running_at_once} == {0, 1}


def test_who_traces_is_alone():
    inside: list[str] = []
    seen: list[tuple[str, ...]] = []
    gate = threading.Barrier(6)

    def work(kind, name: str) -> None:
        gate.wait(timeout=30)
        for _ in range(200):
            with kind():
                inside.append(name)
                if kind is tracing:
                    with running():  # what it traces it also runs
                        seen.append(tuple(inside))
                inside.remove(name)

    with ThreadPoolExecutor(6) as pool:
        kinds = [running, running, running, running, tracing, tracing]
        for done in [pool.submit(work, kind, str(number)) for number, kind in enumerate(kinds)]:
            done.result()
    assert len(seen) == 400
    assert all(len(names) == 1 for names in seen)


def test_tracing_inside_of_running_is_a_mistake():
    with running(), pytest.raises(AssertionError, match="while this thread runs one"), tracing():
        pass
    with tracing():
        pass


class Watched(nn.Module):
    """Notes whether another thread ran a network while this one was being traced."""

    # Of the class, because planners trace a copy.
    entered, ran = threading.Event(), threading.Event()
    overlapped: ClassVar[list[bool]] = []

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.entered.set()
        self.overlapped.append(self.ran.wait(0.2))
        return self.inner(x)


def test_a_plan_is_made_while_no_other_thread_scores():
    watched, other = Watched().eval(), network()
    evaluator = CandidateEvaluator(Planner(other, normalise, SIZE, CPU, runtime="torch"))
    clean = torch.zeros(1, *SIZE, 3, dtype=torch.uint8)
    candidates = draw_candidates(SIZE, 8, 1, 0)
    positions, colours = candidates.positions(clean.shape[2]), candidates.colours
    expected = plain(other, apply(clean[[0] * 8], candidates))
    evaluator(clean, [0] * 8, positions, colours)  # its own plan is made

    def score() -> torch.Tensor:
        assert watched.entered.wait(30)
        found = evaluator(clean, [0] * 8, positions, colours)
        watched.ran.set()
        return found

    with ThreadPoolExecutor(1) as pool:
        scored = pool.submit(score)
        Planner(watched, normalise, SIZE, CPU, runtime="torch")
        assert watched.overlapped[0] is False
        torch.testing.assert_close(scored.result(), expected, rtol=1e-4, atol=1e-5)


def test_what_is_made_while_tracing_may_be_differentiated():
    """Also by a victim that is asked for scores first: they are computed in inference mode."""
    with torch.inference_mode(), tracing():
        weight = torch.ones(1)
    made = nn.Parameter(weight)
    made.square().sum().backward()
    assert made.grad == 2
    with torch.inference_mode(), running():
        assert torch.is_inference_mode_enabled(), "what runs there stays in it"
