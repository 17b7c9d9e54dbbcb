"""Memory of a device: shares of it, and passes that take half the batch where it is full."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from mmer_core.cuda_graphs import free_memory
from mmer_core.errors import ConfigError, out_of_memory
from mmer_core.heavy import Tensor, torch
from mmer_core.log import event
from mmer_core.threads import sharing

_OF_CLEAN_MAPS = 4  # a quarter of the device, for all shards that run on it at the same time
_CLEAN_MAPS = 2**30


def clean_maps_bytes(device: torch.device) -> int:
    """What one shard may keep of clean images' maps; on CUDA not more than its share of a quarter of the memory."""
    if device.type != "cuda":
        return _CLEAN_MAPS
    _, total = torch.cuda.mem_get_info(device)
    return min(_CLEAN_MAPS, total // _OF_CLEAN_MAPS // sharing())


class Passes:
    """Runs a network on batches; after a batch that is too large for the memory, on batches half as large."""

    def __init__(self) -> None:
        self._most: int | None = None

    def __call__(self, run: Callable[[Any], Tensor], items: Sequence[Any] | Tensor) -> Tensor:
        """``run`` of a batch ``(B, ...)``, or of its parts, joined.

        Raises:
            ConfigError: Half of a batch is too large as well.
        """
        if self._most is None:
            try:
                return run(items)
            except RuntimeError as error:
                if len(items) < 2 or not out_of_memory(error):
                    raise
                self._most = -(-len(items) // 2)
            event(
                f"the memory of the device is too small for {len(items)} items in a pass, so passes take {self._most} from now "
                "on; a smaller --batch-size, or fewer --workers, avoids this",
                level=logging.WARNING,
            )
            free_memory()
        most = self._most
        try:
            return torch.cat([run(items[start : start + most]) for start in range(0, len(items), most)])
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise ConfigError(
                f"the memory of the device is too small even for {most} items in a pass; give a smaller --batch-size, or fewer "
                "--workers"
            ) from error
