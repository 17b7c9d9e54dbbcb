"""The OpenAPI document is true: schemathesis asks for what it describes, and for what it excludes."""

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
import pytest

from mmer_core.querying import PhotoRoot
from mmer_core.serving import Edition, Service, create_app


def test_x(world):
    app = create_app(Service(Edition(world.searcher, root=PhotoRoot(world.root))))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    for op in schema.get_all_operations():
        op = op.ok()
        print(op.method, op.path, op.label)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                strat = op.as_strategy(generation_mode=mode)
            except Exception as e:
                print(repr(e))
                continue
            seen = {}

            @settings(
                max_examples=30,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(strat)
            def run(case):
                r = case.call()
                seen[r.status_code] = seen.get(r.status_code, 0) + 1
                case.validate_response(
                    r,
                    checks=[
                        not_a_server_error,
                        status_code_conformance,
                        content_type_conformance,
                        response_headers_conformance,
                        response_schema_conformance,
                        negative_data_rejection,
                    ],
                )

            try:
                run()
            except BaseException as e:
                print("FAIL", str(e)[:1500])
            print(mode, seen)
