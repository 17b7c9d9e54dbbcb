"""A network's passes on CUDA as a graph: one launch for each, where PyTorch takes 5 us to launch each of some hundred kernels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from weakref import WeakSet

from mmer_core.heavy import Tensor, torch

_LOCK = threading.Lock()  # PyTorch captures one graph at a time
_GRAPHS: WeakSet[GraphedPass] = WeakSet()
_STREAMS: dict[
    torch.device, torch.cuda.Stream
] = {}  # cuBLAS keeps a workspace for each stream that it was used on


@dataclass(frozen=True, eq=False)
class _Captured:
    """A graph and the memory that it reads and writes, all of which must stay where it is."""

    graph: torch.cuda.CUDAGraph
    maps: Tensor
    weights: list[Tensor]
    output: Tensor


class GraphedPass:
    """A network's forward pass for batches of one shape, captured as a graph; other batches run without it. Thread-safe.

    Python of the network runs no more: what it decided when it was captured stays so, and so does whether it computes in TF32. Values
    that are written into the weights later count; weights that are put in their place do not.

    Args:
        run: The pass.
        maps: ``(B, C, H, W)`` on CUDA, in which the graph finds its input from now on.
        weights: What the pass reads besides.

    Raises:
        RuntimeError: It cannot be captured: it waits for the device, copies from the host, or is out of memory.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], maps: Tensor, weights: Iterable[Tensor]) -> None:
        self._run, self._shape, self._lock = run, maps.shape, threading.Lock()
        self._replayed = torch.cuda.Event()
        graph = torch.cuda.CUDAGraph()
        with _LOCK:
            stream = _STREAMS.get(maps.device)
            if stream is None:
                stream = _STREAMS[maps.device] = torch.cuda.Stream(maps.device)
            stream.wait_stream(torch.cuda.current_stream(maps.device))
            # A capture that fails leaves its stream current, so the outer block is what ends it.
            with torch.cuda.stream(stream):
                run(maps)  # what libraries set up, and measure, when they are first used on a stream
                # Other threads may go on to wait, and to take memory.
                with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                    output = run(maps)
            # Of weights that are replaced the memory stays, or the graph would read what is written there next.
            kept = [each.detach() for each in weights]
            self._captured: _Captured | None = _Captured(graph, maps, kept, output)
            _GRAPHS.add(self)

    def __call__(self, maps: Tensor) -> Tensor:
        """The output for a batch."""
        with self._lock, torch.inference_mode():
            captured = self._captured
            if captured and maps.shape == self._shape:
                stream = torch.cuda.current_stream(maps.device)
                stream.wait_event(self._replayed)  # by another thread, maybe on another stream
                captured.maps.copy_(maps)
                try:
                    captured.graph.replay()
                    return captured.output.clone()  # the next replay writes over it
                finally:  # also where there is no memory for the copy, and the graph is released next
                    self._replayed.record(stream)
        return self._run(maps)

    def release(self) -> None:
        """Give its memory back; from now on it runs without a graph."""
        with self._lock:
            self._replayed.synchronize()
            self._captured = None


def free_memory() -> None:
    """Give back all memory of the device that only makes things faster: that of graphs, and what PyTorch keeps for later."""
    with _LOCK:
        graphs = list(_GRAPHS)
    for graph in graphs:
        graph.release()
    with _LOCK:  # during a capture PyTorch gives nothing back
        torch.cuda.empty_cache()
