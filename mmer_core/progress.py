"""How long work tells its caller how far it is."""

from typing import Protocol


class Progress(Protocol):
    """Called with the units done, the units in all, and a short note (``"loss 1.23"``)."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def silent(done: int, total: int, note: str = "") -> None:
    """The default: report to nobody."""
