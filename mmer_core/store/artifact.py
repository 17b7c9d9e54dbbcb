"""Artifact keys, and the canonical form of the configuration that they are derived from."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any, Self

import numpy as np
from pydantic import BaseModel

from mmer_core.errors import ConfigError, StoreError

_SEGMENT = re.compile(r"(?!.*\.\.)[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_RULE = "use 1 to 200 letters, digits, '.', '_' or '-', no '..' and no leading '.'"


def checked_segment(text: str, what: str) -> str:
    """Return the text if it is safe as one segment of a path or of an object's key.

    Raises:
        StoreError: It is not; ``what`` names it in the message.
    """
    if not _SEGMENT.fullmatch(text):
        raise StoreError(f"{text[:80]!r} is not a valid {what}: {_RULE}")
    return text


def checked_path(text: str) -> str:
    """Return the text if it is a relative path of safe segments joined by ``/``. Raises `StoreError` otherwise."""
    for segment in text.split("/"):
        checked_segment(segment, f"name for a file of an artifact (in {text[:200]!r})")
    return text


@dataclass(frozen=True, order=True)
class ArtifactKey:
    """Address of an artifact: a kind (``"features"``) and a digest that is unique within the kind.

    Raises:
        StoreError: A part is not a safe path segment.
    """

    kind: str
    digest: str

    def __post_init__(self) -> None:
        checked_segment(self.kind, "kind of artifact")
        checked_segment(self.digest, "digest of an artifact")

    def __str__(self) -> str:
        return f"{self.kind}/{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"kind/digest"``.

        Raises:
            StoreError: The text has another form.
        """
        kind, slash, digest = text.partition("/")
        if not slash:
            raise StoreError(f"{text[:80]!r} is not an artifact key: write it as kind/digest")
        return cls(kind, digest)


def plain(value: Any, *, nan_as_null: bool = False) -> Any:
    """Convert a value to JSON's own types: pydantic models, tuples, paths, enums and NumPy values.

    Raises:
        ConfigError: The value has no faithful JSON form (a set, an object, a non-string key, or NaN and
            infinity unless ``nan_as_null``).
    """
    match value:
        case None | bool():
            return value
        case Enum():
            return plain(value.value, nan_as_null=nan_as_null)
        case BaseModel():
            return plain(value.model_dump(mode="json"), nan_as_null=nan_as_null)
        case np.generic() | np.ndarray():
            return plain(value.tolist(), nan_as_null=nan_as_null)
        case str() | int():
            return value
        case float():
            if math.isfinite(value):
                return value
            if nan_as_null:
                return None
            raise ConfigError(f"{value} cannot be part of an artifact's key: give a finite number")
        case PurePath() | ArtifactKey():
            return str(value)
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise ConfigError(f"{key!r} cannot be a field name in an artifact's key: use a string")
            return {key: plain(item, nan_as_null=nan_as_null) for key, item in value.items()}
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return [plain(item, nan_as_null=nan_as_null) for item in value]
    raise ConfigError(
        f"a {type(value).__name__} cannot be part of an artifact's key: use numbers, strings, lists and dicts"
    )


def canonical_json(value: Any) -> bytes:
    """The canonical form of a value: sorted fields, no white space, ASCII. Raises `ConfigError` as `plain` does."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def stage_key(
    kind: str, config: Mapping[str, Any] | BaseModel, inputs: Mapping[str, ArtifactKey | str], version: int
) -> ArtifactKey:
    """Derive the key of a stage's result: the same work has the same key everywhere.

    Args:
        kind: Kind of the artifact, which also identifies the stage.
        config: Everything that can change the result.
        inputs: Keys of the input artifacts, by role.
        version: Increased by the stage's author whenever its code gives another result.

    Raises:
        ConfigError: The configuration has no JSON form.
        StoreError: The kind is not a safe path segment.
    """
    work = {
        "kind": kind,
        "version": version,
        "config": config,
        "inputs": {role: str(key) for role, key in inputs.items()},
    }
    return ArtifactKey(kind, hashlib.sha256(canonical_json(work)).hexdigest()[:32])
