"""Running a frozen network fast: PyTorch, or an inference runtime where one is installed and faster.

On the CPU, OpenVINO (extra ``fast``) and ONNX Runtime (extra ``onnx``) run convolutional networks in float32
two to four times as fast as eager PyTorch. Both are asked for float32 throughout, and both are checked
against PyTorch before they are trusted.
"""

import importlib.util
import logging
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmer_core.errors import ConfigError

Runtime = Literal["auto", "torch", "openvino", "onnxruntime"]
RUNTIMES: tuple[Runtime, ...] = ("openvino", "onnxruntime", "torch")
_TOLERANCE = 1e-4  # relative to the largest output; other orders of summation differ by about 1e-6
_EXTRAS = {"openvino": "fast", "onnxruntime": "onnx"}


@dataclass(frozen=True)
class Compiled:
    """A network ready to run on batches of one size.

    Attributes:
        run: ``(B, C, H, W)`` float32 of the example's shape to what the module returns.
        runtime: What runs it.
        sentence: The same for people, with the reason where it is not the one that was asked for.
    """

    run: Callable[[Tensor], Tensor]
    runtime: Runtime
    sentence: str


def compile_network(module: nn.Module, example: Tensor, runtime: Runtime = "auto") -> Compiled:
    """Prepare ``module`` for batches of the shape and device of ``example`` ``(B, C, H, W)``.

    ``auto`` takes the first of OpenVINO, ONNX Runtime and PyTorch that is installed and works; on another
    device than the CPU, PyTorch.

    Raises:
        ConfigError: The runtime asked for by name is not installed, or cannot run this network.
    """
    if runtime == "torch" or (runtime == "auto" and example.device.type != "cpu"):
        return _torch(module, "PyTorch runs the dense part")
    refusals = []
    for name in RUNTIMES[:-1] if runtime == "auto" else (runtime,):
        try:
            return Compiled(_checked(name, module, example), name, f"{_TITLES[name]} runs the dense part")
        except _Refused as refusal:
            refusals.append(f"{_TITLES[name]} {refusal}")
    if runtime != "auto":
        raise ConfigError(f"{refusals[0]}; choose the runtime torch or auto")
    return _torch(module, f"PyTorch runs the dense part, because {' and '.join(refusals)}")


class _Refused(Exception):
    """A runtime is not there, or does not run this network; the message says which."""


_TITLES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}


def _torch(module: nn.Module, sentence: str) -> Compiled:
    module = module.eval().to(memory_format=torch.channels_last)

    def run(maps: Tensor) -> Tensor:
        with torch.inference_mode():
            return module(maps.contiguous(memory_format=torch.channels_last))

    return Compiled(run, "torch", sentence)


def _checked(name: str, module: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
    if importlib.util.find_spec(name) is None:
        raise _Refused(f"is not installed (pip install 'mmer[{_EXTRAS[name]}]')")
    example = example.contiguous()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # both trace with what torch deprecates
            run = {"openvino": _openvino, "onnxruntime": _onnxruntime}[name](module.eval(), example)
            with torch.inference_mode():
                noise = torch.randn(example.shape, generator=torch.Generator().manual_seed(0))
                expected, found = module(example + noise), run(example + noise)
    except Exception as error:  # whatever a runtime may raise for a network that it does not know
        raise _Refused(f"cannot run this network ({type(error).__name__})") from error
    difference = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    if not difference <= _TOLERANCE:
        raise _Refused(f"differs from PyTorch by {difference:.1e} on this network")
    return run


def _openvino(module: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
    import openvino

    model = openvino.convert_model(module, example_input=example)
    model.reshape(list(example.shape))
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # workers would all be pinned to the same core
    }
    core, mine = openvino.Core(), threading.local()

    def run(maps: Tensor) -> Tensor:
        # Compiled for every thread: those that share a compiled model wait for one another.
        if not hasattr(mine, "request"):
            mine.request = core.compile_model(model, "CPU", settings).create_infer_request()
        return torch.from_numpy(mine.request.infer({0: maps.contiguous().numpy()})[0].copy())

    return run


def _onnxruntime(module: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    program = torch.onnx.export(module, (example,), dynamo=True, verbose=False)
    assert program is not None
    model = program.model_proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0].name

    def run(maps: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {entry: maps.contiguous().numpy()})[0])

    return run
