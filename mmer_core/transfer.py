"""Tensors to another device, without waiting for the copy."""

from __future__ import annotations

from functools import cache
from typing import Any

from mmer_core.heavy import Tensor, torch


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Values on a device. A copy to CUDA is queued: the host does not wait for it, and may overwrite its own values at once."""
    return values.to(device, non_blocking=device.type == "cuda")


def table_on(table: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A table on a device; it is copied once, for as long as it exists, so nothing may be written into it.

    Args:
        dtype: Of the result; that of the table if None.
    """
    wanted = dtype or table.dtype
    if (table.device, table.dtype) == (device, wanted):
        return table
    copies: dict[tuple[torch.device, torch.dtype], Tensor] = _copies().setdefault(table, {})
    if (device, wanted) not in copies:
        # Converted first: MPS has no float64.
        copies[device, wanted] = to_device(table.to(wanted), device)
    return copies[device, wanted]


@cache
def _copies() -> Any:
    from torch.utils.weak import WeakTensorKeyDictionary

    return WeakTensorKeyDictionary()
