"""Empty paths are refused, whichever parameter of whichever command is given one."""

from pathlib import Path
from typing import Any, get_args

from cyclopts import UNSET, App, ArgumentCollection

from mmer_core.errors import ConfigError


def refuse_empty_paths(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """A source of values for cyclopts that adds none. Raises `ConfigError` for a path that is empty."""
    from mmer_core.paths import given

    for argument in arguments:
        for token in argument.tokens if _holds_paths(argument.hint) else ():
            try:
                # An empty list in a file is a token without a text.
                given(token.value if token.implicit_value is UNSET else token.implicit_value)
            except ValueError as error:
                raise ConfigError(f"{argument.name} {token.value!r}: {error}") from None


def _holds_paths(hint: Any) -> bool:
    return hint is Path or any(map(_holds_paths, get_args(hint)))
