"""FAISS indexes of image and text embeddings: choose, build in shards, tune, and search."""

from mmer_core.retrieval.filters import Filter
from mmer_core.retrieval.index import Hit, RetrievalIndex
from mmer_core.retrieval.one_go import build

__all__ = ["Filter", "Hit", "RetrievalIndex", "build"]
