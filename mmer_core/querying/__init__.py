"""Queries to an index by text, photo or id, single or many, and the pictures of the results."""

from mmer_core.querying.batch import read_queries, search_all
from mmer_core.querying.pictures import NoPicture, PhotoRoot, Pictures, PreparedPictures
from mmer_core.querying.query import Answer, Query
from mmer_core.querying.searcher import Embedder, PhotoRecord, Searcher, UnknownId

__all__ = [
    "Answer",
    "Embedder",
    "NoPicture",
    "PhotoRecord",
    "PhotoRoot",
    "Pictures",
    "PreparedPictures",
    "Query",
    "Searcher",
    "UnknownId",
    "read_queries",
    "search_all",
]
