"""Search results as one HTML page with pictures."""

from collections.abc import Sequence

import numpy as np

from mmer_core.errors import DatasetError
from mmer_core.escaping import one_line
from mmer_core.prediction.photos import read_photo
from mmer_core.querying.pictures import Pictures
from mmer_core.querying.query import Answer, Query
from mmer_core.reporting.page import Page
from mmer_core.reporting.pictures import data_uri
from mmer_core.retrieval import Hit

SIDE = 320
"""Longest side of a picture on the page, in pixels."""


def render_search(answers: Sequence[Answer], pictures: Pictures, index: str, target: str) -> str:
    """The page as a string. A sentence replaces each picture that cannot be read."""
    drawn: dict[str, str | None] = {}

    def picture(hit: Hit) -> str | None:
        if hit.id not in drawn:
            drawn[hit.id] = _drawn(pictures, hit)
        return drawn[hit.id]

    return Page(
        {"picture": picture, "query_picture": _query_picture, "query_name": _query_name, "message": _message}
    ).render(
        "search.html",
        answers=answers,
        index=index,
        target="photos" if target == "image" else "captions",
    )


def _drawn(pictures: Pictures, hit: Hit) -> str | None:
    try:
        return data_uri(pictures.picture(hit.id, hit.path), SIDE)
    except DatasetError:
        return None


def _query_name(query: Query) -> str:
    """A query's name on the page; photos without their folder, which is private to this machine."""
    shown = query.given | ({"image": query.image.name} if query.image is not None else {})
    return ", ".join(shown.values())


def _message(answer: Answer) -> str:
    """The error of an invalid query, likewise without local folders."""
    error, image = answer.error or "", answer.query.image
    return error if image is None else error.replace(one_line(image), image.name)


def _query_picture(query: Query) -> str | None:
    """The picture of a query by photo."""
    if query.image is None or query.error is not None:
        return None
    try:
        return data_uri(np.asarray(read_photo(query.image)), SIDE)
    except DatasetError:
        return None
