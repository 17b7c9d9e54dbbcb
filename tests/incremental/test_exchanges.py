"""Candidates that exchange a few pixels of a set in use, computed on the maps of that set, beside the network itself."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.incremental_helpers import CPU, normalise, plain
from support.random_networks import networks
from test_architectures import SHARES, Normalised, Placed, Shaped, Shuffled, of_torchvision
from test_operations import OPERATIONS, between, planner_of
from torch import nn

from mmer_core import runtimes
from mmer_core.attacks import Candidates
from mmer_core.attacks.candidates import Exchange, apply
from mmer_core.attacks.victims import evaluate
from mmer_core.incremental.evaluator import CandidateEvaluator, MirroredEvaluator
from mmer_core.incremental.kept import KeptImages
from mmer_core.incremental.planning import Planner


class Walk:
    """Sets in use of three images, and exchanges against them; now and then one of the last takes a set's place."""

    def __init__(self, size: tuple[int, int], pixels: int, exchanged: int, seed: int) -> None:
        self.rng, self.size, self.exchanged = np.random.default_rng(seed), size, exchanged
        self.images = torch.from_numpy(self.rng.integers(0, 256, (3, *size, 3), dtype=np.uint8))
        self.sets = [self._new(pixels) for _ in range(3)]

    def _new(self, pixels: int) -> np.ndarray:
        area = self.size[0] * self.size[1]
        places = self.rng.choice(area, pixels, replace=False)
        return np.concatenate([places[:, None], self.rng.integers(0, 256, (pixels, 3))], axis=1)

    def batch(self, each: int) -> tuple[torch.Tensor, Candidates]:
        """``each`` exchanges of every image."""
        rows, befores, afters, columns = [], [], [], []
        for _ in range(each):
            for row, before in enumerate(self.sets):
                after = before.copy()
                chosen = self.rng.choice(len(before), self.exchanged, replace=self.exchanged > len(before))
                free = np.setdiff1d(np.arange(self.size[0] * self.size[1]), before[:, 0])
                changed = chosen[: self.rng.integers(0, len(chosen) + 1)]  # the others stay as they are
                places = self.rng.choice(free, len(changed), replace=False)  # a set has each place once
                for column, place in zip(changed, places, strict=True):
                    after[column] = [place, *self.rng.integers(0, 256, 3)]
                rows.append(row), befores.append(before), afters.append(after), columns.append(chosen)
        self.last = rows, afters
        before, after, columns = (torch.from_numpy(np.stack(each)) for each in (befores, afters, columns))
        exchange = Exchange(before[..., 0], before[..., 1:].to(torch.uint8), columns, self.exchanged)
        found = Candidates(after[..., 0], after[..., 1:].to(torch.uint8), True, exchange)
        return torch.tensor(rows), found

    def go_on(self, anew: bool = False) -> None:
        """Some sets become one of their last exchanges, or something else altogether."""
        rows, afters = self.last
        for row in range(3):
            if self.rng.random() < 0.6:
                number = self.rng.choice([number for number, one in enumerate(rows) if one == row])
                self.sets[row] = self._new(len(self.sets[row])) if anew else afters[number]


def difference(evaluator, module: nn.Module, walk: Walk, steps: int) -> float:
    """Largest error relative to the largest output, over generations of a search."""
    worst = 0.0
    for step in range(steps):
        rows, candidates = walk.batch(each=1 + step % 2)
        found = evaluate(evaluator, walk.images, rows, candidates)
        expected = plain(module, apply(walk.images[rows], candidates))
        if isinstance(evaluator, MirroredEvaluator):
            expected = (expected + plain(module, apply(walk.images[rows], candidates).flip(2))) / 2
        error = float((found - expected).abs().max() / expected.abs().max())
        worst = worst if error <= worst else error  # which may be no number
        walk.go_on(anew=step == 3)
    return worst


@pytest.mark.long
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    network=networks(),
    pixels=st.integers(1, 9),
    count=st.integers(1, 3),
    seed=st.integers(0, 2**16),
    data=st.data(),
)
def test_random_networks_are_evaluated_exactly(network, pixels, count, seed, data):
    module, size = network
    planner = Planner(module, normalise, size, CPU, method="incremental", runtime="torch")
    planner.use(2 * count, data.draw(st.sampled_from(planner.cuts)))
    walk = Walk(size, pixels, min(count, pixels) if pixels >= count else count, seed)
    assert difference(CandidateEvaluator(planner), module, walk, steps=6) < 1e-4


@pytest.mark.long
@pytest.mark.parametrize("name", SHARES)
def test_networks_in_use_are_evaluated_exactly(name):
    module = of_torchvision(name)
    planner = Planner(module, normalise, (64, 64), CPU, method="incremental", runtime="torch")
    planner.use(2, planner.cuts[len(planner.cuts) // 2])
    assert difference(CandidateEvaluator(planner), module, Walk((64, 64), 6, 1, seed=2), steps=4) < 1e-4


@pytest.mark.parametrize("network", [Shaped, Shuffled, Normalised, Placed])
@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_networks_as_people_write_them_are_evaluated_exactly(network, runtime):
    if runtime != "torch":
        pytest.importorskip(runtime)
    torch.manual_seed(0)
    module = network().eval()
    planner = Planner(module, normalise, (40, 40), CPU, method="incremental", runtime=runtime)
    for cut in planner.cuts if runtime == "torch" else planner.cuts[-1:]:
        planner.use(4, cut)
        assert difference(CandidateEvaluator(planner), module, Walk((40, 40), 12, 2, seed=1), steps=5) < 1e-4
        assert difference(MirroredEvaluator(planner), module, Walk((40, 40), 12, 2, seed=4), steps=3) < 1e-4


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_maps_of_any_operation_are_written_into(name):
    """A set in use changes those of its image, at the border as well."""
    module = between(OPERATIONS[name])
    planner = planner_of(module)
    planner.use(4, planner.cuts[-1])
    assert difference(CandidateEvaluator(planner), module, Walk((24, 32), 12, 2, seed=1), steps=5) < 1e-4


@pytest.mark.parametrize("each", [2, 30])
def test_maps_of_a_set_are_computed_whole_only_for_what_was_not_tried(monkeypatch, each):
    """A search goes on from a candidate of the last call, in whichever of its passes: then only its windows change."""
    module, whole = Shaped().eval(), []
    planner = Planner(module, normalise, (40, 40), CPU, method="incremental", runtime="torch")
    walk, evaluator = Walk((40, 40), 12, 1, seed=0), CandidateEvaluator(planner)
    assert evaluator.exchanges(1)
    start = planner.plan(2, with_windows=True).start
    made = start(3)
    remember = type(made).remember
    monkeypatch.setattr(
        type(made), "remember", lambda self, *args: (whole.append(1), remember(self, *args))[1]
    )
    for _ in range(8):
        evaluate(evaluator, walk.images, *walk.batch(each=each))
        walk.go_on()
    assert len(whole) == 3


def test_a_network_that_returns_windows_is_converted_once(monkeypatch, tmp_path):
    """A process that is given what another one has converted converts nothing."""
    pytest.importorskip("openvino")
    module = Shaped().eval()

    def planner() -> Planner:
        return Planner(module, normalise, (40, 40), CPU, method="incremental")

    cut = planner().convert(2, tmp_path, with_windows=True)
    monkeypatch.setattr(runtimes, "_converted", None)
    given = planner()
    plan = given.plan(2, tmp_path, with_windows=True)
    assert (plan.cut, plan.any_size) == (cut, True)
    assert difference(CandidateEvaluator(given), module, Walk((40, 40), 12, 1, seed=5), steps=4) < 1e-4


def test_what_was_written_is_forgotten_with_its_image():
    """More images than are kept: each is computed anew when it comes back."""
    module = Shaped().eval()
    planner = Planner(module, normalise, (40, 40), CPU, method="incremental", runtime="torch")
    plan = planner.plan(2, with_windows=True)
    walk = Walk((40, 40), 5, 1, seed=3)
    rows, candidates = walk.batch(each=1)
    kept = KeptImages(plan.start(2), 2, 5, planner.input)
    evaluator = CandidateEvaluator(planner)
    evaluate(evaluator, walk.images, rows, candidates)
    evaluator._kept = kept
    for _ in range(2):
        for number in range(3):
            one = slice(number, number + 1)
            found = evaluate(evaluator, walk.images, rows[one], candidates[one])
            expected = plain(module, apply(walk.images[rows[one]], candidates[one]))
            assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
