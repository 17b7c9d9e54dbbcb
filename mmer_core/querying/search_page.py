"""Answers of an index on one page, with their pictures."""

from collections.abc import Sequence

import numpy as np

from mmer_core.errors import DatasetError
from mmer_core.escaping import one_line
from mmer_core.prediction.photos import read_photo
from mmer_core.querying.pictures import Pictures
from mmer_core.querying.query import Answer, Query
from mmer_core.reporting.page import render_page
from mmer_core.reporting.pictures import data_uri
from mmer_core.retrieval import Hit

SIDE = 320
"""Longest side in pixels of a picture on the page."""


def render_search(answers: Sequence[Answer], pictures: Pictures, index: str, target: str) -> str:
    """The page as a string. A picture that cannot be read leaves its place to a sentence that says so."""
    drawn: dict[str, str | None] = {}

    def picture(hit: Hit) -> str | None:
        if hit.id not in drawn:
            drawn[hit.id] = _drawn(pictures, hit)
        return drawn[hit.id]

    return render_page(
        "search.html",
        {"picture": picture, "asked": _asked, "named": _named, "told": _told},
        answers=answers,
        index=index,
        target="photos" if target == "image" else "captions",
    )


def _drawn(pictures: Pictures, hit: Hit) -> str | None:
    try:
        return data_uri(pictures.picture(hit.id, hit.path), SIDE)
    except DatasetError:
        return None


def _named(query: Query) -> str:
    """A query's name on the page; of a photo without its folder, which is of this machine."""
    shown = query.given | ({"image": query.image.name} if query.image is not None else {})
    return ", ".join(shown.values())


def _told(answer: Answer) -> str:
    """Why something was not asked, in the same way."""
    error, image = answer.error or "", answer.query.image
    return error if image is None else error.replace(one_line(image), image.name)


def _asked(query: Query) -> str | None:
    """The picture of a query by photo."""
    if query.image is None or query.error is not None:
        return None
    try:
        return data_uri(np.asarray(read_photo(query.image)), SIDE)
    except DatasetError:
        return None
