"""Threads of this process: one model in memory serves them all."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmer_core.config import RuntimeConfig


@dataclass(frozen=True)
class ThreadsEngine:
    """Runs work in the thread that asks."""

    runtime: RuntimeConfig

    @property
    def places(self) -> int:
        return self.runtime.workers

    def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return work(*arguments)
