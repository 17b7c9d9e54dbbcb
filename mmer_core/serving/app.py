"""The routes of the service, all of them read-only."""

import hashlib
from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import unquote_to_bytes

import anyio
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from PIL import Image
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from mmer_core import __version__
from mmer_core.datasets.pixels import UnreadableImageError, decode_rgb
from mmer_core.errors import ConfigError, DatasetError, MmerError
from mmer_core.querying import NoPicture, UnknownId
from mmer_core.querying.pictures import (
    MEDIA_TYPES,
    PIECE_BYTES,
    PhotoChanged,
    PhotoFile,
    Picture,
    encoded,
)
from mmer_core.serving import answers, questions
from mmer_core.serving.bodies import Bodies
from mmer_core.serving.description import (
    ID,
    PICTURES,
    SEARCH,
    SEARCH_BODY,
    answer,
    cached,
    content,
    in_path,
    route,
)
from mmer_core.serving.guard import HEADERS, Guard
from mmer_core.serving.limits import Limits
from mmer_core.serving.refusal import Refusal
from mmer_core.serving.service import Service, photo_answer

PAGE_FILES = {
    "index.html": "text/html; charset=utf-8",
    "search.css": "text/css; charset=utf-8",
    "search.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_ABOUT = """Search an index by text, id, photo or vector. All operations are read-only; `HEAD` is supported wherever `GET`
is. There is no authentication."""
_DECODED_AT_ONCE = 2
"""Photos decoded at the same time: each may take 100 MB."""

_STATUS: tuple[tuple[type[MmerError], int], ...] = (
    (UnknownId, 404),
    (NoPicture, 404),
    (ConfigError, 422),
    (DatasetError, 422),
    (MmerError, 500),
)


def create_app(
    service: Service, *, hosts: Container[str] | None = None, limits: Limits = Limits()
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        hosts: Host names that requests may use; any if None.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.close)

    # Without FastAPI's documentation pages, which load scripts from other hosts, and without redirects, which would
    # use whatever host name the request gives.
    app = FastAPI(
        title="mmer serve",
        description=_ABOUT,
        version=__version__,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(Guard, metrics=service.metrics, hosts=hosts, head_bytes=limits.head_bytes)
    _add_error_handlers(app)
    _add_page(app)
    _add_search(app, service, Bodies(limits.body_bytes))
    _add_pictures(app, service)
    _add_state(app, service)
    return app


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(MmerError)
    async def refused(request: Request, error: MmerError) -> Response:
        if isinstance(error, Refusal):
            return error.response()
        status = next(status for kind, status in _STATUS if isinstance(error, kind))
        return Refusal(status, str(error)).response()

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            message = f"{request.method[:60]} is not supported: this service is read-only"
            return JSONResponse({"error": message}, 405, {"Allow": ", ".join(_methods(app, request))})
        reasons = {404: "there is nothing here; / is the search page, and /openapi.json lists the rest"}
        message = reasons.get(error.status_code, str(error.detail))
        return JSONResponse({"error": message}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        # This response bypasses the guard and omits the error, which must not be shown to visitors.
        return JSONResponse({"error": "the service failed; its log says why"}, 500, HEADERS)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Refusal(400, "the request ended before its body did").response()


def _methods(app: FastAPI, request: Request) -> list[str]:
    """The methods supported at the path of a request."""
    routes = [route for route in app.routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in routes for method in getattr(route, "methods", ())}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _add_page(app: FastAPI) -> None:
    page_responses = cached(content("text/html"))

    @app.get("/", **route(page_responses))
    async def page(request: Request) -> Response:
        """The search page."""
        return _page_file(request, "index.html")

    @app.get("/photo", **route(page_responses))
    async def photo_page(request: Request) -> Response:
        """The page of one photo."""
        return _page_file(request, "index.html")

    kinds = content(*(kind.partition(";")[0] for kind in PAGE_FILES.values()))
    name = in_path("name", "A file of the page.", {"type": "string", "enum": list(PAGE_FILES)})

    @app.get("/page/{name}", **route(cached(kinds), 404, parameters=[name]))
    async def page_file(request: Request) -> Response:
        """A static file of the page."""
        if request.path_params["name"] not in PAGE_FILES:
            raise HTTPException(404)
        return _page_file(request, request.path_params["name"])


def _add_search(app: FastAPI, service: Service, bodies: Bodies) -> None:
    decoding = anyio.CapacityLimiter(_DECODED_AT_ONCE)
    found = answer(answers.SearchAnswer)

    @app.get("/api/search", **route(found, 404, 413, 422, **SEARCH))
    async def search(request: Request) -> Response:
        """Search with one query, by text or id."""
        asked, options = questions.from_query_string(_query(request))
        with service.question():
            return _as_json(await service.answer([asked], options))

    @app.post("/api/search", **route(found, 404, 413, 415, 422, **SEARCH_BODY))
    async def search_body(request: Request) -> Response:
        """Search with one or several queries by text, id or vector, or with a photo."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            questions.check_no_fields(_query(request))
            async with bodies.read(request, questions.MAX_JSON_BYTES) as body:
                with service.question():
                    asked, options = await run_in_threadpool(questions.from_json, body)
                    return _as_json(await service.answer(asked, options))
        if kind in MEDIA_TYPES.values():
            options = questions.options_from_query_string(_query(request))
            async with bodies.read(request, questions.MAX_IMAGE_BYTES) as body:
                with service.question():
                    photo = await anyio.to_thread.run_sync(_decoded, body, limiter=decoding)
                    return _as_json(await service.answer_photo(photo, options))
        allowed = ", ".join(["application/json", *MEDIA_TYPES.values()])
        given = f"the content type is {kind[:60]!r}" if kind else "there is no content type"
        raise Refusal(415, f"{given}; send one of {allowed}")

    @app.get("/api/photo", **route(answer(answers.PhotoAnswer), 404, 413, 422, parameters=[ID]))
    async def photo(request: Request) -> Response:
        """Everything that the index holds about one photo."""
        return JSONResponse(await run_in_threadpool(photo_answer, service.snapshot, _id(request)))

    @app.get("/api/index", **route(answer(answers.IndexAnswer)))
    async def index() -> Response:
        """The contents of the index."""
        return JSONResponse(await run_in_threadpool(lambda: service.snapshot.about))


def _add_pictures(app: FastAPI, service: Service) -> None:
    path = in_path("path", "Path of a photo within the dataset.", {"type": "string", "minLength": 1})

    @app.get("/images/{path:path}", **route(cached(content(*PICTURES)), 404, parameters=[path]))
    async def image(request: Request) -> Response:
        """An original photo; available if the service was started with --images."""
        root = service.snapshot.root
        if root is None:
            raise NoPicture("no photos are served: start mmer serve with --images DIR")
        photo = await run_in_threadpool(root.open, request.path_params["path"])
        if _is_known(request, photo.tag):
            photo.file.close()
            return Response(status_code=304, headers=_cache_headers(photo.tag))
        if photo.size <= PIECE_BYTES:
            whole = await run_in_threadpool(_whole, photo)
            return Response(whole, media_type=photo.media_type, headers=_cache_headers(photo.tag))
        headers = _cache_headers(photo.tag) | {"Content-Length": str(photo.size)}
        return StreamingResponse(photo.pieces(), media_type=photo.media_type, headers=headers)

    @app.get("/pictures", **route(cached(content("image/jpeg")), 404, 413, 422, parameters=[ID]))
    async def picture(request: Request) -> Response:
        """A photo from the prepared dataset; available if the service was started without --images."""
        prepared = service.snapshot.prepared
        if prepared is None:
            raise NoPicture("no prepared pictures are served: these photos are at /images/")
        pixels: Picture = await run_in_threadpool(prepared.picture, _id(request))
        shown, media_type = await run_in_threadpool(encoded, pixels)
        return _cached(request, shown, media_type)


def _add_state(app: FastAPI, service: Service) -> None:
    busy = {"model": answers.Ready, "description": "No more queries are accepted now."}
    readiness = answer(answers.Ready) | {503: busy}

    @app.get("/health/live", **route(answer(answers.Live)))
    async def live() -> Response:
        """Whether the service is running."""
        return JSONResponse({"live": True})

    @app.get("/health/ready", **route(readiness))
    async def ready() -> Response:
        """Whether the service accepts queries."""
        fields = {"live": True, "ready": service.ready, "index": service.snapshot.searcher.key}
        return JSONResponse(fields, 200 if service.ready else 503)

    @app.get("/health", **route(readiness))
    async def health() -> Response:
        """The same as /health/ready."""
        return await ready()

    @app.get("/metrics", **route(content("text/plain")))
    async def metrics() -> Response:
        """Requests, latencies, open queries and memory in Prometheus' text format."""
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @app.get("/openapi.json", **route(answer(dict[str, Any])))
    async def document() -> Response:
        """This document."""
        return JSONResponse(await run_in_threadpool(app.openapi))


def _decoded(content: bytes) -> Image.Image:
    try:
        return decode_rgb(content, formats=tuple(MEDIA_TYPES), most=questions.MAX_IMAGE_PIXELS)
    except UnreadableImageError as error:
        cure = "send a whole JPEG, PNG, WebP, GIF or BMP"
        raise Refusal(422, f"cannot read the photo: {error.with_cure(cure)}") from None


def _as_json(fields: dict[str, Any]) -> Response:
    """Serialised by pydantic's core, in a quarter of the time of Python's own encoder."""
    return Response(to_json(fields), media_type="application/json")


def _query(request: Request) -> list[tuple[str, str]]:
    try:
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:
        raise Refusal(422, "the address holds bytes that are no UTF-8; write it in UTF-8") from None
    return request.query_params.multi_items()


def _whole(photo: PhotoFile) -> bytes:
    try:
        return b"".join(photo.pieces())
    except PhotoChanged:
        raise Refusal(503, "the photo changed while it was read; ask again", retry_after=1) from None


def _id(request: Request) -> str:
    ids = [value for name, value in _query(request) if name == "id"]
    if len(ids) != 1 or not ids[0]:
        raise Refusal(422, "give the id of one photo: ?id=ID")
    if len(ids[0]) > questions.MAX_TEXT:
        raise Refusal(413, f"the id is longer than {questions.MAX_TEXT} characters; shorten it")
    return ids[0]


def _cached(request: Request, content: bytes, media_type: str) -> Response:
    """Content that browsers may cache and revalidate by its tag."""
    tag = hashlib.sha256(content).hexdigest()[:32]
    if _is_known(request, tag):
        return Response(status_code=304, headers=_cache_headers(tag))
    return Response(content, media_type=media_type, headers=_cache_headers(tag))


def _is_known(request: Request, tag: str) -> bool:
    return f'"{tag}"' in request.headers.get("if-none-match", "")


def _cache_headers(tag: str) -> dict[str, str]:
    return {"ETag": f'"{tag}"', "Cache-Control": "private, max-age=300"}


def _page_file(request: Request, name: str) -> Response:
    response = _cached(request, _packaged(name), PAGE_FILES[name])
    response.headers["Cache-Control"] = "no-cache"
    return response


@cache
def _packaged(name: str) -> bytes:
    return resources.files("mmer_core.serving").joinpath("page", name).read_bytes()
