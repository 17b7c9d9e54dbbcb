"""FAISS indexes of image and text embeddings: choosing, building in shards, tuning, and searching."""

from mmer_core.retrieval.filters import Filter
from mmer_core.retrieval.in_memory import build
from mmer_core.retrieval.index import Hit, RetrievalIndex

__all__ = ["Filter", "Hit", "RetrievalIndex", "build"]
