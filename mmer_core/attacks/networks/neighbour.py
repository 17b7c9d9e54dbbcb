"""The next number of a float, for criteria."""

from typing import Any

import torch


class Neighbour(torch.autograd.Function):
    """``torch.nextafter``, which knows no gradient, with that of the number itself."""

    @staticmethod
    def forward(ctx: Any, bar: torch.Tensor, towards: float) -> torch.Tensor:
        return torch.nextafter(bar, torch.full_like(bar, towards))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None
