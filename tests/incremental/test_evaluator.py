from dataclasses import replace

import numpy as np
import pytest
import torch
from support.incremental_helpers import CPU, draw_candidates, network, normalise, plain
from torch import nn

from mmer_core.attacks.candidates import Candidates, apply, from_flat
from mmer_core.errors import AttackError
from mmer_core.incremental.evaluator import FEWEST, CandidateEvaluator
from mmer_core.incremental.planning import Planner
from mmer_core.runtimes import Compiled

SIZE = (40, 32)


class SqueezeExcited(nn.Module):
    """A convolution, then channels weighted by what the whole map holds."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.weigh = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1)

    def forward(self, x):
        x = self.convolution(x)
        return (x * torch.sigmoid(self.weigh(x.mean(dim=(2, 3), keepdim=True)))).mean(dim=(2, 3))


class Branching(nn.Module):
    """Nothing that can be traced: what it does depends on what it sees."""

    def forward(self, x):
        return x.flatten(1) if x.mean() > 0 else x.flatten(1) * 2


def images(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *SIZE, 3), dtype=torch.uint8, generator=generator)


def scored(
    evaluator: CandidateEvaluator, clean: torch.Tensor, rows: torch.Tensor, candidates: Candidates
) -> torch.Tensor:
    return evaluator(clean, rows.tolist(), candidates.positions(clean.shape[2]), candidates.colours)


def planner(module: nn.Module, method: str = "incremental", runtime: str = "torch") -> Planner:
    return Planner(module, normalise, SIZE, CPU, method=method, runtime=runtime)


def test_what_is_not_local_ends_the_windows_and_is_computed_densely():
    module = SqueezeExcited().eval()
    plans = planner(module)
    assert plans.cuts == ("convolution",)
    assert plans.reason is None
    assert "as far as convolution" in plans.plan(1).sentence
    clean, candidates = images(1), draw_candidates(SIZE, 8, 2, 0)
    rows = torch.zeros(8, dtype=torch.int64)
    found = scored(CandidateEvaluator(plans), clean, rows, candidates)
    assert torch.allclose(found, plain(module, apply(clean[rows], candidates)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Branching(), "torch.fx cannot trace it"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE[0] * SIZE[1], 2)), "local at _0 (Flatten)"),
        (nn.Sequential(nn.GroupNorm(1, 3), nn.Conv2d(3, 2, 1), nn.Flatten()), "at _0 (GroupNorm)"),
        (nn.Sequential(nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular"), nn.Flatten()), "(Conv2d)"),
    ],
)
def test_a_network_that_cannot_be_computed_in_windows_is_computed_densely_and_says_why(module, reason):
    plans = planner(module)
    assert plans.plan(1).cut is None
    assert reason in str(plans.reason)
    assert reason in plans.plan(1).sentence
    clean, candidates = images(2), draw_candidates(SIZE, 8, 1, 0)
    rows = torch.arange(8) % 2
    found = scored(CandidateEvaluator(plans), clean, rows, candidates)
    expected = plain(module.eval(), apply(clean[rows], candidates))
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_layer_that_works_in_place_on_a_map_with_readers_before_it_is_not_computed_in_windows():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)

        def forward(self, x):
            x = self.convolution(x)
            part = x[:, :2]
            x = x + self.relu(x)  # the sum reads what relu wrote
            return torch.cat([x, part], dim=1).mean(dim=(2, 3))  # and so does the part

    module = Shared().eval()
    plans = planner(module)
    assert plans.cuts == ("convolution",)
    clean, candidates, rows = images(2), draw_candidates(SIZE, 8, 2, 0), torch.arange(8) % 2
    found = scored(CandidateEvaluator(plans), clean, rows, candidates)
    assert torch.allclose(found, plain(module, apply(clean[rows], candidates)), rtol=1e-4, atol=1e-5)


def test_an_image_that_changed_under_the_same_row_is_not_taken_for_the_old_one():
    module = network()
    evaluator = CandidateEvaluator(planner(module))
    candidates, rows = draw_candidates(SIZE, 8, 1, 0), torch.zeros(8, dtype=torch.int64)
    for seed in (0, 1):
        clean = images(1, seed)
        found = scored(evaluator, clean, rows, candidates)
        assert torch.allclose(found, plain(module, apply(clean[rows], candidates)), rtol=1e-4, atol=1e-5)


def test_more_images_than_are_kept_are_scored_all_the_same():
    module = network()
    evaluator = CandidateEvaluator(planner(module), memory=0)
    assert evaluator.images_at_once(2) == FEWEST
    clean = images(3 * FEWEST)
    rows = torch.cat([torch.arange(3 * FEWEST), torch.arange(3 * FEWEST).flip(0)])
    candidates = draw_candidates(SIZE, len(rows), 2, 0)
    found = scored(evaluator, clean, rows, candidates)
    assert torch.allclose(found, plain(module, apply(clean[rows], candidates)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.parametrize("method", ["dense", "incremental"])
def test_a_score_does_not_depend_on_who_shares_its_batch(method, runtime):
    if runtime != "torch":
        pytest.importorskip(runtime)
    module = network()
    clean, candidates = images(4), draw_candidates(SIZE, 37, 3, 0)
    rows = torch.arange(37) % 4
    together = scored(CandidateEvaluator(planner(module, method, runtime)), clean, rows, candidates)
    evaluator = CandidateEvaluator(planner(module, method, runtime))
    for number in np.random.default_rng(0).permutation(37):
        alone = scored(evaluator, clean, rows[number : number + 1], candidates[number : number + 1])
        assert torch.equal(alone[0], together[number])


@pytest.mark.parametrize(("method", "largest"), [("dense", 16), ("incremental", 16)])
def test_passes_are_of_one_size_and_little_is_computed_in_vain(method, largest, monkeypatch):
    plan = planner(network(), method).plan(1)
    assert plan.batch == largest
    sizes = []

    def counted(maps):
        sizes.append(len(maps))
        return torch.zeros(len(maps), 5)

    plans = planner(network(), method)
    monkeypatch.setattr(plans, "_compile", lambda *_: Compiled(counted, "torch", ""))
    clean, candidates = images(8), draw_candidates(SIZE, 8, 1, 0)
    scored(CandidateEvaluator(plans), clean, torch.arange(8), candidates)
    assert sizes == [16]


@pytest.mark.parametrize("method", ["dense", "incremental"])
@pytest.mark.parametrize("count", [1, 5, 7, 10, 23])
def test_openvino_computes_hardly_more_than_is_asked(method, count, monkeypatch):
    pytest.importorskip("openvino")
    plans, sizes = planner(network(), method, "openvino"), []
    make = plans._make
    largest = plans.plan(1).batch
    plan = make(plans.plan(1).cut)

    def counted(run):
        def counting(*inputs):
            sizes.append(len(inputs[0]))
            return run(*inputs)

        return counting

    if plan.dense is not None:
        plan = replace(plan, dense=replace(plan.dense, run=counted(plan.dense.run)))
    else:
        start = plan.start

        def started(images):
            made = start(images)
            made._run = counted(made._run)
            return made

        plan = replace(plan, start=started)
    monkeypatch.setattr(plans, "plan", lambda pixels, **_: plan)
    clean, candidates = images(count), draw_candidates(SIZE, max(count, 6), 1, 0)[:count]
    scored(CandidateEvaluator(plans), clean, torch.arange(count), candidates)
    assert count <= sum(sizes) <= count * 8 / 7
    assert all(largest % size == 0 for size in sizes)


def test_the_module_is_copied_and_left_as_it_was():
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    plans = planner(module)
    clean, candidates = images(1), draw_candidates(SIZE, 6, 1, 0)
    scored(CandidateEvaluator(plans), clean, torch.zeros(6, dtype=torch.int64), candidates)
    assert isinstance(module[1], nn.BatchNorm2d)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_positions_outside_of_the_image_are_refused():
    candidates = from_flat(np.array([[SIZE[0] * SIZE[1]]]), np.zeros((1, 1, 3), dtype=np.uint8))
    with pytest.raises(AttackError, match="outside an image"):
        scored(CandidateEvaluator(planner(network())), images(1), torch.tensor([0]), candidates)
