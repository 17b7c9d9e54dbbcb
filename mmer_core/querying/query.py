"""One query to an index, and its answer."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmer_core.errors import ConfigError
from mmer_core.retrieval import Hit


@dataclass(frozen=True)
class Query:
    """A query: exactly one of text, image and id.

    Attributes:
        text: A sentence.
        image: File of a photo.
        id: Id of a photo in the index.
        error: Why it is invalid, if this is known before anything is loaded.
    """

    text: str | None = None
    image: Path | None = None
    id: str | None = None
    error: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """The given fields, by name."""
        return {
            name: str(value)
            for name, value in (("text", self.text), ("image", self.image), ("id", self.id))
            if value is not None
        }

    @property
    def name(self) -> str:
        """The query's name in tables."""
        return ", ".join(self.given.values())

    def checked(self) -> "Query":
        """Return self. Raises `ConfigError` unless exactly one field is given."""
        if len(self.given) != 1:
            raise ConfigError(
                "give one of a text, --image FILE and --id ID, or many with --queries FILE: "
                'mmer search "two dogs in the snow"'
            )
        if self.text is not None and not self.text.strip():
            raise ConfigError("the text is empty; say what to look for")
        return self


@dataclass(frozen=True)
class Answer:
    """The results, best first, or the error of an invalid query."""

    query: Query
    hits: tuple[Hit, ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"query": self.query.given}
        if self.error is not None:
            return fields | {"error": self.error}
        return fields | {"hits": [asdict(hit) for hit in self.hits]}
