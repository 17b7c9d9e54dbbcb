"""Messages for what a store lacks: an artifact, every artifact of a kind, or the store itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from mmer_core.errors import ArtifactNotFound
from mmer_core.store.artifact import ArtifactKey

ANYTHING = "make something in it first: mmer pipeline"


class Contents(Protocol):
    """The part of a `Store` that these messages need."""

    @property
    def url(self) -> str: ...

    def keys(self) -> Iterator[ArtifactKey]: ...


def missing(store: Contents, what: str, make: str, look: str | None = None) -> str:
    """One sentence: the store has no ``what`` (for example ``"model"``), is empty, or does not exist.

    Args:
        make: The command that makes one.
        look: What to do instead if the store is not empty.
    """
    if next(store.keys(), None) is not None:
        return f"{store.url} has no {what}; {look or make}"
    nothing = f"{store.url} is empty" if exists(store) else f"there is no store at {store.url}"
    return f"{nothing}, so it has no {what}: give the right --store, or {make}"


def require_store(store: Contents) -> None:
    """Raise `ArtifactNotFound` if there is no store at this URL."""
    if not exists(store):
        raise ArtifactNotFound(f"there is no store at {store.url}: give the right --store")


def exists(store: Contents) -> bool:
    """Whether the store exists, even if empty. A store on S3 always counts as existing."""
    place = urlsplit(store.url)
    return Path(unquote(place.path, errors="surrogateescape")).exists() if place.scheme == "file" else True
