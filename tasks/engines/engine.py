"""What an engine is."""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

from mmer_core.config import RuntimeConfig
from mmer_core.errors import ConfigError


class Engine(Protocol):
    """Runs one piece of work after another, several at a time when several threads ask."""

    @property
    def runtime(self) -> RuntimeConfig:
        """What the work is to take for its runtime: it may run in another process and another folder."""

    @property
    def places(self) -> int:
        """How many pieces of work to have begun at the same time, now: of a cluster it changes."""

    def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function, or a Prefect task inside a flow run, and return its result or raise what it raised.

        Raises:
            EngineError: What runs it died again and again, or is not there any more.
        """


def optional_package(name: str, extra: str) -> ModuleType:
    """A package that comes with an extra of mmer.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"the engine needs the package {name}, which is not installed: pip install 'mmer[{extra}]', "
            "or use the engine threads"
        ) from None
