"""One thread for the tests here."""

from support.single_thread import one_thread

__all__ = ["one_thread"]
