"""Packages that offer names from modules which are imported when a name is first used."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazily(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package (PEP 562). Type checkers need the same imports under ``TYPE_CHECKING``.

    Args:
        package: Its ``__name__``.
        modules: Names to offer, by the module, relative to the package, that defines them: ``".spec"``.
    """
    places = {name: module for module, names in modules.items() for name in names}

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(places[name], package), name)

    return find
