"""Running one stage: reuse its artifact, or build it in a workspace that survives a crash and publish it."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mmer_core import signals
from mmer_core.errors import ArtifactConflict
from mmer_core.escaping import without_folders
from mmer_core.log import event
from mmer_core.store.artifact import ArtifactKey, plain, stage_key
from mmer_core.store.backend import full_disk_reported
from mmer_core.store.locks import only_one
from mmer_core.store.manifest import Draft, Manifest
from mmer_core.store.store import Store
from mmer_core.store.workspace import Workspace, fresh_workspace, lock_of, place_of, remove_leftover
from mmer_core.usage import Meter, Usage, leg


@dataclass(frozen=True)
class Artifact:
    """An artifact that exists in a store.

    Attributes:
        reused: Whether it already existed, so that nothing was built.
    """

    key: ArtifactKey
    manifest: Manifest
    store: Store = field(repr=False)
    reused: bool = True

    @classmethod
    def open(cls, store: Store, key: ArtifactKey) -> "Artifact":
        """Raises `ArtifactNotFound` if the store has no such artifact."""
        return cls(key, store.manifest(key), store)

    @cached_property
    def folder(self) -> Path:
        """Verified local folder with the files, fetched on first use; read-only."""
        return self.store.fetch(self.key)

    @property
    def summary(self) -> dict[str, Any]:
        """The summary that the builder returned."""
        return self.manifest.summary


def run_stage(
    store: Store,
    kind: str,
    version: int,
    config: Mapping[str, Any] | BaseModel,
    inputs: Mapping[str, ArtifactKey | str],
    build: Callable[[Workspace], Mapping[str, Any] | BaseModel],
    *,
    work: Path,
    shards: Sequence[ArtifactKey] = (),
    seed: int | None = None,
) -> Artifact:
    """The artifact of a stage, built only if the store does not have it.

    If several processes or threads of a machine want the same artifact, one builds it while the others wait and
    then reuse it. Several machines may build it at the same time; all of them get the one that is published first.
    If the builder raises or dies, nothing is published.

    Args:
        kind, version, config, inputs: The parts of the key, see `stage_key`.
        build: Writes the files into ``workspace.out`` and returns the summary (a few JSON figures).
        work: Folder for workspaces, shared by all runs on this machine.
        shards: Keys of the shards it is merged from; recorded in the manifest, but no part of the key.
        seed: Recorded in the manifest; to be part of the key it must also be in ``config``.

    Raises:
        StoreError: The store cannot be used, which is detected before anything is built; or the disk is full.
    """
    key = stage_key(kind, config, inputs, version)
    if artifact := already_made(store, key, work):
        return artifact
    store.ensure_writable()
    place = place_of(work, key)
    with only_one(lock_of(place)):
        if store.has(key):  # made while this run waited
            shutil.rmtree(place, ignore_errors=True)
            return _found(store, key)
        event(f"Making {key}", level=logging.DEBUG, stage=kind, artifact=str(key), inputs=plain(inputs))
        workspace = fresh_workspace(place, key)
        start = time.perf_counter()
        with Meter() as meter, signals.span(f"make {kind}", stage=kind, artifact=str(key)) as note:
            try:
                with full_disk_reported(place):
                    summary = build(workspace)
            except BaseException as error:
                # The caller reports the error to the user; here it is recorded as a field for machines.
                why = f"{type(error).__name__}: {error}"
                event(f"{key} was not made", stage=kind, artifact=str(key), error=why)
                signals.add(signals.STAGE_RUNS, 1, stage=kind, outcome="failed")
                raise
            draft = Draft(
                kind=kind,
                digest=key.digest,
                stage_version=version,
                config=plain(without_folders(config)),
                inputs=plain(inputs),
                shards=tuple(map(str, shards)),
                used=workspace.used,
                seed=seed,
                summary=plain(summary, nan_as_null=True),
                wall_seconds=time.perf_counter() - start,
            )
            try:
                with leg("write"):
                    manifest, reused = store.publish(workspace.out, draft, adopt=True, meter=meter), False
            except ArtifactConflict:
                # Another machine was faster. A report contains its date, so results differ; the first one counts.
                manifest, reused = store.manifest(key), True
            _report_made(manifest, meter.usage(), note)
        shutil.rmtree(place, ignore_errors=True)
    return Artifact(key, manifest, store, reused)


def already_made(store: Store, key: ArtifactKey, work: Path) -> Artifact | None:
    """The artifact, if the store has it; then what a run left behind that was killed between publishing and cleaning up is
    removed."""
    if not store.has(key):
        return None
    remove_leftover(place_of(work, key))
    return _found(store, key)


def _found(store: Store, key: ArtifactKey) -> Artifact:
    """An artifact that is there already, as the log and the metrics have it."""
    event(f"Found {key}", level=logging.DEBUG, stage=key.kind, artifact=str(key), reused=True)
    signals.add(signals.STAGE_RUNS, 1, stage=key.kind, outcome="found")
    return Artifact.open(store, key)


def _report_made(manifest: Manifest, usage: Usage, note: Callable[[Mapping[str, Any]], None]) -> None:
    stored = sum(entry.size for entry in manifest.files)
    event(
        f"Made and stored {manifest.key} in {usage.wall_seconds:.1f} s: {usage.sentence}",
        stage=manifest.kind,
        artifact=str(manifest.key),
        reused=False,
        wall_seconds=round(usage.wall_seconds, 3),
        bytes_stored=stored,
        usage=usage.model_dump(),
    )
    signals.add(signals.STAGE_RUNS, 1, stage=manifest.kind, outcome="made")
    for leg_name, seconds in usage.seconds.items():
        signals.add(signals.STAGE_TIME, seconds, stage=manifest.kind, leg=leg_name)
    note({"bytes_stored": stored} | {f"seconds.{name}": seconds for name, seconds in usage.seconds.items()})
