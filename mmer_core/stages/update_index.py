"""Adding to an index and deleting from it, as a new version; readers of the old one keep what they have."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmer_core.datasets.values import is_given, text_of
from mmer_core.errors import ArtifactNotFound, ConfigError
from mmer_core.retrieval import RetrievalIndex
from mmer_core.retrieval.record import IndexPart, IndexSummary
from mmer_core.retrieval.side_table import SideTable
from mmer_core.retrieval.versions import (
    TARGETS,
    Rows,
    Target,
    dropped_rows,
    origins,
    part_folders,
    write_version,
)
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.gallery import pieces_of
from mmer_core.stages.index import IndexInputs, sources
from mmer_core.store import Artifact, ArtifactKey, Workspace
from mmer_core.store.absence import missing
from mmer_core.strict_json import parse_line
from mmer_core.text_lines import DAMAGED, read_lines

_NAMED = 5
_PARTS_AT_MOST = 8
_DROPPED_AT_MOST = 0.25


def find_index(context: Context, text: str) -> Artifact:
    """An index by its key, a part of it, or the newest one (``"index"``).

    Raises:
        StoreError: There is none.
        ConfigError: It is something else.
    """
    try:
        key = context.store.find(text)
    except ArtifactNotFound:
        what = "index" if text == "index" else f"index {text!r}"
        raise ArtifactNotFound(
            missing(context.store, what, "build one first: mmer index or mmer pipeline")
        ) from None
    if key.kind != "index":
        raise ConfigError(f"{key} is no index; mmer artifacts ls index lists those that are there")
    return context.artifact(key)


def read_ids(file: Path) -> list[str]:
    """Ids from a file, one a line; in a ``.jsonl`` each is a JSON string, which may hold line breaks.

    Blanks at the ends of a line are part of an id; a line that is blank is none.

    Raises:
        ConfigError: The file cannot be read, holds no id, or a line of a ``.jsonl`` is none.
    """
    try:
        text = read_lines(file)
    except OSError as error:
        raise ConfigError(f"cannot read ids from {file}: {error.strerror}") from None
    if text.damaged:
        raise ConfigError(f"cannot read ids from {file}: line {min(text.damaged) + 1} holds {DAMAGED}")
    lines = ((place + 1, line.rstrip("\r\n")) for place, line in enumerate(text.lines))
    read = partial(_json_id, file) if file.suffix.lower() == ".jsonl" else _plain_id
    ids = [read(number, line) for number, line in lines if is_given(line)]
    if not ids:
        raise ConfigError(f"{file} holds no id: write one a line")
    return ids


def _plain_id(number: int, line: str) -> str:
    return line


def _json_id(file: Path, number: int, line: str) -> str:
    try:
        if (id := text_of(parse_line(line))) is not None:
            return id
    except ValueError:  # NotText is one, too
        pass
    raise ConfigError(f'{file}, line {number} is no id; write a JSON string a line: "a.jpg"')


def check_ids(base: Artifact, ids: Sequence[str]) -> None:
    """Raises `ConfigError` when an index lacks some of the photos that are to be deleted from it."""
    unknown = sorted(set(ids) - set(RetrievalIndex(base.folder).ids())) if ids else []
    if unknown:
        named = ", ".join(map(_shown, unknown[:_NAMED])) + (", …" if len(unknown) > _NAMED else "")
        raise ConfigError(
            f"{base.key} holds no photo with the id {named} ({len(unknown)} of {len(set(ids))} to delete are not there)"
        )


def _digest(delete: Sequence[str]) -> dict[str, str]:
    ids = "\0".join(sorted(set(delete)))
    return {"delete": hashlib.sha256(ids.encode()).hexdigest() if delete else ""}


@stage("index", version=4, identity=_digest)
def update_index(
    context: Context,
    workspace: Workspace,
    inputs: IndexInputs,
    base: ArtifactKey,
    added: ArtifactKey | None,
    delete: Sequence[str],
) -> IndexSummary:
    """A new version of an index (see `mmer_core.retrieval.versions`), without building it again.

    Args:
        inputs: Those of the index itself.
        added: Another index of the same model, whose photos come in; those with an id that is there replace it.
        delete: Ids of photos that go, with their captions.

    Raises:
        ConfigError: The indexes are of two models, there is nothing to change, or a photo to delete is not there.
    """
    old = context.artifact(base)
    check_ids(old, delete)
    if added is None and not delete:
        raise ConfigError(
            "nothing is to be added or deleted: give --delete ID, --delete-from FILE, or the dataset to add"
        )
    new = None if added is None else context.artifact(added)
    if new is not None and new.manifest.inputs["model"] != str(inputs.model):
        raise ConfigError(
            f"{added} and {base} hold vectors of two models: index both with the same one (--trained)"
        )
    made_of = [artifact for artifact in (old, new) if artifact is not None]
    going = set(delete) | set(RetrievalIndex(new.folder).ids() if new is not None else ())
    dropped = {target: _dropped(old, target, going) for target in TARGETS}
    origin = {target: _origin(context, old, new, target) for target in TARGETS}
    if new is not None:
        for target in TARGETS:
            earlier = _rows(old, target)
            dropped[target] = np.concatenate([dropped[target], dropped_rows(new.folder, target) + earlier])
    write_version(workspace.out, [artifact.folder for artifact in made_of], dropped, origin)
    version = RetrievalIndex(workspace.out)
    past = old.manifest.summary_as(IndexSummary)
    return IndexSummary(
        family=past.family,
        dataset=past.dataset,
        split=past.split,
        images=version.count("image"),
        texts=version.count("text"),
        dropped={target: len(rows) for target, rows in dropped.items()},
        parts=tuple(part for artifact in made_of for part in _parts(artifact)),
        sources=tuple(source for artifact in made_of for source in sources(artifact)),
        shard_size=inputs.config.shard_size,
        revision=past.revision + 1,
    )


def holds(index: Artifact, added: ArtifactKey | None) -> bool:
    """Whether another index is a part of this one."""
    return added in {part.index for part in _parts(index)}


def worth_compacting(index: Artifact, *, always: bool = False) -> bool:
    """Whether searches ask many parts, or look at much that is not there any more; with ``always``, at anything."""
    summary = index.manifest.summary_as(IndexSummary)
    if always or not summary.parts:
        return bool(summary.parts)
    dropped = summary.dropped["image"]
    return len(summary.parts) > _PARTS_AT_MOST or dropped > _DROPPED_AT_MOST * (dropped + summary.images)


def _parts(index: Artifact) -> tuple[IndexPart, ...]:
    """What is known of the built indexes that an index is made of."""
    known = index.manifest.summary_as(IndexSummary)
    return known.parts or (
        IndexPart(index=index.key, images=known.images, texts=known.texts, search=known.search),
    )


def _rows(index: Artifact, target: Target) -> int:
    return len(SideTable(*(part / f"{target}s.parquet" for part in part_folders(index.folder))))


def _dropped(index: Artifact, target: Target, ids: set[str]) -> Rows:
    """What was dropped before, and the rows of these photos."""
    going = RetrievalIndex(index.folder).rows(target, ids)
    return np.union1d(dropped_rows(index.folder, target), going)


def _origin(context: Context, old: Artifact, new: Artifact | None, target: Target) -> Rows:
    mine = np.asarray(origins(old.folder, target, _rows(old, target)))
    if new is None:
        return mine
    before = sum(piece.count(target) for source in sources(old) for piece in pieces_of(context, source))
    return np.concatenate([mine, np.asarray(origins(new.folder, target, _rows(new, target))) + before])


def _shown(id: str) -> str:
    """In quotes where it would not be seen where an id begins and ends."""
    return id if id.isprintable() and id == id.strip() and ", " not in id else repr(id)
