"""Registry entries such as attacks and triggers: an object that holds hyper-parameters, looked up by name."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from mmer_core.errors import MmerError

N = TypeVar("N", bound="Named")


class Named:
    """Base of registry entries. Hyper-parameters are the constructor's arguments, each kept in a public attribute of
    the same name; ``repr`` shows them."""

    name: ClassVar[str]

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"


def find(kind: str, known: Mapping[str, type[N]], name: str, refusal: type[MmerError], settings: Any) -> N:
    """Make the registered entry of this name with these hyper-parameters; raise ``refusal`` if it is unknown."""
    if name not in known:
        raise refusal(f"there is no {kind} {name!r}; give one of {', '.join(known)}")
    return known[name](**settings)
