"""What a training costs, and its curves as TensorBoard reads them.

Both hold wall time, so they are stored beside the model and never in its files, which are the same for the same seed.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mmer_core.errors import ConfigError
from mmer_core.heavy import torch

Figures = dict[str, float]
Write = Callable[[int, Figures], None]


@contextlib.contextmanager
def metered(device: torch.device, samples: int, cost: Figures) -> Iterator[None]:
    """Put into ``cost`` what the work in the block took.

    ``seconds``; ``samples_per_second``, for ``samples`` samples; on CUDA also ``gpu_mib``, the most memory that
    tensors took at a time, in MiB.
    """
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    yield
    cost["seconds"] = time.perf_counter() - start
    cost["samples_per_second"] = samples / max(cost["seconds"], 1e-9)
    if cuda:
        cost["gpu_mib"] = torch.cuda.max_memory_allocated(device) / 2**20


def cost_summary(costs: Sequence[Figures]) -> Figures:
    """Medians over the epochs of a training, and the most memory of any; empty without an epoch."""
    if not costs:
        return {}
    summary = {
        "train_seconds_per_epoch": statistics.median(cost["seconds"] for cost in costs),
        "train_samples_per_second": statistics.median(cost["samples_per_second"] for cost in costs),
    }
    if all("gpu_mib" in cost for cost in costs):
        summary["train_gpu_mib"] = max(cost["gpu_mib"] for cost in costs)
    return summary


@contextlib.contextmanager
def tensorboard_curves(folder: Path | None, done: int) -> Iterator[Write]:
    """A function that writes figures of an epoch as TensorBoard scalars; without a folder it does nothing.

    Args:
        folder: Receives one event file a process; TensorBoard joins those of a training that was resumed.
        done: Epochs that the checkpoint holds; what a killed process wrote of later ones is superseded.

    Raises:
        ConfigError: The folder cannot be written to.
    """
    if folder is None:
        yield lambda epoch, figures: None
        return
    from tensorboardX import SummaryWriter  # only who wants curves pays for the import

    try:
        folder.mkdir(parents=True, exist_ok=True)
        writer = SummaryWriter(str(folder), purge_step=done + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot write training logs to {folder}: {error.strerror or error}; give another --logs"
        ) from None

    def write(epoch: int, figures: Figures) -> None:
        for name, value in figures.items():
            writer.add_scalar(_tag(name), value, epoch)

    with writer:
        yield write


def _tag(name: str) -> str:
    """``train_loss`` as ``train/loss``, so that TensorBoard groups the curves."""
    group, _, rest = name.partition("_")
    return f"{group}/{rest}" if group in ("train", "val") else f"cost/{name}"
