"""Questions to an index: by text, photo or id, one or many; and the pictures of what is found."""

from mmer_core.querying.batch import ask_all, read_queries
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
    "ask_all",
    "read_queries",
]
