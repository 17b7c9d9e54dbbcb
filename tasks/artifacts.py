"""What a run leaves in the Prefect UI; plain runs leave nothing there."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext, TaskRunContext

from mmer_core.store import Artifact
from mmer_core.store.ancestry import Ancestry


def leave_summary(artifact: Artifact, title: str) -> None:
    """A markdown note: what was made, under which key, how to fetch it, and its figures."""
    if not _in_run():
        return
    rows = "\n".join(f"| {name} | {_short(value)} |" for name, value in artifact.summary.items())
    made = "found in the store" if artifact.reused else f"made in {artifact.manifest.wall_seconds:.1f} s"
    create_markdown_artifact(
        f"# {title}\n\n`{artifact.key}`, {made}. Fetch it with "
        f"`mmer artifacts fetch {artifact.key} --store {artifact.store.url}`.\n\n"
        f"| figure | value |\n|---|---|\n{rows}\n",
        key=f"{artifact.key.kind}-summary",
        description=title,
    )


def leave_lineage(artifact: Artifact) -> None:
    """A markdown note of what an artifact was made from: a tree, and the source of a graph."""
    if not _in_run():
        return
    ancestry = Ancestry.of(artifact.store, artifact.key)
    create_markdown_artifact(
        f"# Lineage of `{artifact.key}`\n\n```text\n{ancestry.tree()}\n```\n\n"
        f"The same for a viewer of Mermaid:\n\n```mermaid\n{ancestry.mermaid()}\n```\n",
        key=f"{artifact.key.kind}-lineage",
        description="What it was made from",
    )


def leave_note(artifact: Artifact, title: str, markdown: str) -> None:
    """A markdown note that was written for the artifact itself."""
    if _in_run():
        create_markdown_artifact(markdown, key=str(artifact.key.kind), description=title)


def leave_table(kind: str, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table, one row a record."""
    if _in_run() and rows:
        create_table_artifact([dict(row) for row in rows], key=f"{kind}-table", description=title)


def leave_picture(kind: str, title: str, path: Path) -> None:
    """A JPEG file, inside the artifact itself, so that it shows without any other server."""
    if _in_run() and path.is_file():
        content = base64.b64encode(path.read_bytes()).decode("ascii")
        create_image_artifact(f"data:image/jpeg;base64,{content}", key=kind, description=title)


def _in_run() -> bool:
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return (text if len(text) <= 200 else text[:199] + "…").replace("|", "\\|").replace("\n", " ")
