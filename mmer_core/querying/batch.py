"""Many queries from a file, answered in order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmer_core.datasets.cells import flaw, flaws
from mmer_core.datasets.delimited import TABLES, read_table
from mmer_core.datasets.values import NotText, is_given, text_of
from mmer_core.errors import DatasetError, MmerError
from mmer_core.progress import Progress, silent
from mmer_core.querying.query import Answer, Query
from mmer_core.querying.searcher import Searcher, Vectors
from mmer_core.retrieval import Filter
from mmer_core.retrieval.index import Target
from mmer_core.strict_json import parse_line
from mmer_core.text_lines import DAMAGED, Text, read_lines

_FIELDS = ("text", "image", "id")
_WANTED = "write UTF-8, one text per line, or a .csv, .tsv or .jsonl with text, image or id"
_AT_ONCE = 64


def read_queries(path: Path) -> list[Query]:
    """Read the queries in a file.

    A ``.csv`` or ``.tsv`` has a header with any of the columns ``text``, ``image`` (a path, relative to the file's
    folder) and ``id``, a ``.jsonl`` one object per line with one of these names, and any other file one text per line.
    Each row is one query; rows that are ambiguous or unreadable are kept with their error. Empty lines are skipped.

    Raises:
        DatasetError: The file cannot be read, or holds no query.
    """
    kind = path.suffix.lower()
    readers: dict[str, Callable[[Path, Text], Iterator[Query]]] = {
        **dict.fromkeys(TABLES, _from_table),
        ".jsonl": _from_json_lines,
    }
    read = readers.get(kind, _from_text)
    try:
        text = read_lines(path)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"cannot read the queries of {path}: {' '.join(str(error).split())}; {_WANTED}"
        ) from None
    queries = list(read(path, text))
    if not queries:
        raise DatasetError(f"{path} holds no query; {_WANTED}")
    if all(isinstance(query, _Unread) for query in queries):
        raise DatasetError(f"cannot read the queries of {queries[0].error}; {_WANTED}")
    return queries


def search_all(
    searcher: Searcher,
    queries: Sequence[Query],
    target: Target,
    k: int,
    only: Filter | None = None,
    progress: Progress = silent,
) -> list[Answer]:
    """One answer per query, in order; the answer to an invalid query holds its error.

    Raises:
        ConfigError: ``k`` is below 1, or the index lacks what the filter needs.
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


def _from_text(path: Path, text: Text) -> Iterator[Query]:
    for place, line in enumerate(text.lines):
        if line.strip():
            problem = f"it holds {DAMAGED}" if place in text.damaged else flaw(line)
            yield _unread(path, place + 1, problem) if problem else Query(text=line.strip())


def _from_table(path: Path, text: Text) -> Iterator[Query]:
    table = read_table(text, lambda names: bool(set(names) & set(_FIELDS)), name=path.name, files="image")
    if not table.usable and table.seen:
        raise DatasetError(
            f"the queries of {path} have the columns {', '.join(table.names)}; name one text, image or id{table.seen}"
        )
    names = [name.lower() for name in table.names]
    for record in table.records:
        problem = record.problem or (f"it holds {DAMAGED}" if record.damaged else "")
        fields = dict(zip(names, record.cells, strict=False))
        yield _unread(path, record.line, problem) if problem else _query(path, f"line {record.line}", fields)


def _from_json_lines(path: Path, text: Text) -> Iterator[Query]:
    for place, line in enumerate(text.lines):
        if line.strip():
            fields = _object(line) if place not in text.damaged else f"it holds {DAMAGED}"
            if isinstance(fields, str):
                yield _unread(path, place + 1, fields)
            else:
                yield _query(path, f"line {place + 1}", fields)


def _object(line: str) -> dict[str, Any] | str:
    """The fields of a line, or its error."""
    try:
        fields = parse_line(line)
    except ValueError as error:
        return f"not a JSON object ({error})"
    if not isinstance(fields, dict):
        return "not a JSON object"
    # Queries may contain NUL, but not what cannot be encoded or is too long.
    problem = flaws(value.replace("\0", "") for value in fields.values() if isinstance(value, str))
    return problem or fields


class _Unread(Query):
    """A row that cannot be read, so its query is unknown."""


def _unread(path: Path, line: int, problem: str) -> Query:
    return _Unread(error=f"{path}, line {line}: {problem}")


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
