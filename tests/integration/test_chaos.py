"""Some of the faults of the chaos runs; all of them in any number: ``make chaos``."""

from collections.abc import Iterator

import pytest

from tools.chaos.arena import Arena, arena
from tools.chaos.faults import FAULTS
from tools.chaos.trial import run_trial

pytestmark = [pytest.mark.integration, pytest.mark.long]


@pytest.fixture(scope="module")
def place(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with arena(tmp_path_factory.mktemp("chaos")) as running:
        yield running


# A run that is killed is also in test_kill_resume.py, and a damaged object in tests/store.
@pytest.mark.parametrize("fault", ["disk full", "flow killed", "object corrupted"])
def test_a_run_after_a_fault_leaves_what_an_undisturbed_one_does(place: Arena, fault: str) -> None:
    trial = run_trial(place, fault.replace(" ", "-"), fault, FAULTS[fault], seed=f"test {fault}")
    assert trial.identical, trial.line
