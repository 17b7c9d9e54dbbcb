"""One training computed by several processes, its ranks, each of which encodes a share of every batch.

All ranks draw the same batches and the same texts, and get each other's features, so each computes the losses of whole
batches: an image is contrasted with every text of the batch, however many ranks share it. The gradients of all ranks
are averaged. What comes out is what one process makes of the same batches, up to rounding.

Outside of `joined`, a process is alone, and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from mmer_core.config import RuntimeConfig
from mmer_core.device import select_device
from mmer_core.errors import ConfigError, EngineError
from mmer_core.heavy import Tensor, nn, no_grad, torch

_SET_BY_LAUNCHERS = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """A rank's place among those of a training.

    Attributes:
        rank: From 0; rank 0 keeps checkpoints and writes what comes out.
        size: Number of ranks.
        meeting: A file that all ranks see, in a folder that they can write to; None where a launcher's environment says
            how they meet (``MASTER_ADDR``, ``MASTER_PORT``).
    """

    rank: int
    size: int
    meeting: Path | None = None


def launched() -> Place | None:
    """The place that torchrun, or what sets the same variables, gave this process; None where it is alone.

    Raises:
        ConfigError: Some of the variables are missing, or are no numbers that a launcher sets.
    """
    found = {name: os.environ.get(name, "") for name in _SET_BY_LAUNCHERS}
    if not found["RANK"] or found["WORLD_SIZE"] in ("", "1"):
        return None
    numbers = [found["RANK"], found["WORLD_SIZE"], found["MASTER_PORT"], os.environ.get("LOCAL_RANK", "0")]
    if (
        not found["MASTER_ADDR"]
        or not all(number.isdecimal() for number in numbers)
        or int(found["RANK"]) >= int(found["WORLD_SIZE"])
    ):
        said = ", ".join(f"{name}={value}" for name, value in found.items())
        raise ConfigError(
            f"the environment says that this is one of several processes, but not where they meet ({said}): start mmer with "
            "torchrun, or unset RANK"
        )
    return Place(int(found["RANK"]), int(found["WORLD_SIZE"]))


def own_runtime(runtime: RuntimeConfig, place: Place) -> RuntimeConfig:
    """The settings of a process that a launcher started: on CUDA a GPU of its own, and only the first tells how far it is.

    Raises:
        ConfigError: There are fewer GPUs than processes, or all would compute on the one that was named.
    """
    device, quiet = select_device(runtime.device), runtime.quiet or place.rank > 0
    if device.type != "cuda":
        return runtime.model_copy(update={"quiet": quiet})
    local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if device.index is not None:
        raise ConfigError(
            f"all processes would compute on {device}: give --device cuda, and each takes its own GPU"
        )
    if local >= gpus:
        here = os.environ.get("LOCAL_WORLD_SIZE", "more")
        raise ConfigError(
            f"{here} processes were started on this machine, which has {gpus} GPUs: start one a GPU "
            f"(torchrun --nproc-per-node {gpus})"
        )
    return runtime.model_copy(update={"quiet": quiet, "device": f"cuda:{local}"})


@contextmanager
def joined(place: Place, device: torch.device) -> Iterator[None]:
    """Be one of the ranks for the duration of the block, which begins once all are there.

    Raises:
        EngineError: They did not meet.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    meeting = {"init_method": place.meeting.as_uri()} if place.meeting else {}
    # Figures and checkpoints travel from the CPU, whatever the features are on.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        _dist().init_process_group(backend, rank=place.rank, world_size=place.size, **meeting)
    except (ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise EngineError(
            f"process {place.rank} did not meet the other {place.size - 1} that train with it ({reason}): see that all were "
            "started and reach each other"
        ) from error
    try:
        yield
    finally:
        _dist().destroy_process_group()


def size() -> int:
    """Number of ranks; 1 for a process that is alone."""
    return _dist().get_world_size() if _is_joined() else 1


def rank() -> int:
    return _dist().get_rank() if _is_joined() else 0


def share(rows: Tensor) -> Tensor:
    """This rank's part of ``rows (B,)``, equally long for all: the last row is repeated for what is missing."""
    if size() == 1:
        return rows
    length = -(-len(rows) // size())
    filled = torch.cat([rows, rows[-1:].expand(length * size() - len(rows))])
    return filled[rank() * length :][:length]


def gathered(own: Tensor, count: int) -> Tensor:
    """``(B, D)`` features of the ``count`` rows that were shared, of the ``own`` ones of every rank.

    Gradients flow into ``own``, scaled by the number of ranks, so that `average_gradients` leaves their sum over the ranks.
    """
    if size() == 1:
        return own
    gathered: Tensor = _gathering().apply(own)
    return gathered[:count]


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the ranks."""
    if size() == 1:
        return
    gradients: dict[Any, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            gradients.setdefault((parameter.device, parameter.dtype), []).append(parameter.grad)
    for several in gradients.values():
        flat = torch.cat([one.reshape(-1) for one in several])
        _dist().all_reduce(flat)
        flat /= size()
        for one, mean in zip(several, flat.split([one.numel() for one in several]), strict=True):
            one.copy_(mean.view_as(one))


@no_grad()
def take_state(module: nn.Module) -> None:
    """Take over everything learnable or buffered from rank 0."""
    if size() > 1:
        for tensor in module.state_dict().values():
            _dist().broadcast(tensor, src=0)


def figures_of_first(figures: Mapping[str, float]) -> dict[str, float]:
    """Rank 0's values of these figures, so that all decide the same by them."""
    if size() == 1:
        return dict(figures)
    values = torch.tensor(list(figures.values()), dtype=torch.float64)
    _dist().broadcast(values, src=0)
    return dict(zip(figures, values.tolist(), strict=True))


def file_of_first(path: Path) -> Path | BytesIO | None:
    """The file as rank 0 has it, which may be on another machine; None where it has none."""
    if size() == 1:
        return path if path.exists() else None
    content = path.read_bytes() if rank() == 0 and path.exists() else b""
    length = int(figures_of_first({"length": len(content)})["length"])
    if not length:
        return None
    data = torch.frombuffer(bytearray(content or length), dtype=torch.uint8)
    _dist().broadcast(data, src=0)
    return BytesIO(data.numpy().tobytes())


def wait_for_all() -> None:
    """Return once every rank is here."""
    if size() > 1:
        _dist().all_reduce(torch.zeros(1))


def _is_joined() -> bool:
    return bool(_dist().is_available() and _dist().is_initialized())


def _dist() -> Any:
    return torch.distributed


@cache
def _gathering() -> type[Any]:
    class Gathering(torch.autograd.Function):
        """Features of all ranks, in the order of the ranks."""

        @staticmethod
        def forward(ctx: Any, own: Tensor) -> Tensor:
            parts = [torch.empty_like(own) for _ in range(size())]
            _dist().all_gather(parts, own.contiguous())
            return torch.cat(parts)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            # All ranks compute the same losses of the same features, so each has the whole gradient already.
            return size() * gradient.chunk(size())[rank()]

    return Gathering
