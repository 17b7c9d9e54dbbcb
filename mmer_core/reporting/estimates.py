"""A figure with its interval: reading and printing it."""

import math
from dataclasses import dataclass

from mmer_core.record import Interval

MISSING = "–"


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its interval; a figure without interval has both ends at the value."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, raw: Interval | float | None) -> "Estimate | None":
        """Read an interval or a bare number; None where there is no finite value."""
        if isinstance(raw, Interval):
            value, low, high = raw.value, raw.low, raw.high
        else:
            value = low = high = raw
        if value is None or not math.isfinite(value):
            return None
        low, high = (value if end is None or not math.isfinite(end) else end for end in (low, high))
        return cls(float(value), float(low), float(high))

    def interval(self, digits: int = 1) -> str:
        """``"43.1–47.0"``, or nothing when the figure came without an interval."""
        if self.low == self.high:
            return ""
        # A dash between two minus signs cannot be read.
        between = " to " if self.low < 0 else "–"
        return f"{number(self.low, digits)}{between}{number(self.high, digits)}"

    def sentence(self, unit: str, digits: int = 1) -> str:
        """``"45.2 % mAP (43.1–47.0)"``, for running text."""
        interval = self.interval(digits)
        return f"{number(self.value, digits)}{unit}" + (f" ({interval})" if interval else "")


def number(value: float | None, digits: int = 1) -> str:
    """A figure with a fixed number of decimals, a true minus sign and thousands separators."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:,.{digits}f}".replace("-", "−")


def p_value(value: float | None) -> str:
    """Three decimals, and never zero: ``"< 0.001"``."""
    return "< 0.001" if value is not None and value < 0.001 else number(value, 3)


def significant(value: float | None) -> str:
    """A figure of unknown size: whole numbers as they are, others with four significant digits."""
    if value is None or not math.isfinite(value):
        return MISSING
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{int(value):,}".replace("-", "−")
    return (f"{value:#.4g}" if abs(value) < 1000 else f"{value:,.0f}").replace("-", "−")
