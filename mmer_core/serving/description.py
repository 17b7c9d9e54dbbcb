"""The parts of the OpenAPI document that routes cannot tell by their signatures, made from what checks the requests."""

from typing import Any

from mmer_core.querying.pictures import MEDIA_TYPES
from mmer_core.retrieval.side_table import RATINGS
from mmer_core.serving import questions
from mmer_core.serving.answers import Problem

Responses = dict[int | str, dict[str, Any]]

_PROBLEMS = {
    400: "No request that can be answered: a name that the service is not called by, or what is no JSON.",
    404: "There is no such id, photo or file.",
    405: "Another method: this service only reads.",
    408: "The request took too long to arrive.",
    413: "More than the service reads.",
    415: "Another content type.",
    422: "A value that cannot work.",
    500: "The service failed; its log says why.",
    503: "Too many requests are being answered, or the service is ending.",
}
_ALWAYS = (400, 405, 408, 500, 503)
_RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}}}


def problems(*statuses: int) -> Responses:
    """How a route says no, besides what every route may say."""
    return {
        status: {"model": Problem, "description": _PROBLEMS[status]}
        | ({"headers": _RETRY} if status == 503 else {})
        for status in sorted({*statuses, *_ALWAYS})
    }


def answer(model: type[Any]) -> Responses:
    """A 200 of this form."""
    return {200: {"model": model}}


def content(*media_types: str) -> Responses:
    """A 200 whose body is no JSON."""
    kinds = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in media_types}
    return {200: {"description": "The file.", "content": kinds}}


def cached(responses: Responses) -> Responses:
    """The same with a tag, by which a browser can ask whether it is still the same."""
    tag = {
        "ETag": {"description": "Changes with the content.", "schema": {"type": "string"}, "required": True}
    }
    return (
        responses
        | {200: responses[200] | {"headers": tag}}
        | {304: {"description": "What `If-None-Match` names is still the same.", "headers": tag}}
    )


PICTURES = tuple(MEDIA_TYPES.values())

ID = {
    "name": "id",
    "in": "query",
    "required": True,
    "description": "Of a photo of the index.",
    "schema": {"type": "string", "minLength": 1, "maxLength": questions.MAX_TEXT},
}


def in_path(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A part of the path."""
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _fields(*names: str) -> list[dict[str, Any]]:
    """Query parameters, from the models that check them."""
    known = questions.Asked.model_json_schema()["properties"]
    known |= questions.Options.model_json_schema()["properties"]
    return [_parameter(name, known[name]) for name in names]


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    schema = {key: value for key, value in schema.items() if key not in ("title", "description")}
    if name in RATINGS:
        schema = {"type": "string", "pattern": questions.INTERVAL_PATTERN}
    elif "anyOf" in schema:  # a query string has no null
        (schema,) = (one for one in schema["anyOf"] if one != {"type": "null"})
    return {"name": name, "in": "query", "description": _MEANINGS[name], "schema": schema}


_MEANINGS = {
    "text": "What to look for, in words; this or `id`.",
    "id": "A photo of the index, to find more like it; this or `text`.",
    "target": "Whether photos or captions are found.",
    "k": "Results.",
    "split": "Only of these splits.",
    "label": "Only with all of these labels.",
    **{name: f"Only with a {name} from LOW to HIGH: `LOW,HIGH`." for name in RATINGS},
}
_OPTIONS = tuple(questions.Options.model_fields)

SEARCH: dict[str, Any] = {"parameters": _fields("text", "id", *_OPTIONS)}

_PHOTO = {"schema": {"type": "string", "format": "binary", "maxLength": questions.MAX_IMAGE_BYTES}}

SEARCH_BODY: dict[str, Any] = {
    "parameters": _fields(*_OPTIONS),
    "requestBody": {
        "required": True,
        "description": "Questions, or a photo; a photo's options are in the query string.",
        "content": {"application/json": {"schema": questions.BODY_SCHEMA}} | dict.fromkeys(PICTURES, _PHOTO),
    },
}
