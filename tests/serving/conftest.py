"""The drawn index, and the service on it."""

from support.drawn_index import ask, started, world

__all__ = ["ask", "started", "world"]
