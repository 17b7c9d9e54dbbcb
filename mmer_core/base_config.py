"""What every configuration is."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Split = Literal["train", "val", "test"]


def _number(schema: dict[str, Any]) -> None:
    """Say in which order forms show the fields: PostgreSQL does not keep that of a schema."""
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position


class Config(BaseModel):
    """Base of all configurations: immutable, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, json_schema_extra=_number)
