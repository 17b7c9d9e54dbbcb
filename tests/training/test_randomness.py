"""Random numbers of trainings: the same with a generator of their own as with the process's, and none that others disturb."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.toy_training import config, learner, same
from torch import nn

from mmer_core.models.layers import Dropout
from mmer_core.training.learner import Learner
from mmer_core.training.loop import fit
from mmer_core.training.randomness import randomness

CPU = torch.device("cpu")
KINDS = [(task, family) for task in ("emotion", "retrieval") for family in ("separate", "joint")]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**40), st.floats(0, 1), st.integers(1, 40), st.booleans())
def test_dropout_is_torchs(seed: int, rate: float, rows: int, training: bool) -> None:
    inputs = torch.randn(rows, 7, generator=torch.Generator().manual_seed(seed), requires_grad=True)
    torch.manual_seed(seed)
    expected = nn.functional.dropout(inputs, rate, training)
    (slope,) = torch.autograd.grad(expected.sum(), inputs)
    own = Dropout(rate).train(training)
    own.generator = torch.Generator().manual_seed(seed)
    found = own(inputs)
    assert torch.equal(found, expected)
    assert torch.equal(torch.autograd.grad(found.sum(), inputs)[0], slope)


def trained(one: Learner, seed: int) -> Learner:
    fit(one, config(epochs=3, seed=seed), device=CPU)
    return one


@pytest.mark.parametrize(("task", "family"), KINDS)
def test_a_generator_of_its_own_gives_the_same_model_as_the_process_would(task: str, family: str) -> None:
    own, shared = (learner(task, family, config(seed=3)) for _ in range(2))
    shared.state["other"] = nn.Dropout(0.0)  # of another library, as far as anybody knows
    before = torch.get_rng_state()
    trained(own, 3)
    assert torch.equal(torch.get_rng_state(), before), "something drew from the process's generator"
    trained(shared, 3)
    assert not torch.equal(torch.get_rng_state(), before)
    assert same(own.model, shared.model)


@pytest.mark.parametrize(("task", "family"), KINDS)
def test_trainings_in_threads_run_at_the_same_time_and_end_as_alone(task: str, family: str) -> None:
    alone = [trained(learner(task, family, config(seed=seed)), seed) for seed in (1, 2)]
    together = [learner(task, family, config(seed=seed)) for seed in (1, 2)]
    both = Barrier(2)

    def meeting(one: Any) -> Learner:
        measure = one.validate

        def validate() -> dict[str, float]:
            both.wait(60)  # breaks where one training waits for the other
            return measure()

        one.validate = validate
        return trained(one, one.seed)

    for one, seed in zip(together, (1, 2), strict=True):
        one.seed = seed
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(meeting, together))
    assert all(same(one.model, other.model) for one, other in zip(done, alone, strict=True))


def test_nothing_keeps_the_generator() -> None:
    one = learner("retrieval", "joint", config())
    with randomness(one, CPU) as drawn:
        assert drawn.generator is one.generator is not None
    assert one.generator is None
    assert all(part.generator is None for part in one.state.modules() if isinstance(part, Dropout))


@pytest.mark.parametrize("where", ["cuda", "mps"])
def test_other_devices_draw_from_the_process(where: str) -> None:
    with randomness(learner("emotion", "joint", config()), torch.device(where)) as drawn:
        assert drawn.generator is None
    with randomness(learner("emotion", "joint", config()), CPU, compiled=True) as drawn:
        assert drawn.generator is None
