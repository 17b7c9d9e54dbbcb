"""The base class of all configurations."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Split = Literal["train", "val", "test"]


def _number(schema: dict[str, Any]) -> None:
    """Number the fields, so that forms show them in order: PostgreSQL does not keep the order of a schema."""
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position


class Config(BaseModel):
    """Base of all configurations: immutable, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, json_schema_extra=_number)


@dataclass(frozen=True)
class NotInKey:
    """Marks a field, as in ``Annotated[int, SPEED]``, that is not part of an artifact's key; all others are."""

    reason: str


SPEED = NotInKey("it says how fast, where, or in which pieces, and changes nothing in what comes out")
BY_CONTENT = NotInKey("it says where something is; the key holds the content instead")


@dataclass(frozen=True)
class AddedLater:
    """Marks a field that is part of a key only where it is not at its default: what was made before there was such a
    field keeps its key. The default may never change."""


ADDED_LATER = AddedLater()
