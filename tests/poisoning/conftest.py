"""Single-threaded, as tiny networks want it."""

from support.single_thread import one_thread

__all__ = ["one_thread"]
