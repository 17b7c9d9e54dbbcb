"""Whether a network draws random numbers."""

import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def draws(run: Callable[[], Any], device: torch.device) -> bool:
    """Whether a function draws random numbers of the process, by torch, NumPy or Python; their states stay as they are."""
    torch_before, before = torch.get_rng_state(), (np.random.get_state(), random.getstate())
    device_before = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    run()
    drawn = not torch.equal(torch.get_rng_state(), torch_before)
    drawn |= pickle.dumps((np.random.get_state(), random.getstate())) != pickle.dumps(before)
    if device_before is not None:
        drawn |= not torch.equal(torch.cuda.get_rng_state(device), device_before)
    if drawn:
        if device_before is not None:
            torch.cuda.set_rng_state(device_before, device)
        torch.set_rng_state(torch_before)
        np.random.set_state(before[0])
        random.setstate(before[1])
    return drawn
