"""Numbers on the command line that are no field of a configuration."""

import math
from collections.abc import Callable
from typing import Any


def at_least(low: float, most: float = math.inf) -> Callable[[Any, Any], None]:
    """A validator of cyclopts: from ``low`` to ``most``, both included; NaN and infinity are no number."""

    def check(kind: Any, value: float | None) -> None:
        if value is not None and not (math.isfinite(value) and low <= value <= most):
            raise ValueError(
                f"give a number of at least {low:g}"
                if math.isinf(most)
                else f"give a number from {low:g} to {most:g}"
            )

    return check
