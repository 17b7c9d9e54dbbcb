"""Networks in evaluation mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import nn

M = TypeVar("M", bound="nn.Module")


def evaluating(module: M) -> M:
    """The module in evaluation mode; a part that `torch.export` made stays in that in which it was exported, and refuses to be
    asked for another."""
    try:
        return module.eval()
    except NotImplementedError:
        for part in module.modules():
            part.training = False
        return module
