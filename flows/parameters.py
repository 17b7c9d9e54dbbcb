"""Parameters of commands: numbers within a range, and configurations whose fields need no prefix."""

import math
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter

from mmer_core.config import Config, RuntimeConfig

Flat = Parameter(name="*")
"""The fields of a configuration as flags without its name before them."""

Runtime = Annotated[RuntimeConfig, Flat]


def flatten(job: type[Config]) -> None:
    """Let a job's command take --root and --store rather than --dataset.root and --runtime.store."""
    for name in FLAT_FIELDS:
        # cyclopts reads here what else stands in a field's annotation.
        if (field := job.model_fields.get(name)) and Flat not in field.metadata:
            field.metadata.append(Flat)


FLAT_FIELDS = ("dataset", "runtime")


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
