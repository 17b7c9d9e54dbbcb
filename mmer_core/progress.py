"""How long-running work reports its progress."""

from typing import Protocol


class Progress(Protocol):
    """Called with the number of finished units, the total, and a short note (``"loss 1.23"``)."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def silent(done: int, total: int, note: str = "") -> None:
    """The default: report nothing."""
