"""A CUDA device that is not there: tensors that say ``cuda:0``, compute on the CPU, and refuse what CUDA refuses.

Unlike PyTorch's fake tensors they hold numbers, so whole jobs run on them. Refused are operations on tensors of two
devices (but for scalars of the CPU, copies, and indices of the CPU into tensors of the device), ``numpy()``, random
generators of the CPU, and memory that is not there. Kernels, copies and synchronisations are counted. Graphs are captured and
replayed (`simulated_graphs`).

For PyTorch's C++ a tensor here is on ``meta``, a device without memory, whose operations all come to Python.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from support.simulated_graphs import capturing, functions, refuse_in_capture

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
_OURS, _HERE = Path(__file__).parents[2], Path(__file__)
_aten: Any = torch.ops.aten
_INDEXING = {
    _aten.index.Tensor,
    _aten._unsafe_index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
}
_WAITING = {
    _aten.nonzero.default,
    _aten.masked_select.default,
    _aten.unique_dim.default,
    _aten._unique2.default,
    _aten.repeat_interleave.Tensor,  # without output_size it reads the sum of the repeats
    _aten.equal.default,
    _aten.linalg_eigh.default,
    _aten._linalg_eigh.default,
}
_LOW = {
    *(torch.mm, torch.bmm, torch.addmm, torch.matmul, torch.conv2d, torch.nn.functional.linear),
    *(Tensor.mm, Tensor.matmul, Tensor.__matmul__),
}
_HIGH = {
    *(torch.exp, torch.log, torch.pow, torch.softmax, torch.log_softmax, torch.sum, torch.norm),
    *(Tensor.exp, Tensor.log, Tensor.pow, Tensor.softmax, Tensor.log_softmax, Tensor.sum, Tensor.norm),
    *(torch.nn.functional.softmax, torch.nn.functional.log_softmax, torch.nn.functional.cross_entropy),
    *(torch.nn.functional.binary_cross_entropy_with_logits, torch.nn.functional.smooth_l1_loss),
}
"""What autocast computes in low precision, and what in float32."""


@dataclass
class Counts:
    """What a device was asked to do.

    Attributes:
        kernels: Launches of operations that compute or copy on the device; a replay of a graph is one.
        to_device: Copies from the host.
        to_host: Copies to the host, scalars read by ``item()`` or ``bool()`` included.
        waits: Times the host waited for the device: copies to the host, and operations whose result has a shape that
            depends on values, such as a mask as an index.
        places: By kind of count and by line of the project, how often.
    """

    kernels: int = 0
    to_device: int = 0
    to_host: int = 0
    waits: int = 0
    places: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, *kinds: str) -> None:
        for kind in kinds:
            setattr(self, kind, getattr(self, kind) + 1)
            if kind != "kernels":
                self.places[kind, _line()] += 1

    def since(self, before: Counts) -> Counts:
        """What was added after a `copy`."""
        figures = {name: getattr(self, name) - getattr(before, name) for name in _FIGURES}
        return Counts(**figures, places=self.places - before.places)

    def copy(self) -> Counts:
        return Counts(**{name: getattr(self, name) for name in _FIGURES}, places=Counter(self.places))


_FIGURES = ("kernels", "to_device", "to_host", "waits")


class OnDevice(Tensor):
    """A tensor of the simulated device; ``held`` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:
        with torch.inference_mode(False):  # views of tensors from outside would have no version
            made: OnDevice = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls,
                held.shape,
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                layout=held.layout,
                device="meta",
            )
        made.held = held
        return made

    def __init__(self, held: Tensor) -> None:
        super().__init__()

    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = is_meta = property(lambda self: False)  # type: ignore[assignment]
    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return _SIMULATION.run(func, args, dict(kwargs or {}))

    def __repr__(self, **_: Any) -> str:
        return f"{self.held!r} on {CUDA}"

    def __deepcopy__(self, memo: dict[int, Any]) -> OnDevice:
        copied = self.detach().clone().requires_grad_(self.requires_grad)
        if getattr(self, "_is_param", False):
            copied._is_param = True  # type: ignore[attr-defined]
        return copied  # type: ignore[return-value]

    def numpy(self, **_: Any) -> Any:
        raise TypeError(
            f"can't convert {CUDA} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
        )

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_indices(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_indices(index), value)

    def new_tensor(self, data: Any, **options: Any) -> Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, "device": CUDA, **options})


class _Simulation:
    """One operation at a time: checked as CUDA checks it, counted, and computed on the CPU."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.most_bytes: int | None = None
        self.float64 = True

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if torch.is_inference_mode_enabled() and func._can_decompose():
            with _Mode():
                return func.decompose(
                    *args, **kwargs
                )  # which comes whole, as autograd is not there to take it apart
        tensors: list[Tensor] = []
        _collect(args, tensors)
        _collect(kwargs.values(), tensors)
        ours = [leaf for leaf in tensors if isinstance(leaf, OnDevice)]
        named = kwargs.get("device")
        there = bool(ours) if named is None else torch.device(named).type in ("cuda", "meta")
        if not there and not ours:
            return func(*args, **kwargs)
        if named is not None:
            kwargs["device"] = CPU
        kwargs.pop("pin_memory", None)
        if there:
            self._check_generator(func, kwargs)
        if func in (_aten._to_copy.default, _aten.copy_.default):
            there = self._copy(func, args, kwargs, there)
        elif func is _aten._local_scalar_dense.default:
            self._ask("to_host", "waits")
            there = False
        elif ours:
            self._check_devices(func, args, tensors)
            if func in _WAITING:
                self._ask("waits")
        is_kernel, capture = not _is_view(func), capturing()
        if is_kernel and capture is None:
            self.counts.add("kernels")
        held_args, held_kwargs = (
            _mapped(_held, args),
            {name: _mapped(_held, one) for name, one in kwargs.items()},
        )
        if capture is None:
            out = func(*held_args, **held_kwargs)
        else:
            out = capture.run(func, held_args, held_kwargs, is_kernel=is_kernel)
        if not there:
            return out
        self._check_results(out)
        same = {id(leaf.held): leaf for leaf in ours}  # operations in place give their argument back
        return _mapped(
            lambda leaf: (
                same[id(leaf)] if id(leaf) in same else OnDevice(leaf) if isinstance(leaf, Tensor) else leaf
            ),
            out,
        )

    def _ask(self, *kinds: str) -> None:
        refuse_in_capture()
        self.counts.add(*kinds)

    def _copy(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], there: bool) -> bool:
        """Count a copy, and a wait unless it is non-blocking; return whether its result is on the device."""
        copying = func is _aten.copy_.default
        waits = not (args[2] if copying and len(args) > 2 else kwargs.get("non_blocking", False))
        target, source = (args[0], args[1]) if func is _aten.copy_.default else (None, args[0])
        to_device = there if target is None else isinstance(target, OnDevice)
        if to_device and not isinstance(source, OnDevice):
            self._ask("to_device", *(["waits"] if waits else []))
        if not to_device and isinstance(source, OnDevice):
            self._ask("to_host", "waits")
        return to_device

    def _check_generator(self, func: Any, kwargs: Mapping[str, Any]) -> None:
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type == "cpu":
            raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu' [{func}]")

    def _check_devices(self, func: Any, args: tuple[Any, ...], tensors: Sequence[Tensor]) -> None:
        indices = [index for index in args[1] if index is not None] if func in _INDEXING else []
        into_device = bool(indices) and isinstance(args[0], OnDevice)
        for index in indices:
            if isinstance(index, OnDevice) and not into_device:
                raise RuntimeError(
                    "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
                )
            if not isinstance(index, OnDevice):
                self._ask("to_device", "waits")
            elif index.dtype in (torch.bool, torch.uint8):
                self._ask("waits")
        allowed = {id(index) for index in indices} if into_device else set()
        for tensor in tensors:
            if not isinstance(tensor, OnDevice) and id(tensor) not in allowed and tensor.dim():
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found at least two devices, "
                    f"{CUDA} and cpu! [{func}, {tuple(tensor.shape)} {tensor.dtype}]"
                )

    def _check_results(self, out: Any) -> None:
        if self.most_bytes is None and self.float64:
            return
        found: list[Tensor] = []
        _collect([out], found)
        for tensor in found:
            if tensor.dtype == torch.float64 and not self.float64:
                raise TypeError("Cannot convert a tensor to float64: the device has none.")
            held = tensor.untyped_storage().nbytes()  # a view holds nothing of its own
            if self.most_bytes is not None and held > self.most_bytes:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {held} bytes.")


_SIMULATION = _Simulation()


class _Mode(TorchDispatchMode):
    """Sends operations that have no tensor of the device, such as ``torch.zeros(..., device="cuda")``, there too."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return _SIMULATION.run(func, args, dict(kwargs or {}))


@contextmanager
def simulated_cuda(*, most_bytes: int | None = None, float64: bool = True) -> Iterator[Counts]:
    """In the block there is one CUDA device, for this thread and threads that it starts.

    Args:
        most_bytes: Of one tensor of the device; a larger one is out of memory.
        float64: Whether it has double precision, which MPS lacks.
    """
    _SIMULATION.counts = Counts()
    _SIMULATION.most_bytes, _SIMULATION.float64 = most_bytes, float64
    start = threading.Thread.run

    def run(thread: threading.Thread) -> None:
        with _here():
            start(thread)

    of_cuda: dict[str, Callable[..., Any]] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_bf16_supported": lambda *_: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_name": lambda *_: "simulated device",
        "mem_get_info": lambda *_: (2**30, 2**30),
        "empty_cache": lambda: None,
        "reset_peak_memory_stats": lambda *_: None,
        "max_memory_allocated": lambda *_: 0,
        "manual_seed_all": lambda *_: None,
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "set_rng_state": lambda state, *_: torch.set_rng_state(state),
        **functions(launched=lambda: _SIMULATION.counts.add("kernels")),
    }
    torch._C._ensureCUDADeviceGuardSet()
    overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
    with ExitStack() as stack:
        for name, replacement in of_cuda.items():
            stack.enter_context(patch.object(torch.cuda, name, replacement))
        # Without its libraries: what torch has such a kernel for is computed as without one.
        stack.enter_context(patch.object(torch.backends.cudnn, "is_acceptable", lambda *_: False))
        stack.enter_context(patch.object(torch, "autocast", _Autocast))
        stack.enter_context(patch.object(torch, "save", partial(_save, torch.save)))
        stack.enter_context(patch.object(torch, "load", partial(_load, torch.load)))
        stack.enter_context(patch.object(threading.Thread, "run", run))
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwritten)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.enter_context(_here())
        yield _SIMULATION.counts


@contextmanager
def _here() -> Iterator[None]:
    """The device in this thread."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with _Mode():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


class _Autocast(TorchFunctionMode):
    """What ``torch.autocast`` does, of which C++ sees no tensor of the device."""

    def __init__(self, kind: str, dtype: torch.dtype = torch.float16) -> None:
        super().__init__()
        self._low = dtype

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        dtype = self._low if func in _LOW else torch.float32 if func in _HIGH else None

        def cast(leaf: Any) -> Any:
            ours = isinstance(leaf, OnDevice) and leaf.is_floating_point()
            return leaf.to(dtype) if ours and leaf.dtype != torch.float64 else leaf

        with torch._C.DisableTorchFunction():
            if dtype is not None:
                args, kwargs = tree_map(cast, (args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def _save(save: Callable[..., None], values: Any, *args: Any, **kwargs: Any) -> None:
    save(tree_map(_held, values), *args, **kwargs)


def _load(load: Callable[..., Any], *args: Any, map_location: Any, **kwargs: Any) -> Any:
    """On CUDA every tensor comes to the place that is asked for, also one that was saved on the CPU."""
    values = load(*args, map_location="cpu", **kwargs)
    if torch.device(map_location).type == "cpu":
        return values
    return tree_map(lambda leaf: leaf.to(map_location) if isinstance(leaf, Tensor) else leaf, values)


def _held(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, OnDevice) else leaf


def _collect(values: Iterable[Any], tensors: list[Tensor]) -> None:
    for value in values:
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, list | tuple):
            _collect(value, tensors)


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """As PyTorch's `tree_map`, many times as fast, of what operators take and give."""
    if isinstance(value, list | tuple):
        return type(value)([_mapped(change, one) for one in value])
    return change(value)


def _indices(index: Any) -> Any:
    """Python sequences in an index become tensors of the device."""
    if isinstance(index, tuple):
        return tuple(_indices(one) for one in index)
    return torch.tensor(index, device=CUDA) if isinstance(index, list) else index


@cache
def _is_view(func: Any) -> bool:
    """Whether an operation only looks at memory that is there, or takes some without writing."""
    returns = func._schema.returns
    return "empty" in func.__name__ or (
        bool(returns) and all(one.alias_info is not None and not one.alias_info.is_write for one in returns)
    )


def _line() -> str:
    """The innermost line of the project, outside the tests, that led here."""
    frame = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(str(_OURS / "mmer_core")):
            return f"{Path(path).relative_to(_OURS)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "tests"
