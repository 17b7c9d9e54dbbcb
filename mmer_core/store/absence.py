"""What to say where something is not there: the artifact, all of its kind, or the whole store."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mmer_core.errors import ArtifactNotFound

if TYPE_CHECKING:
    from mmer_core.store.store import Store


ANYTHING = "make something in it first: mmer pipeline"


def missing(store: "Store", what: str, make: str, look: str | None = None) -> str:
    """One sentence: a store has no ``what`` (``"model"``), or holds nothing at all, or is not there itself.

    Args:
        make: What makes one.
        look: What to do instead where the store holds something.
    """
    if next(store.keys(), None) is not None:
        return f"{store.url} holds no {what}; {look or make}"
    nothing = f"{store.url} holds nothing" if exists(store) else f"there is no store at {store.url}"
    return f"{nothing}, and so no {what}: give the --store that you mean, or {make}"


def require_store(store: "Store") -> None:
    """Raises `ArtifactNotFound` when there is no store at its address."""
    if not exists(store):
        raise ArtifactNotFound(f"there is no store at {store.url}: give the --store that you mean")


def exists(store: "Store") -> bool:
    """Whether there is a store, though it may be empty; of one on S3 only what it holds can tell."""
    place = urlsplit(store.url)
    return Path(unquote(place.path, errors="surrogateescape")).exists() if place.scheme == "file" else True
