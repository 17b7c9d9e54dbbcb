"""The routes of the service. All of them read; none writes."""

import hashlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import cache
from importlib import resources
from typing import Any

import anyio
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from PIL import Image
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from mmer_core.datasets.pixels import UnreadableImageError, decode_rgb
from mmer_core.errors import ConfigError, DatasetError, MmerError
from mmer_core.querying import NoPicture, UnknownId
from mmer_core.querying.pictures import MEDIA_TYPES, Picture, encoded
from mmer_core.serving import questions
from mmer_core.serving.guard import HEADERS, Guard
from mmer_core.serving.refusal import Refusal
from mmer_core.serving.service import Service, photo_answer

READ = ["GET", "HEAD"]
PAGE_FILES = {
    "index.html": "text/html; charset=utf-8",
    "search.css": "text/css; charset=utf-8",
    "search.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_DECODED_AT_ONCE = 2
"""Photos that are decoded at a time: each may take 100 MB."""

_STATUS: tuple[tuple[type[MmerError], int], ...] = (
    (UnknownId, 404),
    (NoPicture, 404),
    (ConfigError, 422),
    (DatasetError, 422),
    (MmerError, 500),
)


def create_app(
    service: Service,
    *,
    hosts: Collection[str] | None = None,
    on_start: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        hosts: Names that requests may call it by; any when None.
        on_start: Called in the event loop before the first request.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        on_start()
        yield
        await run_in_threadpool(service.close)

    # Without FastAPI's own pages of documentation, which fetch scripts from elsewhere.
    app = FastAPI(title="mmer serve", lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, metrics=service.metrics, hosts=hosts)
    _add_error_handlers(app)
    _add_page(app)
    _add_search(app, service)
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
        reasons = {
            404: "there is nothing here; / is the search page, and docs/search.md lists the rest",
            405: f"{request.method} is not answered here: this service only reads",
        }
        message = reasons.get(error.status_code, str(error.detail))
        return JSONResponse({"error": message}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        # Outside of the guard, and without what went wrong, which is no visitor's business.
        return JSONResponse({"error": "the service failed; its log says why"}, 500, HEADERS)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Refusal(400, "the request ended before its body did").response()


def _add_page(app: FastAPI) -> None:
    @app.api_route("/", methods=READ)
    @app.api_route("/photo", methods=READ)
    async def page(request: Request) -> Response:
        return _page_file(request, "index.html")

    @app.api_route("/page/{name}", methods=READ)
    async def page_file(request: Request, name: str) -> Response:
        if name not in PAGE_FILES:
            raise HTTPException(404)
        return _page_file(request, name)


def _add_search(app: FastAPI, service: Service) -> None:
    decoding = anyio.CapacityLimiter(_DECODED_AT_ONCE)

    @app.get("/api/search")
    async def search(request: Request) -> Any:
        asked, options = questions.from_query_string(request.query_params.multi_items())
        with service.question():
            return await service.answer([asked], options)

    @app.post("/api/search")
    async def search_body(request: Request) -> Any:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            body = await _body(request, questions.MAX_JSON_BYTES)
            with service.question():
                return await service.answer(*await run_in_threadpool(questions.from_json, body))
        if kind in MEDIA_TYPES.values():
            options = questions.options_from_query_string(request.query_params.multi_items())
            body = await _body(request, questions.MAX_IMAGE_BYTES)
            with service.question():
                photo = await anyio.to_thread.run_sync(_decoded, body, limiter=decoding)
                return await service.answer_photo(photo, options)
        allowed = ", ".join(["application/json", *MEDIA_TYPES.values()])
        raise Refusal(415, f"the content type is {kind[:60] or 'missing'!r}; send one of {allowed}")

    @app.get("/api/photo")
    async def photo(request: Request) -> Any:
        return await run_in_threadpool(photo_answer, service.edition, _id(request))

    @app.get("/api/index")
    async def index() -> Any:
        return await run_in_threadpool(lambda: service.edition.about)


def _add_pictures(app: FastAPI, service: Service) -> None:
    @app.api_route("/images/{path:path}", methods=READ)
    async def image(request: Request, path: str) -> Response:
        root = service.edition.root
        if root is None:
            raise NoPicture("no photos are served: start mmer serve with --images DIR")
        photo = await run_in_threadpool(root.read, path)
        return _cached(request, photo.content, photo.media_type, photo.tag)

    @app.api_route("/pictures", methods=READ)
    async def picture(request: Request) -> Response:
        prepared = service.edition.prepared
        if prepared is None:
            raise NoPicture("no prepared pictures are served: these photos are at /images/")
        pixels: Picture = await run_in_threadpool(prepared.picture, _id(request))
        content, media_type = await run_in_threadpool(encoded, pixels)
        return _cached(request, content, media_type)


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/health/live")
    async def live() -> Any:
        return {"live": True}

    @app.get("/health/ready")
    @app.get("/health")
    async def ready() -> Response:
        fields = {"live": True, "ready": service.ready, "index": service.edition.searcher.key}
        return JSONResponse(fields, 200 if service.ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _body(request: Request, most: int) -> bytes:
    """The request's body. Raises `Refusal` (413) at the first byte too many, or at once where the length is declared."""
    message = f"the body is larger than {most // 2**20} MiB; send less"
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise Refusal(413, message)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise Refusal(413, message)
    return bytes(body)


def _decoded(content: bytes) -> Image.Image:
    try:
        return decode_rgb(content, formats=tuple(MEDIA_TYPES), most=questions.MAX_IMAGE_PIXELS)
    except UnreadableImageError as error:
        raise Refusal(
            422, f"cannot read the photo: {error}; send a whole JPEG, PNG, WebP, GIF or BMP"
        ) from None


def _id(request: Request) -> str:
    ids = request.query_params.getlist("id")
    if len(ids) != 1 or not ids[0]:
        raise Refusal(422, "give the id of one photo: ?id=ID")
    return ids[0]


def _cached(request: Request, content: bytes, media_type: str, tag: str | None = None) -> Response:
    """Content that browsers may keep, and ask again with its tag whether it is still the same."""
    etag = f'"{tag or hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, max-age=300"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


def _page_file(request: Request, name: str) -> Response:
    response = _cached(request, _packaged(name), PAGE_FILES[name])
    response.headers["Cache-Control"] = "no-cache"
    return response


@cache
def _packaged(name: str) -> bytes:
    return resources.files("mmer_core.serving").joinpath("page", name).read_bytes()
