"""Typed records: what a stage leaves in a file or in a summary, and reads back as it was."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from mmer_core.errors import OtherVersion, StoreError


def _finite_or_none(value: object) -> object:
    """JSON knows neither NaN nor infinity."""
    if isinstance(value, float | np.floating) or (isinstance(value, np.ndarray) and not value.ndim):
        number = float(value)
        return number if math.isfinite(number) else None
    return value


Number = Annotated[float | None, BeforeValidator(_finite_or_none)]
"""A figure, None where it is not defined; NaN and infinity become None."""

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(config=_STRICT)
class Interval:
    """A figure with its confidence interval; all None where it is not defined."""

    value: Number
    low: Number
    high: Number


class Part(BaseModel):
    """Part of a record: immutable, and an unknown field is an error."""

    model_config = _STRICT


class Record(Part):
    """Base of what is stored; a subclass says which ``version`` of itself it reads and writes, as a `Literal`."""

    version: int

    @classmethod
    def parse(cls, fields: Mapping[str, Any], origin: str) -> Self:
        """Read a record; one without a version is of version 1.

        Args:
            fields: As they are stored.
            origin: Where they are stored, for the error.

        Raises:
            OtherVersion: Another version, or another shape.
        """
        try:
            return cls.model_validate({"version": 1} | dict(fields))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise OtherVersion(
                f"{origin} is no {cls.__name__} that this mmer reads ({where}: {first['msg']}); "
                "make it again with this mmer, or read it with the one that made it"
            ) from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record's JSON file.

        Raises:
            StoreError: The file is missing, no JSON, of another version, or of another shape.
        """
        try:
            fields = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read as JSON ({error}); make its artifact again") from None
        return cls.parse(fields if isinstance(fields, dict) else {"version": 0}, str(path))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.model_dump(mode="json"), indent=2) + "\n", "utf-8")


class Figures(Record):
    """A record with further figures, under names that follow from what was trained or measured."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Number]
