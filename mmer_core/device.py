"""Choosing the device."""

from __future__ import annotations

from mmer_core.errors import ConfigError
from mmer_core.heavy import torch


def select_device(name: str) -> torch.device:
    """``auto`` prefers CUDA, then MPS, then the CPU; a device given by name must be available.

    Args:
        name: ``auto``, ``cpu``, ``mps``, ``cuda``, or ``cuda:N`` for one GPU of several.

    Raises:
        ConfigError: The device is not available on this machine.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    gpus = torch.cuda.device_count() if available["cuda"] else 0
    if name == "auto":
        return torch.device(next(device for device, there in available.items() if there))
    there = [device for device, present in available.items() if present]
    there += [f"cuda:{number}" for number in range(gpus)]
    if name not in there:
        raise ConfigError(
            f"device {name!r} is not available on this machine; it has {', '.join(there)} (use device auto)"
        )
    return torch.device(name)
