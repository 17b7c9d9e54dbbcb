"""Running a frozen network fast: PyTorch, or an inference runtime where one is installed and faster.

On the CPU, OpenVINO (extra ``fast``) and ONNX Runtime (extra ``onnx``) run convolutional networks in float32
two to four times as fast as eager PyTorch. Both are configured for float32 throughout. On CUDA, PyTorch launches all kernels
of a pass as one graph, where launching one after another takes longer than what a small network computes. The output of each is
checked against eager PyTorch before it is used.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mmer_core.cuda_graphs import GraphedPass
from mmer_core.errors import ConfigError, out_of_memory
from mmer_core.evaluation_mode import evaluating
from mmer_core.heavy import Tensor, nn, torch
from mmer_core.kernels import exact_float32
from mmer_core.memory_layout import channels_last

if TYPE_CHECKING:
    from torch.fx import GraphModule

Runtime = Literal["auto", "torch", "openvino", "onnxruntime"]
Runs = Callable[..., Any]  # tensors to a tensor, or to a list of them
RUNTIMES: tuple[Runtime, ...] = ("openvino", "onnxruntime", "torch")
_TOLERANCE = 1e-4  # relative to the largest output; a different order of summation alone gives about 1e-6
_EXTRAS = {"openvino": "fast", "onnxruntime": "onnx"}
_CONVERTED = "network.xml"  # and its weights in network.bin
_TITLES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime", "graph": "a CUDA graph"}
_GRAPHS_SINCE = "2.14"
"""Before, a capture that failed could keep its memory, and the process from drawing random numbers on the device, for good."""
_OFTEN = 200
"""Passes of one size after which a program of its own has saved the half second that compiling it takes."""
_Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Compiled:
    """A network ready to run.

    Attributes:
        run: ``(B, C, H, W)`` float32 of the example's shape to the module's output.
        runtime: The runtime in use.
        sentence: A description for people, with the reason if it is not the preferred runtime.
        any_size: Whether batches of other sizes than the example's run as well.
    """

    run: Callable[[Tensor], Tensor]
    runtime: Runtime
    sentence: str
    any_size: bool = False


def compile_network(
    module: nn.Module, example: Tensor, runtime: Runtime = "auto", converted: Path | None = None
) -> Compiled:
    """Prepare ``module`` for batches of the shape and device of ``example`` ``(B, C, H, W)``.

    ``auto`` uses the first of OpenVINO, ONNX Runtime and PyTorch that is installed and works; on devices other than
    the CPU, PyTorch. On CUDA its kernels are launched as one graph for batches of the example's shape, if that works.

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
            run = _checked(name, module, example, converted)
        except Refused as refusal:
            refusals.append(str(refusal))
            continue
        any_size = name == "openvino" and _agrees(name, module, run, [example[:1]])
        if name == "openvino" and not any_size:
            # A program for all sizes that meets one which it cannot have gives wrong numbers for others from then on.
            run = _checked(name, module, example, converted, any_size=False)
        return Compiled(run, name, f"{_TITLES[name]} runs the dense part", any_size)
    if runtime != "auto":
        raise ConfigError(f"{refusals[0]}; choose the runtime torch or auto")
    return _torch(module, example, f"PyTorch runs the dense part, because {' and '.join(refusals)}")


def convert_network(module: nn.Module, examples: Sequence[Tensor], folder: Path) -> None:
    """Write a network of float32 weights in OpenVINO's form; nothing where OpenVINO is not installed or refuses it."""
    if importlib.util.find_spec("openvino") is None:
        return
    _without_telemetry()
    import openvino

    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as when it is compiled, which says why it is refused
        network = _converted(evaluating(module), examples)
        network.set_friendly_name(
            "network"
        )  # names have counters of the process, and files should be the same
        for number, layer in enumerate(network.get_ordered_ops()):
            layer.set_friendly_name(f"{layer.get_type_name()}_{number}")
        openvino.save_model(network, folder / _CONVERTED, compress_to_fp16=False)


def compile_for_openvino(
    module: nn.Module, examples: Sequence[Sequence[Tensor]], converted: Path | None = None
) -> Runs:
    """Run a module of several inputs, of any sizes, with OpenVINO.

    Args:
        module: Its inputs to one output, or to several; on the CPU.
        examples: Inputs for which OpenVINO must agree with PyTorch; they differ in every size that may be another one.
        converted: Folder with what `convert_network` wrote of it, if anything.

    Returns:
        A thread-safe function from the inputs to the output, or to a list of them.

    Raises:
        Refused: OpenVINO is not installed, lacks an operation, or disagrees with PyTorch.
    """
    module = evaluating(module)
    run = _trusted("openvino", lambda: _openvino(module, examples, converted), module, examples[0])
    for example in examples[1:]:
        _compare("openvino", module, run, example)
    return run


class Refused(Exception):
    """A runtime is not installed, or cannot run this network; the message says which and why."""


def _torch(module: nn.Module, example: Tensor, sentence: str) -> Compiled:
    module = channels_last(evaluating(module))
    layout = torch.channels_last

    def run(maps: Tensor) -> Tensor:
        with torch.inference_mode():
            return module(maps.contiguous(memory_format=layout))

    try:
        run(example)
    except RuntimeError as error:
        if not out_of_memory(error):  # a network that views its maps may need them channels-first
            layout = torch.contiguous_format
            module.to(memory_format=layout)

    if example.device.type != "cuda":
        return Compiled(run, "torch", sentence)
    try:
        graph = _cuda_graph(module, run, example, layout)
    except Refused as refusal:
        return Compiled(run, "torch", f"{sentence} kernel by kernel, because {refusal}")
    return Compiled(graph, "torch", f"{sentence} as a CUDA graph")


@exact_float32()  # which stays so: where TF32 is allowed later, float32 is as well
def _cuda_graph(
    module: nn.Module, run: Callable[[Tensor], Tensor], example: Tensor, layout: torch.memory_format
) -> GraphedPass:
    if torch.__version__ < _GRAPHS_SINCE:  # which compares versions, not text
        raise Refused(f"{_TITLES['graph']} needs PyTorch {_GRAPHS_SINCE}")
    try:
        other = _other_than(example)
        weights = [*module.parameters(), *module.buffers()]
        graph = GraphedPass(run, example.clone(memory_format=layout), weights)
    except Exception as error:  # the device's, or the network's own
        raise _unsupported("graph", error) from error
    _compare("graph", run, graph, [other])
    return graph


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
    return _trusted("openvino", lambda: _openvino_graph(make(), examples), expect, examples)


def _checked(
    name: str, module: nn.Module, example: Tensor, converted: Path | None, *, any_size: bool = True
) -> Callable[[Tensor], Tensor]:
    module, example = evaluating(module), example.contiguous()
    examples = [[example], [example[:1]]] if any_size else [[example]]
    builds = {
        "openvino": lambda: _openvino(module, examples, converted),
        "onnxruntime": lambda: _onnxruntime(module, example),
    }
    return _trusted(name, builds[name], module, [_other_than(example)])


def _other_than(example: Tensor) -> Tensor:
    """Other values than those that a network is compiled with, none of which it may have kept."""
    noise = torch.randn(example.shape, generator=torch.Generator().manual_seed(0))
    return example + noise.to(example.device)


def _trusted(name: str, build: Callable[[], Runs], expect: Runs, examples: Sequence[Tensor]) -> Runs:
    """The function that ``build`` returns, if it agrees with ``expect`` on the examples."""
    if importlib.util.find_spec(name) is None:
        raise Refused(f"{_TITLES[name]} is not installed (pip install 'mmer[{_EXTRAS[name]}]')")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing uses deprecated parts of torch
            run = build()
    except Exception as error:  # runtimes may raise anything for a network that they do not support
        raise _unsupported(name, error) from error
    _compare(name, expect, run, examples)
    return run


def _compare(name: str, expect: Runs, run: Runs, examples: Sequence[Tensor]) -> None:
    """Refuse what does not agree with ``expect`` on the examples."""
    try:
        with torch.no_grad():
            # Of copies, because a network may write into its input, and the other would be given what it wrote.
            expected, found = (
                _listed(function(*[each.clone() for each in examples])) for function in (expect, run)
            )
    except Exception as error:  # as above
        raise _unsupported(name, error) from error
    if [each.shape for each in expected] != [each.shape for each in found]:
        raise Refused(f"{_TITLES[name]} gives other shapes than PyTorch on this network")
    for one, other in zip(expected, found, strict=True):
        difference = float((other - one).abs().max() / one.abs().max().clamp(min=1e-12))
        if not difference <= _TOLERANCE:
            raise Refused(f"{_TITLES[name]} differs from PyTorch by {difference:.1e} on this network")


def _agrees(name: str, expect: Runs, run: Runs, examples: Sequence[Tensor]) -> bool:
    try:
        _compare(name, expect, run, examples)
    except Refused:
        return False
    return True


def _unsupported(name: str, error: Exception) -> Refused:
    return Refused(f"{_TITLES[name]} cannot run this network ({type(error).__name__})")


def _listed(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)


def _openvino(module: nn.Module, examples: Sequence[Sequence[Tensor]], converted: Path | None = None) -> Runs:
    _without_telemetry()
    import openvino

    kept = converted and converted / _CONVERTED
    model = openvino.Core().read_model(kept) if kept and kept.exists() else _converted(module, examples[0])
    infer = _infer(model, examples)

    def run(*inputs: Tensor) -> Tensor | list[Tensor]:
        found = infer(*inputs)
        return found[0] if len(found) == 1 else found

    return run


def _converted(module: nn.Module, examples: Sequence[Tensor]) -> Any:
    """OpenVINO's form of a module, for inputs of any sizes; by its front end alone, in a tenth of ``convert_model``'s time."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.no_grad():
        inputs = tuple(each.contiguous() for each in examples)
        decoder = TorchScriptPythonDecoder(torch.jit.trace(module, inputs, check_trace=False, strict=False))
        frontend = FrontEndManager().load_by_framework("pytorch")
        return frontend.convert(frontend.load(decoder))


def _openvino_graph(graph: GraphModule, example: Sequence[Tensor]) -> Callable[..., list[Tensor]]:
    _without_telemetry()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    with torch.no_grad():
        decoder = TorchFXPythonDecoder(graph)  # must stay alive until the conversion is done
        frontend = FrontEndManager().load_by_framework("pytorch")
        return _infer(frontend.convert(frontend.load(decoder)), [example])


def _without_telemetry() -> None:
    """Keep OpenVINO from reporting conversions to its makers; without the package that does, it takes its own stub.

    It reports from a fork of this process, which has many threads: the fork can hang for good, and hold all memory.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: not to be imported


class _Programs(threading.local):
    """What a thread has compiled: threads that share a compiled model wait for one another.

    Attributes:
        fixed: Whether every size needs a program of its own.
        general: The program for all sizes, once it is compiled.
        own: Programs by the shapes of their inputs.
        calls: How often the general program met shapes.
    """

    def __init__(self, fixed: bool) -> None:
        self.fixed, self.general = fixed, None
        self.own: dict[_Shapes, Any] = {}
        self.calls: Counter[_Shapes] = Counter()


def _infer(model: Any, examples: Sequence[Sequence[Tensor]]) -> Callable[..., list[Tensor]]:
    """Run an OpenVINO model: tensors in, new tensors out.

    One program serves all sizes in which the examples differ. Sizes that are met often get a program of their own, which takes half a
    second to compile and is up to a tenth faster, if it gives the same bits then. A network that OpenVINO runs with fixed sizes
    only has a program for each.
    """
    import openvino

    core, any_sizes = openvino.Core(), _common(list(map(_shapes, examples)))
    mine = _Programs(fixed=not any(-1 in shape for shape in any_sizes))

    def compiled(shapes: _Shapes) -> Any:
        sized = model
        if model.is_dynamic():
            sized = model.clone()
            sized.reshape({at: list(shape) for at, shape in enumerate(shapes)})
        settings: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # otherwise all workers are pinned to the same core
        }
        return core.compile_model(sized, "CPU", settings).create_infer_request()

    def by_general(arrays: dict[int, Any]) -> list[Any] | None:
        """None where it cannot be compiled, or run; a network that cannot be run at all fails again with a program of its own."""
        try:
            mine.general = mine.general or compiled(any_sizes)
            return _outputs(mine.general, arrays)
        except Exception:  # runtimes may raise anything
            mine.fixed = True
            return None

    def run(*inputs: Tensor) -> list[Tensor]:
        shapes = _shapes(inputs)
        arrays = {at: tensor.contiguous().numpy() for at, tensor in enumerate(inputs)}
        if shapes not in mine.own:
            mine.calls[shapes] += 1
            one_of_any = not mine.fixed and _common([shapes, any_sizes]) == any_sizes
            found = by_general(arrays) if one_of_any else None
            if found is not None and mine.calls[shapes] < _OFTEN:
                return list(map(torch.from_numpy, found))
            own = compiled(shapes)
            same = found is None or all(map(np.array_equal, _outputs(own, arrays), found))
            mine.own[shapes] = own if same else mine.general
        return list(map(torch.from_numpy, _outputs(mine.own[shapes], arrays)))

    return run


def _outputs(request: Any, arrays: dict[int, Any]) -> list[Any]:
    """Copies of what a program gives for these inputs."""
    found = request.infer(arrays, share_inputs=True)
    return [found[at] for at in range(len(found))]


def _shapes(tensors: Sequence[Tensor]) -> _Shapes:
    return tuple(tuple(tensor.shape) for tensor in tensors)


def _common(several: Sequence[_Shapes]) -> _Shapes:
    """These shapes, with -1 for every size in which they differ."""
    return tuple(
        tuple(sizes[0] if len(set(sizes)) == 1 else -1 for sizes in zip(*shapes, strict=True))
        for shapes in zip(*several, strict=True)
    )


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
