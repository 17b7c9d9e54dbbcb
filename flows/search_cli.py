"""`mmer search`: search an index."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.output import say, say_json
from flows.parameters import Runtime, at_least
from flows.terminal import progress_bars, say_table
from mmer_core.config import RuntimeConfig
from mmer_core.errors import ConfigError
from mmer_core.prediction.photos import read_photo
from mmer_core.querying import (
    Answer,
    PhotoRoot,
    Pictures,
    PreparedPictures,
    Query,
    Searcher,
    read_queries,
    search_all,
)
from mmer_core.querying.search_page import render_search
from mmer_core.querying.searcher import checked_target
from mmer_core.reporting.page import write_page
from mmer_core.retrieval import Filter
from mmer_core.stages import Context
from tasks.progress import progress_for

Interval = tuple[float, float] | None


def search(
    text: str | None = None,
    *,
    image: Path | None = None,
    id: str | None = None,
    queries: Path | None = None,
    target: str = "image",
    k: Annotated[int, Parameter(validator=at_least(1))] = 10,
    split: list[str] | None = None,
    label: list[str] | None = None,
    valence: Interval = None,
    arousal: Interval = None,
    dominance: Interval = None,
    index: str = "index",
    json_output: Annotated[bool, Parameter(name="--json")] = False,
    html: Path | None = None,
    images: Path | None = None,
    runtime: Runtime = RuntimeConfig(),
) -> None:
    """`mmer search`.

    Parameters
    ----------
    text:
        What to look for: "two dogs in the snow".
    image:
        A photo to look for, instead of a text.
    id:
        A photo of the index to look for more like it.
    queries:
        File of queries: a .csv or .tsv with the columns text, image or id; a .jsonl; or one text per line.
    target:
        What to find: image or text.
    k:
        How many results.
    split:
        Only results in these splits.
    label:
        Only results with all of these labels.
    valence:
        Only results rated from LOW to HIGH, both included, on the scale 1 to 10.
    arousal:
        The same for arousal.
    dominance:
        The same for dominance.
    index:
        Key of the index; the newest one by default.
    json_output:
        Print JSON instead of a table.
    html:
        Write a self-contained page with the pictures of all results.
    images:
        Folder of the dataset's photos for --html; by default the smaller pictures of the prepared dataset.
    """
    wanted = checked_target(target)
    if queries is None:
        listed = [Query(text, image, id).checked()]
        if image is not None:
            read_photo(image)  # fails on a wrong name before anything is loaded
    elif text is not None or image is not None or id is not None:
        raise ConfigError("give --queries FILE or a single query, not both")
    else:
        listed = read_queries(queries)
    if images is not None and html is None:
        raise ConfigError("--images gives the pictures of --html FILE; give --html too")
    ratings = {"valence": valence, "arousal": arousal, "dominance": dominance}
    only = Filter(split or (), label or (), {name: range for name, range in ratings.items() if range})
    with progress_bars(runtime.quiet):
        context = Context(runtime)
        searcher = Searcher.open(context, index)
        pictures = _pictures(context, searcher, images) if html is not None else None
        if queries is None:
            hits = searcher.search(searcher.vector_of(listed[0]), wanted, k, only)
            answers = [Answer(listed[0], tuple(hits[0]))]
        else:
            answers = search_all(searcher, listed, wanted, k, only, progress_for("search"))
    if html is not None and pictures is not None:
        write_page(render_search(answers, pictures, searcher.key, wanted), html)
        say(html)
    elif json_output:
        found = [answer.to_dict() for answer in answers]
        say_json(found if queries is not None else [asdict(hit) for hit in answers[0].hits])
    else:
        say(f"in {searcher.key} of {searcher.dataset}, by cosine similarity")
        _print(answers, named=queries is not None)
    if not searcher.index.count(wanted):
        what = "photos" if wanted == "image" else "captions"
        say(f"the index {searcher.key} holds 0 {what}, so nothing is found in it", error=True)
    failed = sum(answer.error is not None for answer in answers)
    if failed:
        say(f"{failed} of {len(answers)} queries failed; the rows say why", error=True)


def _pictures(context: Context, searcher: Searcher, images: Path | None) -> Pictures:
    if images is None:
        return PreparedPictures.of(context, searcher)
    root = PhotoRoot(images)
    root.check(searcher.paths())
    return root


def _print(answers: Sequence[Answer], *, named: bool) -> None:
    """One line per result, after its query if there are several queries."""
    columns = ["query", "", "similarity", "photo", "caption", "labels"]
    found = []
    for answer in answers:
        rows = [
            (str(place), f"{hit.score:.3f}", hit.id, hit.caption, ", ".join(hit.labels))
            for place, hit in enumerate(answer.hits, start=1)
        ]
        if answer.error is not None:
            rows = [("", "", "", f"failed: {answer.error}", "")]
        for row in rows or [("", "", "", "nothing found", "")]:
            found.append((answer.query.name, *row))
    has_labels = any(hit.labels for answer in answers for hit in answer.hits)
    shown = slice(0 if named else 1, None if has_labels else -1)
    say_table(columns[shown], [row[shown] for row in found])
