import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from support.incremental_helpers import network
from torch import nn
from torch.nn import functional

from mmer_core import runtimes
from mmer_core.encoders.base import ImageEncoder, Preprocessing
from mmer_core.errors import ConfigError

EXAMPLE = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("runtime", runtimes.RUNTIMES)
def test_every_runtime_gives_what_pytorch_gives(runtime):
    if runtime != "torch":
        pytest.importorskip(runtime)
    module = network()
    compiled = runtimes.compile_network(module, EXAMPLE, runtime)
    assert compiled.runtime == runtime
    images = EXAMPLE.flip(0).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert torch.allclose(compiled.run(images), module(images), atol=1e-5)


class WithFiveDimensions(nn.Module):
    """As a Swin transformer holds the mask of its attention."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("mask", torch.ones(1, 1, 4, 1, 1))

    def forward(self, x):
        return (self.conv(x)[:, None] * self.mask).mean((1, 3, 4))


def test_a_tensor_of_five_dimensions_stays_as_it_is():
    module = WithFiveDimensions()
    with torch.no_grad():
        expected = module(EXAMPLE)
        assert torch.allclose(
            runtimes.compile_network(module, EXAMPLE, "torch").run(EXAMPLE), expected, atol=1e-5
        )
        encoder = ImageEncoder("five", module, Preprocessing(16, (0, 0, 0), (1, 1, 1)), 4)
        assert encoder.module.conv.weight.is_contiguous(memory_format=torch.channels_last)
        assert torch.allclose(encoder.module(EXAMPLE), expected, atol=1e-5)


def test_one_program_serves_all_sizes_and_what_is_met_often_gets_its_own(monkeypatch):
    openvino = pytest.importorskip("openvino")
    compiled: list[str] = []

    class Core(openvino.Core):
        def compile_model(self, model, *given):
            compiled.append(str(model.input(0).partial_shape))
            return super().compile_model(model, *given)

    monkeypatch.setattr(openvino, "Core", Core)
    monkeypatch.setattr(runtimes, "_OFTEN", 4)
    run = runtimes.compile_network(network(), EXAMPLE, "openvino").run  # which runs it once
    whole = run(EXAMPLE)
    parts = torch.cat([run(EXAMPLE[:1]), run(EXAMPLE[1:])])  # a size that was met when it was checked
    assert compiled == ["[?,3,16,16]"]
    assert torch.equal(parts, whole)
    for _ in range(3):
        assert torch.equal(run(EXAMPLE), whole)
    assert compiled == ["[?,3,16,16]", "[2,3,16,16]"]
    larger = torch.nn.functional.pad(EXAMPLE, (2, 2))  # in a way in which no example differed
    assert run(larger).shape == whole.shape
    assert compiled[2:] == ["[2,3,16,20]"]


def test_a_program_of_its_own_that_rounds_differently_is_not_used(monkeypatch):
    """Or what an attack finds would depend on how many passes there were before."""
    openvino = pytest.importorskip("openvino")
    other = network()
    with torch.no_grad():
        next(other.parameters()).mul_(1 + 1e-6)
    rounded = runtimes._converted(other, [EXAMPLE])
    rounded.reshape([2, 3, 16, 16])

    class Core(openvino.Core):
        def compile_model(self, model, *given):
            return super().compile_model(model if model.is_dynamic() else rounded, *given)

    monkeypatch.setattr(openvino, "Core", Core)
    monkeypatch.setattr(runtimes, "_OFTEN", 2)
    run = runtimes.compile_network(network(), EXAMPLE, "openvino").run
    outputs = [run(EXAMPLE) for _ in range(5)]
    assert all(torch.equal(one, outputs[0]) for one in outputs)


class OfItself(nn.Module):
    """Convolves each image with a kernel of its own, as many as there are images: OpenVINO needs to know how many."""

    def forward(self, x):
        count, channels, height, width = x.shape
        kernels = x.mean(dim=(2, 3)).view(count, channels, 1, 1)
        together = x.reshape(1, count * channels, height, width)
        return functional.conv2d(together, kernels, groups=count).view(count, -1)


def test_a_network_that_openvino_runs_with_fixed_sizes_only_runs_with_them():
    pytest.importorskip("openvino")
    compiled = runtimes.compile_network(OfItself(), EXAMPLE, "openvino")
    assert (compiled.runtime, compiled.any_size) == ("openvino", False)
    for images in (EXAMPLE, EXAMPLE.flip(0)):
        torch.testing.assert_close(compiled.run(images), OfItself()(images))


def test_openvino_reports_nothing_to_anybody():
    pytest.importorskip("openvino")
    program = (
        "import multiprocessing.process, sys, torch\n"
        "from mmer_core import runtimes\n"
        "def refuse(self): raise SystemExit('a process was started')\n"
        "multiprocessing.process.BaseProcess.start = refuse\n"
        "module = torch.nn.Conv2d(3, 4, 3)\n"
        "assert runtimes.compile_network(module, torch.ones(1, 3, 8, 8), 'openvino').runtime == 'openvino'\n"
        "import openvino.tools.ovc.telemetry_utils as used\n"
        "assert used.tm.__name__ == 'openvino.tools.ovc.telemetry_stub', used.tm\n"
    )
    environment = {
        name: value for name, value in os.environ.items() if name != "CI"
    }  # where it reports nothing
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_without_a_runtime_pytorch_runs_and_says_so(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    compiled = runtimes.compile_network(network(), EXAMPLE)
    assert compiled.runtime == "torch"
    assert "OpenVINO is not installed (pip install 'mmer[fast]')" in compiled.sentence


def test_a_runtime_asked_for_by_name_is_not_replaced(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="OpenVINO is not installed"):
        runtimes.compile_network(network(), EXAMPLE, "openvino")


def test_what_was_converted_is_compiled_without_converting_it_again(monkeypatch, tmp_path):
    pytest.importorskip("openvino")
    made = runtimes.compile_network(network(), EXAMPLE, "openvino").run(EXAMPLE)
    runtimes.convert_network(network(), [EXAMPLE], tmp_path)
    monkeypatch.setattr(runtimes, "_converted", lambda *given: pytest.fail("converted again"))
    kept = runtimes.compile_network(network(), EXAMPLE, "openvino", tmp_path).run(EXAMPLE)
    torch.testing.assert_close(kept, made, rtol=0, atol=0)
    other = network()
    with torch.no_grad():
        next(other.parameters()).mul_(1.5)
    with pytest.raises(ConfigError, match="differs from PyTorch"):
        runtimes.compile_network(other, EXAMPLE, "openvino", tmp_path)


def test_a_runtime_that_gives_something_else_is_not_trusted(monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(runtimes, "_openvino", lambda module, *given: lambda maps: module(maps) * 1.01)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "there")
    with pytest.raises(ConfigError, match=r"differs from PyTorch by 1\.0e-02"):
        runtimes.compile_network(network(), EXAMPLE, "openvino")


class WritesIntoItsInput(nn.Module):
    """By another name than that which it reads it by, which OpenVINO does not follow."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.data[:, 0] = 5.0
        return (2 * x).mean((2, 3))


def test_what_a_network_writes_into_its_input_does_not_hide_a_difference() -> None:
    pytest.importorskip("openvino")
    example = torch.rand(2, 3, 8, 8)
    with pytest.raises(ConfigError, match="OpenVINO differs from PyTorch"):
        runtimes.compile_network(WritesIntoItsInput(), example, "openvino")
    chosen = runtimes.compile_network(WritesIntoItsInput(), example)
    torch.testing.assert_close(chosen.run(example.clone()), WritesIntoItsInput()(example.clone()))


class RepeatsWhatItWrites(nn.Module):
    """Which OpenVINO converts for one size of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        y = x.clone()
        y[:, 2:4] = x[:, :1]
        return y.mean((2, 3))


@pytest.mark.parametrize("runtime", ["openvino", "auto"])
def test_a_program_that_serves_one_size_of_a_batch_alone_is_right_after_another_was_tried(runtime) -> None:
    pytest.importorskip("openvino")
    module = RepeatsWhatItWrites().eval()
    compiled = runtimes.compile_network(module, torch.zeros(16, 3, 24, 32), runtime)
    assert not compiled.any_size
    for seed in range(4):
        images = torch.randn(16, 3, 24, 32, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            torch.testing.assert_close(compiled.run(images), module(images), rtol=1e-4, atol=1e-5)


def test_a_program_that_gives_another_number_of_rows_is_refused() -> None:
    with pytest.raises(runtimes.Refused, match="other shapes"):
        runtimes._compare("openvino", lambda x: x, lambda x: x[:1], [torch.rand(3, 2)])
