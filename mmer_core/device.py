"""Choosing the device, and what decides how it rounds."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

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


def described(device: torch.device) -> dict[str, Any]:
    """What decides how a device rounds, for manifests: its type and name, and on CUDA the settings of kernels.

    ``tf32`` is that of all inference, see `mmer_core.kernels`; trainings record their own precision.
    """
    found: dict[str, Any] = {"device": device.type, "device_name": _name(device), "torch": torch.__version__}
    if device.type == "cuda":
        found |= {
            "tf32": False,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        }
    return found


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


@cache
def _processor() -> str:
    """The processor's name; its architecture where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
