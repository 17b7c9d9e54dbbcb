"""The service's responses, as the OpenAPI document describes them; tests validate every response against it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SearchHit(_Answer):
    """One result; ``score`` is a cosine similarity. Results are sorted by descending score."""

    score: float
    id: str
    caption: str
    row: int
    path: str | None
    split: str | None
    labels: list[str]
    ratings: dict[str, float]
    image: str | None


class QueryEcho(_Answer):
    """The query; a vector is represented by its name only."""

    text: str | None = None
    id: str | None = None
    vector: str | None = None
    image: str | None = None


class Result(_Answer):
    """One query and its results."""

    query: QueryEcho
    hits: list[SearchHit]


class SearchAnswer(_Answer):
    """A result for every query, in the same order."""

    index: str
    target: Literal["image", "text"]
    results: list[Result]


class PhotoAnswer(_Answer):
    """Everything that the index holds about one photo."""

    id: str
    path: str | None
    split: str | None
    labels: list[str]
    ratings: dict[str, float]
    captions: list[str]
    image: str | None


class IndexAnswer(_Answer):
    """The contents of the index."""

    index: str
    dataset: str | None
    split: str | None
    images: int
    texts: int
    width: int
    examples: list[str]
    pictures: bool
    splits: list[str]
    labels: list[str]
    ratings: list[str]


class Live(_Answer):
    """The service is running."""

    live: Literal[True]


class Ready(_Answer):
    """Whether the service accepts queries."""

    live: Literal[True]
    ready: bool
    index: str


class Problem(_Answer):
    """What is wrong, and what to do about it."""

    error: str
