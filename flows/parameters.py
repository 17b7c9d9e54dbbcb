"""Parameters of commands: configurations whose fields need no prefix, paths, and numbers within a range."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

from cyclopts import UNSET, App, ArgumentCollection, Parameter

from mmer_core.config import Config, RuntimeConfig
from mmer_core.errors import ConfigError
from mmer_core.paths import given

Flat = Parameter(name="*")
"""The fields of a configuration as flags without its name before them."""

Runtime = Annotated[RuntimeConfig, Flat]


def flatten(job: type[Config]) -> None:
    """Let a job's command take --root and --store rather than --dataset.root and --runtime.store."""
    for name in FLAT_FIELDS:
        # Here cyclopts finds what was annotated beside a field's type.
        if (field := job.model_fields.get(name)) and Flat not in field.metadata:
            field.metadata.append(Flat)


FLAT_FIELDS = ("dataset", "runtime")


def refuse_empty_paths(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """A source of values for cyclopts that adds none. Raises `ConfigError` for a path that is empty."""
    for argument in arguments:
        for token in argument.tokens if _holds_paths(argument.hint) else ():
            try:
                # An empty list in a file is a token without a text.
                given(token.value if token.implicit_value is UNSET else token.implicit_value)
            except ValueError as error:
                raise ConfigError(f"{argument.name} {token.value!r}: {error}") from None


def _holds_paths(hint: Any) -> bool:
    return hint is Path or any(map(_holds_paths, get_args(hint)))


def at_least(low: float, most: float = math.inf) -> Callable[[Any, Any], None]:
    """A validator of cyclopts: from ``low`` to ``most``, both included; NaN and infinity are refused."""

    def check(kind: Any, value: float | None) -> None:
        if value is not None and not (math.isfinite(value) and low <= value <= most):
            raise ValueError(
                f"give a number of at least {low:g}"
                if math.isinf(most)
                else f"give a number from {low:g} to {most:g}"
            )

    return check
