"""The metadata of an artifact: the maker's draft, and the manifest that the store keeps."""

import hashlib
import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

import mmer_core
from mmer_core import strict_json
from mmer_core.errors import ArtifactCorrupt, ConfigError, StoreError
from mmer_core.record import Record
from mmer_core.store.artifact import ArtifactKey, canonical_json, checked_path, plain
from mmer_core.store.pieces import Pieces
from mmer_core.usage import Usage

SCHEMA_VERSION = 6
"""Version of the manifest's layout. Versions 1 (no usage), 2 (no shards), 3 (no values used), 4 (no bytes fetched) and 5 (no
pieces of files) can still be read."""

CURE = "delete the artifact and run its stage again"

C = TypeVar("C", bound=BaseModel)
R = TypeVar("R", bound=Record)

_LIBRARIES = (
    "numpy",
    "pandas",
    "pillow",
    "scikit-learn",
    "torch",
    "torchvision",
    "transformers",
    "faiss-cpu",
)


class UnknownLayout(StoreError):
    """The manifest was written by a newer mmer."""


class FileEntry(BaseModel):
    """One file of an artifact: ``/``-separated relative path, size in bytes, SHA-256 in hex, and the digests of its pieces
    where it has several; a file of an older manifest has none, and is read whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    pieces: Pieces | None = None

    @model_validator(mode="after")
    def _pieces_are_those_of_the_file(self) -> Self:
        if self.pieces is not None and self.pieces.count != -(-self.size // self.pieces.size):
            raise ValueError(f"{self.path} has {self.pieces.count} pieces, which are not its own")
        return self

    @field_validator("path")
    @classmethod
    def _path_is_safe(cls, value: str) -> str:
        try:
            return checked_path(value)
        except StoreError as error:
            raise ValueError(str(error)) from None


class Draft(BaseModel):
    """The maker's part of a manifest; the store adds the rest and makes a `Manifest`.

    Attributes:
        stage_version: Version of the stage that made it.
        config: The stage's configuration.
        inputs: Keys (``"kind/digest"``) of the input artifacts, by role; they are part of its key.
        shards: Keys of the shards it was merged from, which are not part of its key: they only say how the work was cut.
        used: Values that it was made with where its configuration leaves them open, nested as that, and of the runtime; a
            list where parts were made with several. No part of the key, which what decides them is.
        seed: Seed of its randomness, if any.
        summary: A few JSON figures that are useful without fetching the files; NaN is stored as null.
        wall_seconds: Wall-clock time of making it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    digest: str
    stage_version: int = 1
    config: Annotated[dict[str, Any], BeforeValidator(plain)] = {}
    inputs: Annotated[dict[str, str], BeforeValidator(plain)] = {}
    shards: tuple[str, ...] = ()
    used: Annotated[dict[str, Any], BeforeValidator(plain)] = {}
    seed: int | None = None
    summary: Annotated[dict[str, Any], BeforeValidator(partial(plain, nan_as_null=True))] = {}
    wall_seconds: float = 0.0

    @property
    def sources(self) -> dict[str, str]:
        """Inputs by role, and shards by number."""
        return self.inputs | {f"shard{number:04d}": key for number, key in enumerate(self.shards)}

    @property
    def key(self) -> ArtifactKey:
        """The artifact's key. Raises `StoreError` if kind or digest is not a safe path segment."""
        return ArtifactKey(self.kind, self.digest)

    def summary_as(self, record: type[R]) -> R:
        """The summary as the record that its stage wrote. Raises `StoreError` when it is another."""
        return record.parse(self.summary, f"the summary of {self.key}")

    def settings_as(self, config: type[C], **more: Any) -> C:
        """The configuration that its stage was given, with those fields of ``more`` that are not None: its key does not
        hold them.

        Raises:
            StoreError: Another version of mmer made the artifact, from settings that this one does not have.
        """
        # Layouts 1 and 2 held the configuration itself; that of a changed index stood under its name.
        held = next((self.config[name] for name in ("config", "index") if name in self.config), self.config)
        given = {name: value for name, value in more.items() if value is not None}
        try:
            return config.model_validate({**held, **given})
        except (TypeError, ValidationError):
            raise StoreError(
                f"{self.key} was made by another version of mmer, from settings that this one does not read; "
                "make it again with this one, or name another"
            ) from None


class Manifest(Draft):
    """Everything about an artifact, as stored in its ``manifest.json``."""

    schema_version: int = SCHEMA_VERSION
    files: tuple[FileEntry, ...] = ()
    code_version: str = mmer_core.__version__
    libraries: dict[str, str] = {}
    created: str = Field(description="ISO 8601, UTC.")
    usage: Usage | None = Field(None, description="Cost of making and storing the artifact.")

    @field_validator("files")
    @classmethod
    def _no_path_is_a_prefix_of_another(cls, value: tuple[FileEntry, ...]) -> tuple[FileEntry, ...]:
        paths = {entry.path for entry in value}
        if len(paths) < len(value):
            raise ValueError("two files have the same path")
        for path in paths:
            if any(str(parent) in paths for parent in PurePath(path).parents):
                raise ValueError(f"{path!r} is inside a path that is a file")
        return value

    @field_validator("created")
    @classmethod
    def _created_is_a_moment(cls, value: str) -> str:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(f"{value!r} does not say in which time zone it is")
        try:  # a single spelling, so that the newest can be found by sorting
            return moment.astimezone(UTC).isoformat()
        except OverflowError:
            raise ValueError(f"{value!r} is beyond all dates") from None

    @classmethod
    def of(cls, draft: Draft, files: Sequence[FileEntry], usage: Usage | None = None) -> Self:
        """Complete a draft with its files, the current versions and the current time."""
        return cls(
            **draft.model_dump(),
            files=tuple(files),
            libraries=_library_versions(),
            created=datetime.now(UTC).isoformat(),
            usage=usage,
        )

    @property
    def content(self) -> str:
        """SHA-256 over key, paths and file contents: equal for artifacts with the same content.

        Wall time, usage, date, summary and library versions do not count.
        """
        files = sorted((entry.path, entry.sha256) for entry in self.files)
        return hashlib.sha256(canonical_json([self.kind, self.digest, files])).hexdigest()

    def to_bytes(self) -> bytes:
        """The bytes of ``manifest.json``: the fields and a checksum over them."""
        fields = self.model_dump(mode="json")
        fields["checksum"] = hashlib.sha256(canonical_json(fields)).hexdigest()
        return json.dumps(fields, indent=2, sort_keys=True, allow_nan=False).encode("ascii") + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, key: ArtifactKey) -> Self:
        """Read and check ``manifest.json`` of an artifact.

        Raises:
            ArtifactCorrupt: The bytes are not a manifest, not this artifact's, or were altered.
            UnknownLayout: The manifest has a newer layout than this mmer supports.
        """
        try:
            fields = strict_json.parse(data.decode())
            checksum = fields.pop("checksum")
            intact = checksum == hashlib.sha256(canonical_json(fields)).hexdigest()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError):
            intact = False
        if not intact:
            raise ArtifactCorrupt(f"the manifest of {key} is damaged: {CURE}")
        layout = fields.get("schema_version")
        if isinstance(layout, int) and layout > SCHEMA_VERSION:
            raise UnknownLayout(
                f"the manifest of {key} has layout {layout} and this mmer reads up to {SCHEMA_VERSION}: use the "
                "version of mmer that wrote it"
            )
        try:
            manifest = cls.model_validate(fields)
        except (ValidationError, ConfigError) as error:
            raise ArtifactCorrupt(f"the manifest of {key} has impossible fields: {CURE}") from error
        if (manifest.kind, manifest.digest) != (key.kind, key.digest):
            raise ArtifactCorrupt(
                f"the manifest of {key} belongs to {manifest.kind}/{manifest.digest}: {CURE}"
            )
        return manifest


@cache
def _library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a result."""
    return {"python": platform.python_version()} | versions_of(*_LIBRARIES)


def versions_of(*packages: str) -> dict[str, str]:
    """Versions of those of some packages that are installed."""
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
