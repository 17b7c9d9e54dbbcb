"""What a training held is freed when it ends, not when Python next looks for cycles: hundreds of MB for each of many trainings."""

import gc
import weakref
from collections.abc import Iterator

import pytest
from support.toy_training import CPU, config, learner

from mmer_core.training.loop import fit


@pytest.fixture
def no_cycles_are_looked_for() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_cycles_are_looked_for")
@pytest.mark.parametrize("family", ["separate", "joint"])
@pytest.mark.parametrize("task", ["emotion", "retrieval"])
def test_data_and_weights_are_freed_with_the_learner(task: str, family: str) -> None:
    fit(
        learner(task, family, config()), config(), device=CPU
    )  # what is imported at first use may hold the first one
    one = learner(task, family, config())
    parts = [weakref.ref(part) for part in (one, one.model, one.train)]
    fit(one, config(), device=CPU)
    del one
    assert [part() for part in parts] == [None] * 3
