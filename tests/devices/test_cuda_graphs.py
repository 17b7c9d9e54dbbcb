"""Passes that are captured as graphs give what PyTorch gives, whatever comes between them, and what cannot be captured runs as before."""

import copy
import re
import sys
import threading
from collections.abc import Iterator

import pytest
import torch
from support.incremental_helpers import network
from support.on_device import CUDA, REAL
from support.simulated_cuda import Counts
from support.single_thread import one_thread
from torch import nn

from mmer_core.attacks import Candidates, ClassifierVictim, apply
from mmer_core.cuda_graphs import free_memory
from mmer_core.incremental.planning import Method
from mmer_core.kernels import exact_float32, float32_kernels
from mmer_core.memory import Passes
from mmer_core.runtimes import Compiled, compile_network

__all__ = ["one_thread"]

pytestmark = pytest.mark.usefixtures("counts")
BATCH = 8
CAPTURED = "PyTorch runs the dense part as a CUDA graph"
REPLAYED = 3
"""Kernels of a pass: its input is copied, its graph launched, and its output copied."""


@pytest.fixture
def module() -> nn.Module:
    return network().to(CUDA)


def images(seed: int, count: int = BATCH) -> torch.Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)).to(CUDA)


def captured(module: nn.Module) -> Compiled:
    found = compile_network(module, images(0))
    assert found.sentence == CAPTURED
    return found


@exact_float32()
def eager(module: nn.Module, maps: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return module(maps)


@exact_float32()
def run(compiled: Compiled, maps: torch.Tensor) -> torch.Tensor:
    """In float32, as everything that mmer runs, also where no graph is replayed."""
    return compiled.run(maps)


def launched(counts: Counts, compiled: Compiled, maps: torch.Tensor) -> int:
    before = counts.copy()
    compiled.run(maps)
    return counts.since(before).kernels


def test_a_replay_gives_what_pytorch_gives(module: nn.Module) -> None:
    compiled = captured(module)
    found = [compiled.run(images(seed)) for seed in (1, 2)]  # a replay writes over no result
    for seed, one in zip((1, 2), found, strict=True):
        torch.testing.assert_close(one, eager(module, images(seed)))


@pytest.mark.skipif(REAL, reason="a real device is not counted")
def test_a_replay_is_one_launch_until_its_memory_is_wanted(module: nn.Module, counts: Counts) -> None:
    compiled, maps = captured(module), images(1)
    before = counts.copy()
    expected = eager(module, maps)
    kernels = counts.since(before).kernels
    assert launched(counts, compiled, maps) == REPLAYED < kernels
    assert launched(counts, compiled, images(1, BATCH // 2)) >= kernels
    assert launched(counts, compiled, maps) == REPLAYED
    free_memory()
    assert launched(counts, compiled, maps) >= kernels
    torch.testing.assert_close(run(compiled, maps), expected)


def test_a_batch_of_another_shape_is_no_replay(module: nn.Module) -> None:
    compiled = captured(module)
    for count in (1, BATCH // 2, 2 * BATCH):
        torch.testing.assert_close(run(compiled, images(1, count)), eager(module, images(1, count)))


def test_a_victim_that_reads_gray_images_is_captured() -> None:
    reads_gray = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 3)).to(CUDA)
    victim = ClassifierVictim(reads_gray, (0.5,), (0.2,), (16, 16))
    assert CAPTURED in victim.planner.dense.sentence


class Waits(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps * maps.mean().item()


class Branches(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps if maps.mean() > 0 else -maps


class Copies(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps * torch.tensor([1.0, 2.0, 3.0], device=maps.device)[:, None, None]


class Selects(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps[maps[:, 0, 0, 0] > -10]


class Full(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        if torch.cuda.is_current_stream_capturing():
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return maps + 1


class Counting(nn.Module):
    """Its result depends on what Python counts."""

    passes = 0

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return maps * self.passes


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        *((kind, r"cannot run this network \(\w*Error\)") for kind in (Waits, Branches, Copies, Selects)),
        (Full, r"cannot run this network \(OutOfMemoryError\)"),
        (Counting, r"differs from PyTorch by \d"),
    ],
)
def test_what_cannot_be_captured_runs_as_before(
    module: nn.Module, kind: type[nn.Module], reason: str
) -> None:
    stream = torch.cuda.current_stream()
    compiled = compile_network(nn.Sequential(kind(), module), images(0))
    assert compiled.runtime == "torch"
    start = "PyTorch runs the dense part kernel by kernel, because a CUDA graph "
    assert compiled.sentence.startswith(start)
    assert re.fullmatch(reason + ".*", compiled.sentence.removeprefix(start))
    assert torch.cuda.current_stream() == stream
    if kind is not Counting:
        whole = nn.Sequential(kind(), module)
        torch.testing.assert_close(run(compiled, images(1)), eager(whole, images(1)))
    captured(module)  # which a failure before it does not hinder
    torch.rand(1, device=CUDA)


def test_an_older_pytorch_captures_nothing(module: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.13.0"))
    assert compile_network(module, images(0)).sentence == (
        "PyTorch runs the dense part kernel by kernel, because a CUDA graph needs PyTorch 2.14"
    )


def test_weights_that_are_written_into_count_and_others_do_not(module: nn.Module) -> None:
    compiled, other, maps = captured(module), copy.deepcopy(module), images(1)
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(1.5)
    module.load_state_dict(other.state_dict())
    expected = eager(other, maps)
    torch.testing.assert_close(run(compiled, maps), expected)
    module[0].weight = nn.Parameter(torch.zeros_like(module[0].weight))
    taken = [torch.zeros(8, 3, 3, 3, device=CUDA) for _ in range(100)]  # the memory, if it were free
    torch.testing.assert_close(run(compiled, maps), expected)
    assert len(taken) == 100


@pytest.fixture
def many_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_share_a_graph(module: nn.Module, many_switches: None) -> None:
    compiled = captured(module)
    expected = [eager(module, images(seed)) for seed in range(2)]
    wrong: list[int] = []

    def runs(seed: int) -> None:
        maps = images(seed)
        wrong.extend(seed for _ in range(30) if not torch.allclose(compiled.run(maps), expected[seed]))

    threads = [threading.Thread(target=runs, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class Beside(nn.Module):
    """Another thread waits for the device, and takes memory, while it runs; ``seen`` has what that read in a capture."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        capturing = torch.cuda.is_current_stream_capturing()

        def waits() -> None:
            read = float(torch.ones(10**6, device=CUDA).sum().cpu())
            if capturing:
                self.seen.append(read)

        thread = threading.Thread(target=waits)
        thread.start()
        thread.join()
        return maps


def test_other_threads_do_not_spoil_a_capture(module: nn.Module) -> None:
    beside, maps = Beside(), images(1)
    compiled = captured(nn.Sequential(beside, module))
    assert beside.seen == [1e6]
    torch.testing.assert_close(run(compiled, maps), eager(module, maps))


class Looking(nn.Module):
    """Keeps whether TF32 was allowed when it was captured."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[bool, bool]] = set()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        if torch.cuda.is_current_stream_capturing():
            self.seen.add((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
        return maps


def test_a_replay_is_exact_whatever_the_process_allows(module: nn.Module) -> None:
    looking, maps = Looking(), images(1)
    expected = eager(module, maps)
    with float32_kernels(tf32=True):
        compiled = captured(nn.Sequential(looking, module))
        rounded = compiled.run(maps)
    assert looking.seen == {(False, False)}
    torch.testing.assert_close(rounded, expected, rtol=1e-5, atol=1e-5)
    with exact_float32():
        assert torch.equal(compiled.run(maps), rounded)


ATTACKED = 25
"""Kernels of an attack's pass of 64 candidates with a replay."""


@pytest.mark.parametrize("method", ["dense", "incremental"])
def test_passes_of_an_attack_are_replays(method: Method, counts: Counts) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()]
    for _ in range(10):
        layers += [nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    deep = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval().to(CUDA)
    victim = ClassifierVictim(deep, (0.5,) * 3, (0.25,) * 3, (16, 16), method=method)
    assert victim.planner.plan(1).sentence.endswith(CAPTURED)
    clean = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8).to(CUDA)
    places = torch.arange(64, device=CUDA)[:, None]
    candidates = Candidates(places, torch.full((64, 1, 3), 255, dtype=torch.uint8, device=CUDA))
    rows = torch.arange(64) % 2
    spent, found = [], []
    for _ in range(3):  # the first remembers clean images, the last has no graph any more
        before = counts.copy()
        found.append(victim.candidate_scores(clean, rows, candidates))
        spent.append(counts.since(before).kernels)
        if len(found) == 2:
            free_memory()
    whole = victim.scores(apply(clean[rows], candidates), rows)
    for one in found:
        torch.testing.assert_close(one, whole, atol=1e-4, rtol=1e-4)
    if not REAL:
        assert spent[1] < spent[2], spent
        if method == "dense":
            assert spent[1] <= ATTACKED < spent[2] / 2, spent


def test_where_memory_is_full_graphs_give_theirs_back(module: nn.Module, counts: Counts) -> None:
    def run(maps: torch.Tensor) -> torch.Tensor:
        if len(maps) == BATCH:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return compiled.run(maps)

    compiled, maps = captured(module), images(1)
    torch.testing.assert_close(Passes()(run, maps), eager(module, maps))
    assert REAL or launched(counts, compiled, maps) > REPLAYED
