"""Settings of the probe."""

from pydantic import Field, field_validator

from mmer_core.base_config import Config


class ProbeConfig(Config):
    """Logistic regression on frozen features."""

    strengths: tuple[float, ...] = Field(
        (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0),
        min_length=1,
        description="Values of C to choose from by the mAP on val: a small C regularises strongly.",
    )

    @field_validator("strengths")
    @classmethod
    def _in_order(cls, strengths: tuple[float, ...]) -> tuple[float, ...]:
        if min(strengths) <= 0:
            raise ValueError(f"C must be above 0, not {min(strengths):g}")
        return tuple(sorted(set(strengths)))
