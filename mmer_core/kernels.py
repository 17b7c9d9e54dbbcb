"""How exactly CUDA computes in float32: TF32 or not, for all threads of the process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from mmer_core.heavy import torch


class _Kernels(NamedTuple):
    """Settings of products, convolutions and recurrent layers in float32, by PyTorch's older and its newer names."""

    allowed: tuple[bool | None, bool | None]
    precisions: tuple[str, str, str]

    @classmethod
    def current(cls) -> _Kernels:
        parts = _parts()
        return cls(
            (_allowed(torch.backends.cuda.matmul), _allowed(torch.backends.cudnn)),
            (parts[0].fp32_precision, parts[1].fp32_precision, parts[2].fp32_precision),
        )

    def apply(self) -> None:
        # The older names first: they also change the newer settings, and PyTorch refuses to run where both disagree.
        older: tuple[Any, Any] = (torch.backends.cuda.matmul, torch.backends.cudnn)
        for part, allowed in zip(older, self.allowed, strict=True):
            if allowed is not None:
                part.allow_tf32 = allowed
        for part, precision in zip(_parts(), self.precisions, strict=True):
            part.fp32_precision = precision


_EXACT = _Kernels((False, False), ("ieee",) * 3)
_TF32 = _Kernels((True, True), ("tf32",) * 3)


def _parts() -> tuple[Any, Any, Any]:
    backends: Any = torch.backends  # whose stubs lack the newer settings
    return backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn


def _allowed(part: Any) -> bool | None:
    """None where only the newer setting was made, which the older name refuses to read."""
    try:
        return bool(part.allow_tf32)
    except RuntimeError:
        return None


_LOCK = threading.Lock()
_HELD: Counter[bool] = Counter()  # by whether TF32 is wanted, in how many blocks
_BEFORE: list[_Kernels] = []  # what the process had outside of all blocks


@contextmanager
def float32_kernels(*, tf32: bool) -> Iterator[None]:
    """float32 by TF32, which rounds products to 10 bits, or without it.

    The settings are those of the process: while any thread asks for exact float32, all compute in it. Outside of all blocks
    they are as they were.
    """
    with _LOCK:
        if not _HELD.total():
            _BEFORE.append(_Kernels.current())
        before = bool(_HELD[False])
        _HELD[tf32] += 1
        if not before:  # where exact float32 is held already, nothing changes
            _apply()
    try:
        yield
    finally:
        with _LOCK:
            _HELD[tf32] -= 1
            if not _HELD[False]:
                _apply()


def _apply() -> None:
    if _HELD[False]:
        _EXACT.apply()
    elif _HELD[True]:
        _TF32.apply()
    else:
        _BEFORE.pop().apply()


def exact_float32() -> Any:
    """A context, or a decorator, in which products and convolutions of float32 are computed in float32.

    By default PyTorch convolves in TF32 on CUDA, which is off by 1e-3: as much as what decides many attacks.
    """
    return float32_kernels(tf32=False)
