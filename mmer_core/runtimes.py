"""Running a frozen network fast: PyTorch, or an inference runtime where one is installed and faster.

On the CPU, OpenVINO (extra ``fast``) and ONNX Runtime (extra ``onnx``) run convolutional networks in float32
two to four times as fast as eager PyTorch. Both are configured for float32 throughout, and their output is checked
against PyTorch before they are used.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mmer_core.errors import ConfigError
from mmer_core.heavy import Tensor, nn, torch

if TYPE_CHECKING:
    from torch.fx import GraphModule

Runtime = Literal["auto", "torch", "openvino", "onnxruntime"]
Runs = Callable[..., Any]  # tensors to a tensor, or to a list of them
RUNTIMES: tuple[Runtime, ...] = ("openvino", "onnxruntime", "torch")
_TOLERANCE = 1e-4  # relative to the largest output; a different order of summation alone gives about 1e-6
_EXTRAS = {"openvino": "fast", "onnxruntime": "onnx"}
_CONVERTED = "network.xml"  # and its weights in network.bin
_TITLES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}


@dataclass(frozen=True)
class Compiled:
    """A network ready to run on batches of one size.

    Attributes:
        run: ``(B, C, H, W)`` float32 of the example's shape to the module's output.
        runtime: The runtime in use.
        sentence: A description for people, with the reason if it is not the preferred runtime.
    """

    run: Callable[[Tensor], Tensor]
    runtime: Runtime
    sentence: str


def compile_network(
    module: nn.Module, example: Tensor, runtime: Runtime = "auto", converted: Path | None = None
) -> Compiled:
    """Prepare ``module`` for batches of the shape and device of ``example`` ``(B, C, H, W)``.

    ``auto`` uses the first of OpenVINO, ONNX Runtime and PyTorch that is installed and works; on devices other than
    the CPU, PyTorch.

    Args:
        converted: Folder with what `convert_network` wrote of this network, if anything: converting takes seconds.

    Raises:
        ConfigError: The named runtime is not installed, is one of the CPU where the network is elsewhere, or cannot run this
            network.
    """
    if runtime == "torch" or (runtime == "auto" and example.device.type != "cpu"):
        return _torch(module, example, "PyTorch runs the dense part")
    if example.device.type != "cpu":
        raise ConfigError(
            f"{_TITLES[runtime]} computes on the CPU, and the network is on {example.device}; choose the runtime torch or "
            "auto, or move the network to the CPU"
        )
    refusals = []
    for name in RUNTIMES[:-1] if runtime == "auto" else (runtime,):
        try:
            return Compiled(
                _checked(name, module, example, converted), name, f"{_TITLES[name]} runs the dense part"
            )
        except Refused as refusal:
            refusals.append(str(refusal))
    if runtime != "auto":
        raise ConfigError(f"{refusals[0]}; choose the runtime torch or auto")
    return _torch(module, example, f"PyTorch runs the dense part, because {' and '.join(refusals)}")


def convert_network(module: nn.Module, example: Tensor, folder: Path) -> None:
    """Write a network of float32 weights in OpenVINO's form; nothing where OpenVINO is not installed or refuses it."""
    if importlib.util.find_spec("openvino") is None:
        return
    _without_telemetry()
    import openvino

    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as when it is compiled, which says why it is refused
        network = _converted(module.eval(), example)
        network.set_friendly_name(
            "network"
        )  # names have counters of the process, and files should be the same
        for number, layer in enumerate(network.get_ordered_ops()):
            layer.set_friendly_name(f"{layer.get_type_name()}_{number}")
        openvino.save_model(network, folder / _CONVERTED, compress_to_fp16=False)


class Refused(Exception):
    """A runtime is not installed, or cannot run this network; the message says which and why."""


def _torch(module: nn.Module, example: Tensor, sentence: str) -> Compiled:
    module = module.eval().to(memory_format=torch.channels_last)
    layout = torch.channels_last

    def run(maps: Tensor) -> Tensor:
        with torch.inference_mode():
            return module(maps.contiguous(memory_format=layout))

    try:
        run(example)
    except RuntimeError:  # a network that views its maps may need them channels-first
        layout = torch.contiguous_format
        module.to(memory_format=layout)

    return Compiled(run, "torch", sentence)


def compile_graph(
    make: Callable[[], GraphModule], expect: Runs, examples: Sequence[Tensor]
) -> Callable[..., list[Tensor]]:
    """Run a graph of aten operations with OpenVINO, for tensors of the shapes of ``examples``.

    Args:
        make: Makes the graph, as `torch.fx.experimental.proxy_tensor.make_fx` does; float32 on the CPU throughout.
        expect: The same function in PyTorch, with which OpenVINO must agree.
        examples: A value for every input, for that comparison.

    Returns:
        A thread-safe function from the inputs to the outputs.

    Raises:
        Refused: OpenVINO is not installed, lacks an operation, or disagrees with PyTorch.
    """
    return _trusted("openvino", lambda: _openvino_graph(make()), expect, examples)


def _checked(
    name: str, module: nn.Module, example: Tensor, converted: Path | None
) -> Callable[[Tensor], Tensor]:
    noise = torch.randn(example.shape, generator=torch.Generator().manual_seed(0))
    build: Callable[[nn.Module, Tensor], Runs] = {"openvino": _openvino, "onnxruntime": _onnxruntime}[name]
    if converted and build is _openvino:
        build = partial(_openvino, converted=converted)
    module = module.eval()
    return _trusted(name, lambda: build(module, example.contiguous()), module, [example + noise])


def _trusted(name: str, build: Callable[[], Runs], expect: Runs, examples: Sequence[Tensor]) -> Runs:
    """The function that ``build`` returns, if it agrees with ``expect`` on the examples."""
    if importlib.util.find_spec(name) is None:
        raise Refused(f"{_TITLES[name]} is not installed (pip install 'mmer[{_EXTRAS[name]}]')")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing uses deprecated parts of torch
            run = build()
            with torch.no_grad():
                expected, found = expect(*examples), run(*examples)
    except Exception as error:  # runtimes may raise anything for a network that they do not support
        raise Refused(f"{_TITLES[name]} cannot run this network ({type(error).__name__})") from error
    for one, other in zip(_listed(expected), _listed(found), strict=True):
        difference = float((other - one).abs().max() / one.abs().max().clamp(min=1e-12))
        if not difference <= _TOLERANCE:
            raise Refused(f"{_TITLES[name]} differs from PyTorch by {difference:.1e} on this network")
    return run


def _listed(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)


def _openvino(
    module: nn.Module, example: Tensor, converted: Path | None = None
) -> Callable[[Tensor], Tensor]:
    _without_telemetry()
    import openvino

    kept = converted and converted / _CONVERTED
    model = openvino.Core().read_model(kept) if kept and kept.exists() else _converted(module, example)
    infer = _infer(model)
    return lambda maps: infer(maps)[0]


def _converted(module: nn.Module, example: Tensor) -> Any:
    import openvino

    model = openvino.convert_model(module, example_input=example.contiguous())
    model.reshape(list(example.shape))
    return model


def _openvino_graph(graph: GraphModule) -> Callable[..., list[Tensor]]:
    _without_telemetry()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    with torch.no_grad():
        decoder = TorchFXPythonDecoder(graph)  # must stay alive until the conversion is done
        frontend = FrontEndManager().load_by_framework("pytorch")
        return _infer(frontend.convert(frontend.load(decoder)))


def _without_telemetry() -> None:
    """Keep OpenVINO from reporting conversions to its makers; without the package that does, it takes its own stub.

    It reports from a fork of this process, which has many threads: the fork can hang for good, and hold all memory.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: not to be imported


def _infer(model: Any) -> Callable[..., list[Tensor]]:
    """Run an OpenVINO model of fixed shapes: tensors in, new tensors out."""
    import openvino

    core, mine = openvino.Core(), threading.local()

    def run(*inputs: Tensor) -> list[Tensor]:
        # Compiled once per thread: threads that share a compiled model wait for one another.
        if not hasattr(mine, "request"):
            settings: dict[str, Any] = {
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "INFERENCE_PRECISION_HINT": "f32",
                "PERFORMANCE_HINT": "LATENCY",
                "ENABLE_CPU_PINNING": False,  # otherwise all workers are pinned to the same core
            }
            mine.request = core.compile_model(model, "CPU", settings).create_infer_request()
        arrays = {at: tensor.contiguous().numpy() for at, tensor in enumerate(inputs)}
        found = mine.request.infer(arrays, share_inputs=True)  # outputs are copies
        return [torch.from_numpy(found[at]) for at in range(len(found))]

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
