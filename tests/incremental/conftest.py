"""Fixtures for the tests of incremental evaluation."""

from support.single_thread import one_thread

__all__ = ["one_thread"]
