"""What indexes and their plans leave in summaries."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from mmer_core.record import Number, Part, Record
from mmer_core.retrieval.versions import Target
from mmer_core.store import ArtifactKey

Key = Annotated[
    ArtifactKey,
    BeforeValidator(lambda value: ArtifactKey.parse(value) if isinstance(value, str) else value),
    PlainSerializer(str),
]
"""Key of an artifact, stored as its text."""


class PlannedIndex(Part):
    """A trained index that is still empty.

    Attributes:
        refine: Candidates per result that are scored again; 0 for none.
        count: Rows to be added.
        target_recall: Recall@10 to be reached, 0 to 1.
        joined_on_disk: Whether its shards are lists that are joined without reading them into memory.
    """

    factory: str
    refine: int
    count: int
    target_recall: float
    joined_on_disk: bool


class IndexPlanSummary(Record):
    """The summary of a plan."""

    version: Literal[1] = 1
    targets: dict[Target, PlannedIndex]


class IndexShardSummary(Record):
    """The summary of a shard."""

    version: Literal[1] = 1
    rows: int


class Quality(Part):
    """Measurements of a tuned index, on queries not used for tuning if there are enough.

    Attributes:
        parameter: ``nprobe`` (lists visited), ``efSearch`` (candidates in a graph), or None.
        effort: The parameter's value.
        recall: Share of the true 10 best among the 10 found; None without queries or vectors.
        queries: Number of queries behind ``recall``.
        reached: Whether tuning reached the required recall.
        median_ms, p95_ms: Latency of a single query in milliseconds; None without a query.
        per_second: Queries per second in one batch; None without a query.
    """

    parameter: str | None
    effort: int | None
    recall: Number = None
    queries: int
    reached: bool
    median_ms: Number = None
    p95_ms: Number = None
    per_second: Number = None


class BuiltIndex(Quality):
    """The index of one target; ``bytes`` on disk."""

    factory: str
    refine: int
    bytes: int


class Protocol(Part):
    """Recalls of cross-modal retrieval on held-out queries, in percent, by name: through the index, exactly, and their
    difference."""

    index: dict[str, float]
    exact: dict[str, float]
    lost: dict[str, float]


class IndexPart(Part):
    """A built index that a changed one consists of; former versions know no more than its key."""

    index: Key
    images: int | None = None
    texts: int | None = None
    search: dict[Target, BuiltIndex] = Field(default_factory=dict)


class Source(Part):
    """Prepared data that rows of an index were embedded from.

    Attributes:
        split: One split, or ``all`` that the dataset has.
    """

    prepared: Key
    features: Key
    split: str


class IndexSummary(Record):
    """The summary of an index.

    Attributes:
        images, texts: Rows that are not deleted.
        search, protocol: What was measured of a built index; nothing of a changed one, whose parts have it.
        dropped: Deleted rows of a changed index.
        parts: What a changed index consists of.
        sources: What its rows were embedded from; empty where its manifest's inputs are that.
        shard_size: Rows of a shard, which the key does not hold.
        revision: 1 for a new index, one more for each change.
    """

    version: Literal[2] = 2
    family: str
    dataset: str
    split: str
    images: int
    texts: int
    search: dict[Target, BuiltIndex] = Field(default_factory=dict)
    protocol: Protocol | None = None
    dropped: dict[Target, int] = Field(default_factory=dict)
    parts: tuple[IndexPart, ...] = ()
    sources: tuple[Source, ...] = ()
    shard_size: int | None = None
    revision: int = 1

    @model_validator(mode="before")
    @classmethod
    def _of_layout_1(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Layout 1 had the revision as its ``version``."""
        if "version" in fields and "revision" not in fields:
            return {**fields, "version": 2, "revision": fields["version"]}
        return fields
