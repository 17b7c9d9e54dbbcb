"""One question to an index, and what came back."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmer_core.errors import ConfigError
from mmer_core.retrieval import Hit


@dataclass(frozen=True)
class Query:
    """What to look for: exactly one of the three.

    Attributes:
        text: A sentence.
        image: A photo's file.
        id: A photo of the index.
        error: Why it cannot be asked, when that is plain before anything is loaded.
    """

    text: str | None = None
    image: Path | None = None
    id: str | None = None
    error: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """What is given, by name."""
        return {
            name: str(value)
            for name, value in (("text", self.text), ("image", self.image), ("id", self.id))
            if value is not None
        }

    @property
    def name(self) -> str:
        """As it is called in a table."""
        return ", ".join(self.given.values())

    def checked(self) -> "Query":
        """Itself. Raises `ConfigError` unless one thing is asked for."""
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
    """What was found, best first, or why nothing could be asked."""

    query: Query
    hits: tuple[Hit, ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"query": self.query.given}
        if self.error is not None:
            return fields | {"error": self.error}
        return fields | {"hits": [asdict(hit) for hit in self.hits]}
