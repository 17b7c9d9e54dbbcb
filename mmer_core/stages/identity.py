"""Which part of a value decides what a stage makes."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel

from mmer_core.base_config import AddedLater
from mmer_core.config import BY_CONTENT, SPEED, IngestConfig, NotInKey, SyntheticConfig
from mmer_core.datasets.ingest import source_identity
from mmer_core.named import Named


def key_config(value: Any, without: tuple[NotInKey, ...] = (SPEED, BY_CONTENT)) -> Any:
    """A value as an artifact's key holds it: configurations and shards by their deciding fields, attacks, triggers and
    the like by their name and all their options. Options of what a configuration does not choose are left out.

    Args:
        without: Fields with these marks are left out.
    """
    if isinstance(value, Named):
        return {"name": value.name, "options": key_config(value.options, without)}
    if isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type)):
        marks = field_marks(type(value))
        chosen = value.model_dump() if isinstance(value, BaseModel) else marks
        return {
            name: key_config(getattr(value, name), without)
            for name, mark in marks.items()
            if mark not in without and name in chosen and not _at_first_default(value, name)
        }
    if isinstance(value, Mapping):
        return {name: key_config(item, without) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [key_config(item, without) for item in value]
    return value


def _at_first_default(value: Any, name: str) -> bool:
    """Whether a field that was added later says what held before there was one."""
    fields = getattr(type(value), "model_fields", {})
    if name not in fields or not any(isinstance(one, AddedLater) for one in fields[name].metadata):
        return False
    return bool(getattr(value, name) == fields[name].default)


@cache
def field_marks(kind: Any) -> dict[str, NotInKey | None]:
    """For every field of a configuration or dataclass the mark that keeps it out of keys, or None if it decides."""
    names = kind.model_fields if issubclass(kind, BaseModel) else kind.__dataclass_fields__
    hints = get_type_hints(kind, include_extras=True)
    marks: dict[str, NotInKey | None] = {}
    for name in names:
        metadata = getattr(hints[name], "__metadata__", ())
        marks[name] = next((mark for mark in metadata if isinstance(mark, NotInKey)), None)
    return marks


class RawData(str):
    """Fingerprint of files that are no artifact: an input nevertheless."""


def raw_identity(config: IngestConfig) -> dict[str, Any]:
    """The contents of the raw files take the place of where they are, and of how photos would be drawn without them."""
    drawn = config.synthetic if config.root is None else SyntheticConfig()
    return {"raw": RawData(source_identity(config)), "config": config.model_copy(update={"synthetic": drawn})}


def some_fields(config: Any, *names: str) -> dict[str, Any]:
    """Some fields of a configuration, for a stage that the others do not concern."""
    return {name: key_config(getattr(config, name)) for name in names}
