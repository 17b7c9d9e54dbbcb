"""Artifacts: immutable, verified results by content-derived key, on local disk or S3."""

from mmer_core.store.artifact import ArtifactKey, stage_key
from mmer_core.store.location import open_store
from mmer_core.store.manifest import Draft, FileEntry, Manifest
from mmer_core.store.parts import Parts
from mmer_core.store.stage import Artifact, already_made, run_stage
from mmer_core.store.store import Store
from mmer_core.store.workspace import Workspace

__all__ = [
    "Artifact",
    "ArtifactKey",
    "Draft",
    "FileEntry",
    "Manifest",
    "Parts",
    "Store",
    "Workspace",
    "already_made",
    "open_store",
    "run_stage",
    "stage_key",
]
