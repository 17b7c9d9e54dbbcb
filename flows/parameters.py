"""Parameters of commands: configurations whose fields need no prefix, and numbers within a range."""

import math
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Group, Parameter

from flows.job_table import FLAT_FIELDS
from mmer_core.config import Config, RuntimeConfig

Flat = Parameter(name="*")
"""The fields of a configuration as flags without its name before them."""

Runtime = Annotated[RuntimeConfig, Flat]


def arrange(job: type[Config]) -> None:
    """Let a job's command take --root and --store rather than --dataset.root and --runtime.store, and list the fields
    of each configuration in its help as a topic of their own."""
    for name, field in job.model_fields.items():
        # Here cyclopts finds what was annotated beside a field's type.
        if any(isinstance(one, Parameter) for one in field.metadata):
            continue
        if name in FLAT_FIELDS:
            field.metadata.append(Flat)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Config):
            topic = Group.create_ordered(name.replace("_", " ").capitalize(), help=field.description or "")
            field.metadata.append(Parameter(group=topic))


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
