"""FAISS indexes of image and text embeddings: build and search."""

from mmer_core.retrieval.index import Hit, RetrievalIndex, build

__all__ = ["Hit", "RetrievalIndex", "build"]
