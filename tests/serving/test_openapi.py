"""The OpenAPI document is true: schemathesis asks for what it describes and for what it excludes."""

import copy
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mmer_core.querying import PhotoRoot
from mmer_core.serving import IndexSnapshot, Service, create_app

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
REFUSED = {"expected-statuses": [400, 404, 413, 415, 422]}
EXAMPLES = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Drawn:
    """A picture for every id."""

    def holds(self, id: str) -> bool:
        return True

    def picture(self, id: str, path: str | None = None) -> np.ndarray:
        return np.zeros((4, 4, 3), np.uint8)


@pytest.fixture
def app(world) -> FastAPI:
    pictures: Any = Drawn()
    return create_app(Service(IndexSnapshot(world.searcher, PhotoRoot(world.root), pictures)))


def answered(app: FastAPI, mode: GenerationMode) -> dict[str, Counter[int]]:
    """Ask every operation; the statuses of its answers, each of which was checked."""
    config = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": REFUSED}})
    found: dict[str, Counter[int]] = {}
    for read in schemathesis.openapi.from_asgi("/openapi.json", app, config=config).get_all_operations():
        operation = read.ok()
        fixed = not operation.body and not operation.query and "{" not in operation.path
        if mode is GenerationMode.NEGATIVE and (fixed or operation.path.startswith("/images")):
            continue  # nothing can be wrong with it
        found[operation.label] = _asked(operation, mode)
    return found


def _asked(operation: Any, mode: GenerationMode) -> Counter[int]:
    statuses: Counter[int] = Counter()

    @EXAMPLES
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        response = case.call()
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    ask()
    return statuses


@pytest.mark.long
def test_what_it_excludes_is_refused(app: FastAPI) -> None:
    found = answered(app, GenerationMode.NEGATIVE)
    # What a query string spells the same way as something right is answered.
    assert {status for statuses in found.values() for status in statuses} <= {200, 400, 404, 413, 415, 422}
    assert found["POST /api/search"].total() >= EXAMPLES.max_examples
    assert not found["POST /api/search"][200]


def test_what_it_describes_is_answered_as_it_says(app: FastAPI) -> None:
    found = answered(app, GenerationMode.POSITIVE)
    assert {status for statuses in found.values() for status in statuses} <= {200, 404, 422}


def test_questions_to_what_there_is_are_answered(world, app: FastAPI) -> None:
    """The same document, with the ids, splits, labels and width of this index: every route gives its 200."""
    document = copy.deepcopy(app.openapi())
    known = {
        "id": world.ids,
        "split": ["train", "val"],
        "label": ["dog"],
        "path": [f"sub/{id}" for id in world.ids],
    }

    def narrow(name: str, schema: dict[str, Any]) -> None:
        if name in known:
            schema.get("items", schema)["enum"] = known[name]
        if name == "vector":
            schema |= {"minItems": 16, "maxItems": 16}
        if name in ("text", "vector", "queries"):
            schema.setdefault("minItems" if schema["type"] == "array" else "minLength", 1)

    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                narrow(parameter["name"], parameter["schema"])
            body = (
                operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            )
            if body:
                operation["requestBody"]["content"] = {"application/json": {"schema": body}}
                for name, schema in body["properties"].items():
                    if schema.get("anyOf"):
                        schema |= schema.pop("anyOf")[0]
                    narrow(name, schema)
    app.openapi = lambda: document  # type: ignore[method-assign]
    found = answered(app, GenerationMode.POSITIVE)
    assert {label for label, statuses in found.items() if not statuses[200]} == set()


def test_everything_is_described(app: FastAPI) -> None:
    """All routes, with the limits that are checked; nothing is fetched from elsewhere."""
    document = app.openapi()
    routes = {re.sub(r":path", "", route.path) for route in app.routes}
    assert set(document["paths"]) == routes
    assert {"400", "405", "408", "500", "503"} <= set(document["paths"]["/api/search"]["post"]["responses"])
    assert "http" not in str(document).replace("https", "http").replace("HTTPS", "")
    kinds = document["paths"]["/api/search"]["post"]["requestBody"]["content"]
    assert kinds["application/json"]["schema"]["properties"]["k"]["maximum"] == 200
