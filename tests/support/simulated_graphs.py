"""Streams, events and graphs of the simulated CUDA device.

What is captured does not run: its results are rubbish, and what it would have written over is as it was. Whatever waits for
the device, or copies from or to the host, is refused meanwhile and spoils the capture. A replay runs all of it again, in the same
memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

_RUBBISH = 255  # as every byte: NaN as a float, and no index


class Capture:
    """Operations of one thread, in order, on tensors that hold the numbers of the device."""

    def __init__(self, mode: str) -> None:
        self.mode, self.spoilt = mode, False
        self._steps: list[tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any], Any]] = []
        self._made: dict[int, torch.UntypedStorage] = {}
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def run(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, is_kernel: bool) -> Any:
        """Until the capture ends its numbers are there, because the simulation finds shapes by computing."""
        for tensor in _written(func, args, kwargs) if is_kernel else ():
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._made:
                self._before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        given = {each.untyped_storage().data_ptr() for each in _tensors((args, kwargs))}
        out = func(*args, **kwargs)
        for tensor in _tensors(out):
            if tensor.untyped_storage().data_ptr() not in given:
                self._made[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        if is_kernel:
            self._steps.append((func, args, kwargs, out))
        return out

    def end(self) -> None:
        """Undo what real kernels would not have done yet."""
        for storage, before in self._before.values():
            storage.copy_(before)
        for storage in self._made.values():
            storage.fill_(_RUBBISH)

    def replay(self) -> None:
        with torch.inference_mode(), _disable_current_modes():
            for func, args, kwargs, out in self._steps:
                again = _tensors(func(*args, **kwargs))
                for target, found in zip(_tensors(out), again, strict=True):
                    if found is not target:  # as it is of operations in place
                        target.copy_(found)


class Stream:
    """Work in order; here everything is done at once."""

    def __init__(self, device: Any = None) -> None:
        self.capture: Capture | None = None

    def wait_stream(self, stream: Stream) -> None:
        pass

    def wait_event(self, event: Event) -> None:
        pass


class Event:
    def record(self, stream: Stream | None = None) -> None:
        pass

    def synchronize(self) -> None:
        refuse_in_capture()


class CUDAGraph:
    def __init__(self, launched: Callable[[], None]) -> None:
        self._launched = launched
        self.capture: Capture | None = None

    def replay(self) -> None:
        if self.capture is None:
            raise RuntimeError("Called CUDAGraph::replay without a preceding successful capture.")
        self._launched()
        self.capture.replay()


class _Capturing:
    """As ``torch.cuda.graph``."""

    def __init__(
        self,
        cuda_graph: CUDAGraph,
        pool: Any = None,
        stream: Stream | None = None,
        capture_error_mode: str = "global",
    ) -> None:
        self._graph, self._mode, self._stream = cuda_graph, capture_error_mode, stream or Stream()
        self._inside = _On(self._stream)

    def __enter__(self) -> None:
        if _UNDERWAY:
            raise RuntimeError("another capture is underway in this process")
        self._inside.__enter__()
        self._stream.capture = Capture(self._mode)
        _UNDERWAY.append(self._stream.capture)

    def __exit__(self, *error: Any) -> None:
        capture = _UNDERWAY.pop()
        self._stream.capture = None
        capture.end()
        if capture.spoilt:  # and then PyTorch does not leave the stream
            raise torch.AcceleratorError(
                "CUDA error: operation failed due to a previous error during capture"
            )
        self._graph.capture = capture
        self._inside.__exit__(*error)


_UNDERWAY: list[Capture] = []
_DEFAULT = Stream()
_OWN = threading.local()


def capturing() -> Capture | None:
    """What is captured of this thread's work."""
    return _current().capture


def refuse_in_capture() -> None:
    """Raise what CUDA raises where a thread waits, or copies, and what it does is captured, or any thread's is in the mode
    ``global``."""
    for capture in _UNDERWAY:
        if capture is capturing() or capture.mode == "global":
            capture.spoilt = True
            raise torch.AcceleratorError("CUDA error: operation not permitted when stream is capturing")


def functions(launched: Callable[[], None]) -> dict[str, Callable[..., Any]]:
    """By their names in ``torch.cuda``; a replay calls ``launched``."""
    return {
        "Stream": Stream,
        "Event": Event,
        "CUDAGraph": partial(CUDAGraph, launched),
        "graph": _Capturing,
        "stream": _On,
        "current_stream": lambda device=None: _current(),
        "is_current_stream_capturing": lambda: capturing() is not None,
        "synchronize": lambda device=None: refuse_in_capture(),
    }


def _current() -> Stream:
    return getattr(_OWN, "stream", _DEFAULT)


class _On:
    """As ``torch.cuda.stream``."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __enter__(self) -> None:
        self._before = _current()
        _OWN.stream = self._stream

    def __exit__(self, *error: Any) -> None:
        _OWN.stream = self._before


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _written(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The arguments that an operation writes to."""
    expected = func._schema.arguments
    given = {one.name: value for one, value in zip(expected, args, strict=False)} | dict(kwargs)
    return _tensors(
        [given.get(one.name) for one in expected if one.alias_info is not None and one.alias_info.is_write]
    )
