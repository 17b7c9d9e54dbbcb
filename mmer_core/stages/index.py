"""A trained model in which images and texts share a space -> a FAISS index of a split: trained on a sample, filled in shards, joined and tuned."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import faiss
import numpy as np
import numpy.typing as npt

from mmer_core.config import ARCHITECTURES, Family, IndexConfig
from mmer_core.errors import ConfigError
from mmer_core.evaluation.retrieval_metrics import RECALLS
from mmer_core.inference import no_shared_space
from mmer_core.retrieval.building import TABLE_FILE, in_shards, join_shards, refinable, train, write_shard
from mmer_core.retrieval.choice import Choice, choose, training_rows
from mmer_core.retrieval.index import OneIndex, Settings, write_settings
from mmer_core.retrieval.ranking import (
    NEIGHBOURS,
    Neighbours,
    exact_neighbours,
    merge,
    nothing,
    own_ranks,
    with_exact_scores,
)
from mmer_core.retrieval.record import (
    BuiltIndex,
    IndexPlanSummary,
    IndexShardSummary,
    IndexSummary,
    PlannedIndex,
    Protocol,
    Source,
)
from mmer_core.retrieval.side_table import SideTable, join_tables, write_table
from mmer_core.retrieval.tuning import tune
from mmer_core.retrieval.versions import TARGETS, Target, live_rows, origins, part_folders
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import Inputs, Sharded, Shards, stage
from mmer_core.stages.gallery import Gallery, Rows, pieces_of
from mmer_core.store import Artifact, ArtifactKey, Workspace
from mmer_core.task_kinds import kind_of
from mmer_core.threads import shared_cores

_DIRECTION = {"image": "t2i", "text": "i2t"}
_OTHER: dict[Target, Target] = {"image": "text", "text": "image"}


@dataclass(frozen=True)
class IndexShard:
    """Rows ``start:stop`` of a target: the unit of parallel work and of resume."""

    target: Target
    start: int
    stop: int


@dataclass(frozen=True)
class IndexInputs(Inputs):
    """What an index is built from.

    Attributes:
        index: One that was added to or deleted from: what is left of it is indexed, embedded again from its features.
    """

    config: IndexConfig
    prepared: ArtifactKey
    features: ArtifactKey
    model: ArtifactKey
    index: ArtifactKey | None = None

    @property
    def source(self) -> Source:
        return Source(prepared=self.prepared, features=self.features, split=self.config.split)

    @classmethod
    def of(cls, built: Artifact) -> "IndexInputs":
        """Those of an index, or of the first of what it is made of."""
        shard_size = built.manifest.summary_as(IndexSummary).shard_size
        config = built.manifest.settings_as(IndexConfig, shard_size=shard_size)
        keys = (built.manifest.inputs[role] for role in ("prepared", "features", "model"))
        return cls(config, *map(ArtifactKey.parse, keys))


@stage("index-plan", version=3)
def plan_index(context: Context, workspace: Workspace, inputs: IndexInputs) -> IndexPlanSummary:
    """Choose both indexes and train them on a sample.

    Files, by target: ``<target>.faiss``, empty and trained; ``<target>_queries.npy`` ``(Q, D)`` held-out queries to
    tune and measure with, captions for images and photos for captions; ``<target>_own.npy`` ``(Q, M)`` rows of the
    target that are their right answers, filled up with -1. Where a dataset has no texts, photos are the queries, and
    there are no right answers.

    Raises:
        ConfigError: Images and texts share no space in the model, FAISS does not understand the factory string, or nothing fits.
    """
    gallery = _gallery(context, inputs)
    left = inputs.index is not None
    targets = {
        target: _plan(gallery, inputs.config, target, workspace.out, settle=left) for target in TARGETS
    }
    workspace.use(
        {
            "config": {
                name: {target: getattr(one, name) for target, one in targets.items()}
                for name in ("factory", "refine")
            }
        }
    )
    return IndexPlanSummary(targets=targets)


def sources(built: Artifact) -> tuple[Source, ...]:
    """What an index was embedded from."""
    if recorded := built.manifest.summary_as(IndexSummary).sources:
        return recorded
    return (IndexInputs.of(built).source,)


def index_shards(context: Context, inputs: IndexInputs, plan: ArtifactKey) -> list[IndexShard]:
    """Cut both planned indexes into shards."""
    size = inputs.config.shard_size
    return [
        IndexShard(target, start, min(start + size, planned.count))
        for target, planned in _planned(context.artifact(plan)).items()
        for start in range(0, planned.count, size)
    ]


def _samples(
    context: Context,
    config: IndexConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    shard: IndexShard,
    index: ArtifactKey | None = None,
) -> str:
    if index is not None:  # what is left of another index is found by that
        return f"rows {shard.start} to {shard.stop - 1}"
    source = Source(prepared=prepared, features=features, split=config.split)
    named, first = [], 0
    for piece in pieces_of(context, source):
        rows = np.arange(max(shard.start - first, 0), min(shard.stop - first, piece.count(shard.target)))
        named += [piece.named(shard.target, rows)] if len(rows) else []
        first += piece.count(shard.target)
    return " and ".join(named)


@stage("index-shard", version=3, title="index {shard.target} {shard.start}", samples=_samples)
def index_shard(
    context: Context, workspace: Workspace, inputs: IndexInputs, plan: ArtifactKey, shard: IndexShard
) -> IndexShardSummary:
    """The vectors of one shard as the index needs them, and what of them is nearest to the queries.

    Files: those of `mmer_core.retrieval.building`, and ``nearest_rows.npy``, ``nearest_scores.npy``: the best
    ``(Q, K)`` rows of the shard for the plan's queries.
    """
    planned = context.artifact(plan)
    workspace.use(planned.manifest.used)
    gallery = _gallery(context, inputs)
    rows = np.arange(shard.start, shard.stop)
    with shared_cores(context.runtime.workers):
        vectors = gallery.vectors(shard.target, rows)
    context.progress(1, 3, "embedded")
    queries, own = _queries(planned.folder, shard.target)
    nearest = exact_neighbours(queries, vectors, shard.start, NEIGHBOURS + own.shape[1])
    context.progress(2, 3, "compared with the queries")
    np.save(workspace.out / "nearest_rows.npy", nearest.rows, allow_pickle=False)
    np.save(workspace.out / "nearest_scores.npy", nearest.scores, allow_pickle=False)
    trained = faiss.read_index(str(planned.folder / f"{shard.target}.faiss"))
    write_shard(workspace.out, trained, vectors, shard.start, bool(_planned(planned)[shard.target].refine))
    write_table(workspace.out / TABLE_FILE, gallery.table(shard.target, rows))
    return IndexShardSummary(rows=len(vectors))


@stage("index", version=4)
def merge_index(
    context: Context, workspace: Workspace, inputs: IndexInputs, plan: ArtifactKey, shards: Shards
) -> IndexSummary:
    """Image and text index, tuned, with what was measured of it in the summary."""
    planned = context.artifact(plan)
    gallery = _gallery(context, inputs)
    settings: dict[Target, Settings] = {}
    search: dict[Target, BuiltIndex] = {}
    recalls: dict[str, dict[str, float]] = {"index": {}, "exact": {}}
    for target in TARGETS:
        parts = [context.folder(key) for shard, key in shards if shard.target == target]
        settings[target], search[target], found = _join(planned, target, parts, workspace.out)
        for name, values in found.items():
            recalls[name] |= values
    write_settings(workspace.out, settings)
    return IndexSummary(
        family=gallery.trained.spec.family,
        dataset=gallery.trained.spec.dataset,
        split=inputs.config.split,
        images=gallery.count("image"),
        texts=gallery.count("text"),
        search=search,
        protocol=_protocol(recalls),
        shard_size=inputs.config.shard_size,
        **(_write_origins(context.artifact(inputs.index), gallery, workspace.out) if inputs.index else {}),
    )


@stage("index-part", version=1)
def merge_index_part(
    context: Context, workspace: Workspace, inputs: IndexInputs, plan: ArtifactKey, shards: Shards
) -> IndexSummary:
    """An index that an update adds to another one, of a kind of its own: it must never be the newest index."""
    return cast(IndexSummary, merge_index.build(context, workspace, inputs, plan, shards))


def check_shared_space(task: str, family: Family, dataset: str) -> None:
    """Raises `ConfigError` if images and texts share no space in models of a family."""
    if kind_of(task).labelled and ARCHITECTURES[family].network != "joint":
        raise no_shared_space(family, dataset)


INDEXING = Sharded("index", index_shards, index_shard, merge_index)
INDEXING_PART = Sharded("index", index_shards, index_shard, merge_index_part)


def index_rows(summary: IndexSummary) -> list[dict[str, Any]]:
    """An index's summary as the rows of a table: one a target, of every part where it has several."""
    measured = ((part, *item) for part in summary.parts or (summary,) for item in part.search.items())
    return [
        {
            "target": target,
            "vectors": part.images if target == "image" else part.texts,
            "index": one.factory,
            "parameter": "–" if one.parameter is None else f"{one.parameter} {one.effort}",
            "recall@10": _shown(one.recall),
            "median ms": _shown(one.median_ms),
            "p95 ms": _shown(one.p95_ms),
            "MiB": one.bytes / 2**20,
        }
        for part, target, one in measured
    ]


def _shown(figure: float | None) -> float | str:
    return "–" if figure is None else figure


def _plan(
    gallery: Gallery, config: IndexConfig, target: Target, folder: Path, *, settle: bool
) -> PlannedIndex:
    """Train the index of one target; with ``settle``, Flat where too little is left for the kind that was asked for."""
    count = gallery.count(target)
    generator = np.random.default_rng(config.seed)
    rows, own = _held_out(gallery, config.queries, target, generator)
    queries = gallery.vectors(_OTHER[target] if gallery.count("text") else "image", rows)
    memory = int(config.memory_gib * 2**30)
    if config.factory == "auto" or not count:  # nothing can be trained on no vectors
        choice = choose(count, queries.shape[1], memory=memory, recall=config.recall)
    else:
        choice = Choice(config.factory)
    sample = generator.choice(count, size=training_rows(count, choice.factory), replace=False)
    vectors = gallery.vectors(target, np.sort(sample))
    try:
        trained = train(choice, vectors, count)
    except ConfigError:
        if not settle:
            raise
        choice = Choice("Flat")
        trained = train(choice, vectors, count)
    refine = choice.refine if config.refine is None else config.refine
    faiss.write_index(trained, str(folder / f"{target}.faiss"))
    np.save(folder / f"{target}_queries.npy", queries, allow_pickle=False)
    np.save(folder / f"{target}_own.npy", own, allow_pickle=False)
    return PlannedIndex(
        factory=choice.factory,
        refine=refine if refinable(trained) else 0,
        count=count,
        target_recall=config.recall,
        joined_on_disk=in_shards(trained),
    )


def _held_out(
    gallery: Gallery, most: int, target: Target, generator: np.random.Generator
) -> tuple[Rows, Rows]:
    """Rows that are queries, of the other target or of photos where there are no texts, in ascending order, and ``(Q, M)`` rows of their right answers."""
    if not gallery.count("text"):
        rows = _drawn(np.arange(gallery.count("image")), most, generator)
        return rows, np.full((len(rows), 1), -1)
    if target == "image":
        candidates = np.arange(gallery.count("text"))
        rows = _drawn(candidates, most, generator)
        return rows, gallery.owners[rows][:, None]
    rows = _drawn(np.unique(gallery.owners), most, generator)
    order = np.argsort(gallery.owners, kind="stable")
    first, last = (np.searchsorted(gallery.owners[order], rows, side=side) for side in ("left", "right"))
    own = np.full((len(rows), int((last - first).max(initial=1))), -1)
    for place, (start, stop) in enumerate(zip(first, last, strict=True)):
        own[place, : stop - start] = order[start:stop]
    return rows, own


def _drawn(candidates: Rows, most: int, generator: np.random.Generator) -> Rows:
    return np.sort(generator.choice(candidates, size=min(most, len(candidates)), replace=False))


def _gallery(context: Context, inputs: IndexInputs) -> Gallery:
    """What is indexed: a split, or what is left of another index."""
    if inputs.index is None:
        return Gallery.open(context, [inputs.source], inputs.model)
    built = context.artifact(inputs.index)
    chosen = {target: origin[live] for target, (origin, live) in _origins(built).items()}
    return Gallery.open(context, sources(built), inputs.model, chosen)


def _origins(built: Artifact) -> dict[Target, tuple[Rows, npt.NDArray[np.bool_]]]:
    """By target, where every row of an index stands among those of its sources, and whether it is still there."""
    found: dict[Target, tuple[Rows, npt.NDArray[np.bool_]]] = {}
    for target in TARGETS:
        files = [part / f"{target}s.parquet" for part in part_folders(built.folder)]
        count = len(SideTable(*files))
        live = live_rows(built.folder, target, count)
        origin = np.asarray(origins(built.folder, target, count))
        found[target] = origin, np.ones(count, dtype=bool) if live is None else live
    return found


def _write_origins(built: Artifact, gallery: Gallery, out: Path) -> dict[str, Any]:
    """What a compacted index keeps of its past, so that it can be changed and compacted again."""
    assert gallery.chosen is not None
    for target, rows in gallery.chosen.items():
        np.save(out / f"origin_{target}.npy", rows, allow_pickle=False)
    past = built.manifest.summary_as(IndexSummary)
    return {"sources": past.sources, "revision": past.revision + 1}


def _planned(plan: Artifact) -> dict[Target, PlannedIndex]:
    return plan.manifest.summary_as(IndexPlanSummary).targets


def _queries(folder: Path, target: Target) -> tuple[np.ndarray, Rows]:
    queries, own = (
        np.load(folder / f"{target}_{name}.npy", allow_pickle=False) for name in ("queries", "own")
    )
    return queries, own


def _join(
    planned: Artifact, target: Target, parts: Sequence[Path], folder: Path
) -> tuple[Settings, BuiltIndex, dict[str, dict[str, float]]]:
    """Join the shards of one target; return how to search it, what was measured, and the protocol's recalls."""
    plan = _planned(planned)[target]
    choice = Choice(plan.factory, plan.refine)
    trained = faiss.read_index(str(planned.folder / f"{target}.faiss"))
    join_shards(folder, target, choice, trained, parts, bool(choice.refine))
    del trained
    join_tables([part / TABLE_FILE for part in parts], folder / f"{target}s.parquet")
    queries, own = _queries(planned.folder, target)
    most = NEIGHBOURS + own.shape[1]
    exact = merge(map(_nearest, parts), most) if parts else nothing(len(queries), most)
    index = OneIndex(folder, target, Settings(None, choice.refine))
    quality = tune(
        index.faiss,
        lambda some, effort: index.search(some, NEIGHBOURS, effort=effort).rows,
        queries,
        exact,
        plan.target_recall,
    )
    found = index.search(queries, exact.rows.shape[1], effort=quality.effort)
    recalls = {
        "index": _recalls(target, with_exact_scores(found, exact), own),
        "exact": _recalls(target, exact, own),
    }
    size = sum(file.stat().st_size for file in folder.glob(f"{target}.*"))
    built = BuiltIndex(factory=choice.factory, refine=choice.refine, bytes=size, **dict(quality))
    return Settings(quality.effort, choice.refine), built, recalls


def _nearest(part: Path) -> Neighbours:
    rows, scores = (np.load(part / f"nearest_{name}.npy", allow_pickle=False) for name in ("rows", "scores"))
    return Neighbours(rows, scores)


def _recalls(target: Target, found: Neighbours, own: Rows) -> dict[str, float]:
    """In percent; none where no query has a right answer."""
    ranks = own_ranks(found, own)[(own >= 0).any(axis=1)]
    return {f"{_DIRECTION[target]}_r{k}": 100 * float((ranks < k).mean()) for k in RECALLS if len(ranks)}


def _protocol(recalls: dict[str, dict[str, float]]) -> Protocol:
    """Recalls with their mean, and what the index loses."""
    for values in recalls.values():
        if values:
            values["mean_recall"] = float(np.mean(list(values.values())))
    lost = {name: value - recalls["index"][name] for name, value in recalls["exact"].items()}
    return Protocol(**recalls, lost=lost)
