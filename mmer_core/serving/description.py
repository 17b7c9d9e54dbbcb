"""Parts of the OpenAPI document that FastAPI cannot derive from signatures, built from the models that check requests."""

from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from mmer_core.querying.pictures import MEDIA_TYPES
from mmer_core.retrieval.side_table import RATINGS
from mmer_core.serving import questions
from mmer_core.serving.answers import Problem

Responses = dict[int | str, dict[str, Any]]

_PROBLEMS = {
    400: "Not a valid request: an unknown host name, or malformed JSON.",
    404: "There is no such id, photo or file.",
    405: "The method is not supported: this service is read-only.",
    408: "The request took too long to arrive.",
    413: "The request is too large.",
    415: "The content type is not supported.",
    422: "A parameter has an invalid value.",
    500: "Internal error; the service's log has the details.",
    503: "Too many requests, or the service is shutting down.",
}
_ALWAYS = (400, 405, 408, 500, 503)
_RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}}}


def route(responses: Responses, *statuses: int, **extra: Any) -> dict[str, Any]:
    """Arguments of a route for FastAPI.

    Args:
        responses: By `answer`, `content` or `cached`.
        statuses: Errors, in addition to those of every route.
        extra: Further fields of its description.
    """
    kind = JSONResponse if "model" in responses[200] else Response
    described = {**responses, **_problems(*statuses), **responses}
    return {"response_class": kind, "responses": described, "openapi_extra": extra}


def _problems(*statuses: int) -> Responses:
    return {
        status: {"model": Problem, "description": _PROBLEMS[status]}
        | ({"headers": _RETRY} if status == 503 else {})
        for status in sorted({*statuses, *_ALWAYS})
    }


def answer(model: type[Any]) -> Responses:
    """A 200 response with this model."""
    return {200: {"model": model}}


def content(*media_types: str) -> Responses:
    """A 200 response whose body is not JSON."""
    kinds = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in media_types}
    return {200: {"description": "The file.", "content": kinds}}


def cached(responses: Responses) -> Responses:
    """The same with an ETag, by which a browser can revalidate its copy."""
    tag = {"description": "Changes with the content.", "schema": {"type": "string"}, "required": True}
    same = {"description": "The content named by `If-None-Match` is unchanged."}
    return {200: responses[200] | {"headers": {"ETag": tag}}, 304: same | {"headers": {"ETag": tag}}}


PICTURES = tuple(MEDIA_TYPES.values())

ID = {
    "name": "id",
    "in": "query",
    "required": True,
    "description": "Id of a photo in the index.",
    "schema": {"type": "string", "minLength": 1, "maxLength": questions.MAX_TEXT},
}


def in_path(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A path parameter."""
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _fields(*names: str) -> list[dict[str, Any]]:
    """Query parameters, from the models that validate them."""
    known = questions.SearchQuery.model_json_schema()["properties"]
    known |= questions.Options.model_json_schema()["properties"]
    return [_parameter(name, known[name]) for name in names]


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    schema = {key: value for key, value in schema.items() if key not in ("title", "description")}
    if name in RATINGS:
        schema = {"type": "string", "pattern": questions.INTERVAL_PATTERN}
    elif "anyOf" in schema:  # query strings have no null
        (schema,) = (one for one in schema["anyOf"] if one != {"type": "null"})
    return {"name": name, "in": "query", "description": _MEANINGS[name], "schema": schema}


_MEANINGS = {
    "text": "Text to search for; either this or `id`.",
    "id": "A photo of the index, to find similar ones; either this or `text`.",
    "target": "Whether to find photos or captions.",
    "k": "Results.",
    "split": "Only results in these splits.",
    "label": "Only results with all of these labels.",
    **{name: f"Only results with a {name} from LOW to HIGH: `LOW,HIGH`." for name in RATINGS},
}
_OPTIONS = tuple(questions.Options.model_fields)

SEARCH: dict[str, Any] = {"parameters": _fields("text", "id", *_OPTIONS)}

_PHOTO = {"schema": {"type": "string", "format": "binary", "maxLength": questions.MAX_IMAGE_BYTES}}

SEARCH_BODY: dict[str, Any] = {
    "parameters": _fields(*_OPTIONS),
    "requestBody": {
        "required": True,
        "description": "Queries, or a photo; a photo's options are in the query string.",
        "content": {"application/json": {"schema": questions.BODY_SCHEMA}} | dict.fromkeys(PICTURES, _PHOTO),
    },
}
