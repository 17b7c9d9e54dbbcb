"""Parameters of commands: configurations whose fields need no prefix, and numbers within a range."""

import math
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter

from flows.job_table import FLAT_FIELDS
from mmer_core.config import Config, RuntimeConfig

Flat = Parameter(name="*")
"""The fields of a configuration as flags without its name before them."""

Runtime = Annotated[RuntimeConfig, Flat]


def flatten(job: type[Config]) -> None:
    """Let a job's command take --root and --store rather than --dataset.root and --runtime.store."""
    for name in FLAT_FIELDS:
        # Here cyclopts finds what was annotated beside a field's type.
        if (field := job.model_fields.get(name)) and Flat not in field.metadata:
            field.metadata.append(Flat)


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
