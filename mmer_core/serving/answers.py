"""What the service answers, as the OpenAPI document describes it; the tests hold every answer against it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Found(_Answer):
    """One result, the most similar first; ``score`` is a cosine."""

    score: float
    id: str
    caption: str
    row: int
    path: str | None
    split: str | None
    labels: list[str]
    ratings: dict[str, float]
    image: str | None


class Asked(_Answer):
    """What was asked for; of a vector, the name alone."""

    text: str | None = None
    id: str | None = None
    vector: str | None = None
    image: str | None = None


class Result(_Answer):
    """One question and what was found."""

    query: Asked
    hits: list[Found]


class SearchAnswer(_Answer):
    """A result for every question, in their order."""

    index: str
    target: Literal["image", "text"]
    results: list[Result]


class PhotoAnswer(_Answer):
    """All that the index holds of one photo."""

    id: str
    path: str | None
    split: str | None
    labels: list[str]
    ratings: dict[str, float]
    captions: list[str]
    image: str | None


class IndexAnswer(_Answer):
    """What there is to search."""

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
    """The service runs."""

    live: Literal[True]


class Ready(_Answer):
    """Whether the service takes questions."""

    live: Literal[True]
    ready: bool
    index: str


class Problem(_Answer):
    """What is wrong; what to do."""

    error: str
