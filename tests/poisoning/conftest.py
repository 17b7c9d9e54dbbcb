"""Single-threaded, as tiny networks want it."""

from single_thread import one_thread

__all__ = ["one_thread"]
