"""torch.compile, where there is a compiler."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mmer_core.heavy import Tensor, torch
from mmer_core.log import event
from mmer_core.training.learner import Losses


def compiled(losses: Callable[[Tensor], Losses], device: torch.device) -> Callable[[Tensor], Losses]:
    """The same function compiled; unchanged, with one sentence in the log, where nothing can be compiled.

    A compiled step agrees with a plain one up to rounding, but draws other dropout from the same seed.
    """
    try:
        torch.compile(_probe)(torch.ones(8, device=device))
    except Exception as error:  # each backend raises its own, and its own subprocess's
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        event(
            f"torch.compile cannot compile for {device.type} here ({reason}), so training goes on without it; "
            "install a C++ compiler (for CUDA also triton), or leave out --compile",
            level=logging.WARNING,
        )
        return losses
    return torch.compile(losses)


def _probe(x: Tensor) -> Tensor:
    return torch.sin(x) + x * x
