"""Many questions from a file, answered in its order."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmer_core.datasets.values import NotText, is_given, text_of
from mmer_core.errors import DatasetError, MmerError
from mmer_core.progress import Progress, silent
from mmer_core.querying.query import Answer, Query
from mmer_core.querying.searcher import Searcher, Vectors
from mmer_core.retrieval import Filter
from mmer_core.retrieval.index import Target

_FIELDS = ("text", "image", "id")
_AT_ONCE = 64


def read_queries(path: Path) -> list[Query]:
    """The questions in a file.

    A ``.csv`` has a header with any of the columns ``text``, ``image`` (a path, relative to the file's folder) and
    ``id``, a ``.jsonl`` an object a line with one of these names, and any other file a text a line. Each row asks for
    one thing; one that does not is kept with its error. Empty lines are skipped.

    Raises:
        DatasetError: The file cannot be read, or asks nothing.
    """
    kind = path.suffix.lower()
    read: Callable[[Path], Iterator[Query]] = {".csv": _from_csv, ".jsonl": _from_json_lines}.get(
        kind, _from_text
    )
    try:
        queries = list(read(path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"cannot read the queries of {path}: {' '.join(str(error).split())}; write UTF-8, a text a line, or a .csv "
            "or .jsonl with text, image or id"
        ) from None
    if not queries:
        raise DatasetError(
            f"{path} holds no query; write a text a line, or a .csv or .jsonl with text, image or id"
        )
    return queries


def ask_all(
    searcher: Searcher,
    queries: Sequence[Query],
    target: Target,
    k: int,
    only: Filter | None = None,
    progress: Progress = silent,
) -> list[Answer]:
    """An answer a question, in their order; what cannot be asked is answered with its error.

    Raises:
        ConfigError: ``k`` is below 1, or the index holds nothing that the filter asks about.
    """
    answers: list[Answer] = []
    for start in range(0, len(queries), _AT_ONCE):
        answers += _ask(searcher, queries[start : start + _AT_ONCE], target, k, only)
        progress(len(answers), len(queries))
    return answers


def _ask(
    searcher: Searcher, queries: Sequence[Query], target: Target, k: int, only: Filter | None
) -> list[Answer]:
    errors: dict[int, str] = {}
    vectors: dict[int, Vectors] = {}
    texts = [(place, one.text) for place, one in enumerate(queries) if one.text and not one.error]
    if texts:
        encoded = searcher.embedder.texts([text for _, text in texts])
        vectors |= {place: vector[None] for (place, _), vector in zip(texts, encoded, strict=True)}
    for place, query in enumerate(queries):
        if place not in vectors:
            try:
                if query.error:
                    raise DatasetError(query.error)
                vectors[place] = searcher.vector_of(query)
            except MmerError as error:
                errors[place] = str(error)
    asked = sorted(vectors)
    found = (
        searcher.search(np.concatenate([vectors[place] for place in asked]), target, k, only) if asked else []
    )
    hits = dict(zip(asked, found, strict=True))
    return [
        Answer(query, tuple(hits.get(place, ())), errors.get(place)) for place, query in enumerate(queries)
    ]


def _from_text(path: Path) -> Iterator[Query]:
    for line in path.read_text("utf-8-sig").split("\n"):
        if line.strip():
            yield Query(text=line.strip())


def _from_csv(path: Path) -> Iterator[Query]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        head = reader.fieldnames or []
        if head and not set(head) & set(_FIELDS):
            raise DatasetError(
                f"the queries of {path} have the columns {', '.join(head)}; name one text, image or id"
            )
        for row in reader:
            if None in row or None in row.values():
                yield Query(
                    error=f"{path}, line {reader.line_num}: not as many cells as the header has; quote commas"
                )
            elif any(value.strip() for value in row.values()):
                yield _query(path, f"line {reader.line_num}", row)


def _from_json_lines(path: Path) -> Iterator[Query]:
    # Not `splitlines`: a text may hold what Python takes for an end of a line, such as U+2028.
    for number, line in enumerate(path.read_text("utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            yield Query(error=f'{path}, line {number}: not a JSON object; write {{"text": "a dog"}}')
            continue
        yield _query(path, f"line {number}", fields)


def _query(path: Path, where: str, fields: dict[str, Any]) -> Query:
    try:
        read = {name: text_of(fields[name]) for name in _FIELDS if is_given(fields.get(name))}
    except NotText as error:
        return Query(error=f"{path}, {where} asks for {error}; give one of text, image and id")
    given = {name: value for name, value in read.items() if value is not None}
    query = Query(
        given.get("text"), path.parent / given["image"].strip() if "image" in given else None, given.get("id")
    )
    if len(given) != 1:
        said = f"both {' and '.join(given)}" if given else "nothing"
        return replace(query, error=f"{path}, {where} asks for {said}; give one of text, image and id")
    return query
