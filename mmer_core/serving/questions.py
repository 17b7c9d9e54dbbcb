"""Queries over HTTP, from a query string or a JSON body to one validated form, within limits.

The query string has ``text`` or ``id``, ``target``, ``k``, ``split`` and ``label`` (both repeatable), and
``valence``, ``arousal``, ``dominance`` as ``LOW,HIGH``. A JSON body has the same names (lists for ``split``, ``label``
and the ratings) and may give a ``vector``, or several queries as ``queries``.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from mmer_core.retrieval import Filter
from mmer_core.retrieval.side_table import RATINGS
from mmer_core.serving.refusal import Refusal

MAX_TEXT = 2_000
"""Maximal length of a text in characters."""

MAX_RESULTS = 200
MAX_QUERIES = 64
MAX_JSON_BYTES = 2**21
MAX_IMAGE_BYTES = 20 * 2**20
MAX_IMAGE_PIXELS = 2**25
MAX_NAMES = 100
MAX_WIDTH = 65_536

_SHOWN = 60
_LISTS = ("split", "label")
_ALLOWED = {"text", "id", "target", "k", *_LISTS, *RATINGS}
_ONE = "text, id or vector"
_NUMBER = r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
WHOLE_PATTERN = r"^[-+]?[0-9]+$"
INTERVAL_PATTERN = f"^{_NUMBER},{_NUMBER}$"
"""Format of ``k`` and ratings in a query string."""

_SPELLED = {"k": (re.compile(WHOLE_PATTERN), "a whole number")} | dict.fromkeys(
    RATINGS, (re.compile(INTERVAL_PATTERN), "two numbers as LOW,HIGH")
)

Name = Annotated[str, Field(max_length=MAX_TEXT)]
Interval = tuple[FiniteFloat, FiniteFloat]
M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SearchQuery(_Strict):
    """One query: a text, the id of a photo in the index, or a vector in the index's space."""

    text: Annotated[str, Field(max_length=MAX_TEXT)] | None = None
    id: Name | None = None
    vector: Annotated[list[float], Field(max_length=MAX_WIDTH)] | None = None

    @property
    def given(self) -> list[str]:
        return [name for name in ("text", "id", "vector") if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _not_blank(self) -> Self:
        if self.text is not None and not self.text.strip():
            raise ValueError("the text is empty; say what to look for")
        return self

    def shown(self) -> dict[str, str]:
        """The query as the response names it: a vector without its numbers."""
        return {name: getattr(self, name) if name != "vector" else "" for name in self.given}


class Options(_Strict):
    """What to find, how many results, and under which conditions."""

    target: Literal["image", "text"] = "image"
    k: int = Field(20, ge=1, le=MAX_RESULTS)
    split: Annotated[list[Name], Field(max_length=MAX_NAMES)] = []
    label: Annotated[list[Name], Field(max_length=MAX_NAMES)] = []
    valence: Interval | None = None
    arousal: Interval | None = None
    dominance: Interval | None = None

    @property
    def only(self) -> Filter | None:
        """The filter, or None without conditions."""
        given = ((name, getattr(self, name)) for name in RATINGS)
        wanted = Filter(self.split, self.label, {name: limits for name, limits in given if limits})
        return wanted or None


class _Body(SearchQuery, Options):
    queries: Annotated[list[SearchQuery], Field(max_length=MAX_QUERIES)] | None = None


def _body_schema() -> dict[str, Any]:
    schema = _Body.model_json_schema()
    query = schema.pop("$defs")["SearchQuery"]
    schema["properties"]["queries"]["anyOf"][0]["items"] = query
    given = [{"required": [name]} for name in ("text", "id", "vector", "queries")]
    return schema | {"anyOf": given, "title": "Questions"}


BODY_SCHEMA = _body_schema()
"""OpenAPI schema of a JSON body."""


def from_query_string(items: Iterable[tuple[str, str]]) -> tuple[SearchQuery, Options]:
    """The query of a GET. Raises `Refusal` (413 if too long, otherwise 422)."""
    fields = _fields(items)
    query = _only_one(
        _read(SearchQuery, {name: fields.pop(name) for name in ("text", "id") if name in fields})
    )
    return query, _read(Options, fields)


def options_from_query_string(items: Iterable[tuple[str, str]]) -> Options:
    """The options of a query that is the body itself. Raises `Refusal`."""
    return _read(Options, _fields(items))


def check_no_fields(items: Iterable[tuple[str, str]]) -> None:
    """Raise `Refusal` (422) if there are parameters beside a JSON body, which must hold all fields itself."""
    for name, _ in items:
        raise Refusal(422, f"{name[:_SHOWN]!r} is in the address; put it into the JSON body")


def from_json(body: bytes) -> tuple[list[SearchQuery], Options]:
    """The queries of a POST. Raises `Refusal` (400 if not JSON, 413 if too large, otherwise 422)."""
    try:
        read = _Body.model_validate_json(body, strict=True)
        json.loads(body, object_pairs_hook=_without_doubles)
    except ValidationError as error:
        raise _refusal(error) from None
    options = Options(**{name: getattr(read, name) for name in Options.model_fields})
    if read.queries is None:
        return [_only_one(read)], options
    if read.given:
        raise Refusal(422, f"the request has both queries and {read.given[0]}; give one of them")
    if not read.queries:
        raise Refusal(422, f"queries is empty; give 1 to {MAX_QUERIES}")
    return [_only_one(query) for query in read.queries], options


def unit_vector(numbers: Sequence[float], width: int) -> npt.NDArray[np.float32]:
    """``(1, D)`` unit vector. Raises `Refusal` (422) for another width, NaN, infinity or the zero vector."""
    if len(numbers) != width:
        raise Refusal(422, f"the vector has {len(numbers)} numbers; vectors of this index have {width}")
    vector = np.array(numbers, dtype=np.float64)[None]
    if not np.isfinite(vector).all():
        raise Refusal(422, "the vector holds NaN or infinity; give finite numbers")
    largest = np.abs(vector).max()
    if largest == 0:
        raise Refusal(422, "the vector is zero, which has no direction; give another")
    vector /= largest  # otherwise the squares of very large numbers overflow
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _only_one(query: SearchQuery) -> SearchQuery:
    if len(query.given) != 1:
        said = " and ".join(query.given) or "nothing"
        raise Refusal(422, f"the query asks for {said}; give one of {_ONE}")
    return query


def _without_doubles(pairs: Sequence[tuple[str, Any]]) -> None:
    """Raise `Refusal` (422) if an object has a duplicate name, because parsers differ in which one they keep."""
    names = [name for name, _ in pairs]
    for name in names if len(set(names)) < len(names) else ():
        if names.count(name) > 1:
            raise Refusal(422, f"{name[:_SHOWN]} is given twice; give it once")


def _fields(items: Iterable[tuple[str, str]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in items:
        if name not in _ALLOWED:
            raise Refusal(
                422, f"there is no parameter {name[:_SHOWN]!r}; there are {', '.join(sorted(_ALLOWED))}"
            )
        form, wanted = _SPELLED.get(name, (None, ""))
        if form is not None and not form.fullmatch(value):
            raise Refusal(422, f"{name} is {value[:_SHOWN]!r}; give {wanted}")
        if name in _LISTS:
            fields.setdefault(name, []).append(value)
        elif name in fields:
            raise Refusal(422, f"{name} is given twice; give it once")
        else:
            fields[name] = value.split(",") if name in RATINGS else value
    return fields


def _read(model: type[M], fields: dict[str, Any]) -> M:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> Refusal:
    """pydantic's first error as one sentence."""
    fault = error.errors(include_url=False)[0]
    place = ".".join(map(str, fault["loc"]))
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "json_invalid":
        return Refusal(
            400, f"the body is not JSON ({message.removeprefix('Invalid JSON: ')}); send an object"
        )
    if fault["type"] == "model_type" and not place:
        return Refusal(422, "the body is not a JSON object; send one with text, id, vector or queries")
    if fault["loc"] and fault["loc"][0] in RATINGS:
        return Refusal(
            422, f"{fault['loc'][0]} is not an interval; give two finite numbers, the smaller one first"
        )
    if fault["type"] in ("string_too_long", "too_long"):
        return Refusal(413, f"{place} is too long: {message[0].lower()}{message[1:]}; shorten it")
    if fault["type"] == "extra_forbidden":
        return Refusal(422, f"there is no field {place[:_SHOWN]!r}; see docs/search.md")
    given = "" if isinstance(fault["input"], dict | list) else f" is {_as_sent(fault['input'])[:_SHOWN]}"
    return Refusal(422, f"{place}{given}: {message[0].lower()}{message[1:]}" if place else message)


def _as_sent(value: object) -> str:
    return repr(value) if isinstance(value, str) else json.dumps(value)
