"""What keeps a command silent for seconds, said when it begins."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from flows.output import say

_SLOW = {"torch": "PyTorch", "transformers": "transformers", "prefect": "Prefect"}


class _Announcer(MetaPathFinder):
    """Finds no module, and names each of the slow ones when it is looked for first."""

    def __init__(self) -> None:
        self._left = dict(_SLOW)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        if slow := self._left.pop(name, None):
            say(f"loading {slow} ...", error=True)


def announce() -> None:
    """At a terminal, from now on."""
    if sys.stderr.isatty():
        sys.meta_path.insert(0, _Announcer())
