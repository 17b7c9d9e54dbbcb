"""Middleware around every response: host name check, security headers, and metrics."""

import asyncio
import re
import time
from collections.abc import Container
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmer_core.querying.pictures import PhotoChanged
from mmer_core.serving.hosts import name_of
from mmer_core.serving.metrics import Metrics
from mmer_core.serving.refusal import Refusal

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' blob:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
CROWDED = "mmer.crowded"
"""Scope key of a request that arrived when there were too many."""

HEALTH = "/health"
_METHODS = ("GET", "HEAD", "POST")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


class Guard:
    """ASGI middleware.

    Args:
        hosts: Host names that requests may use; any if None.
        head_bytes: As in `Limits`. The HTTP parser bounds only heads that arrive in several parts.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, hosts: Container[str] | None = None, head_bytes: int = 2**16
    ) -> None:
        self._app, self._metrics, self._hosts, self._head_bytes = app, metrics, hosts, head_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, started = time.perf_counter(), 500, False
        method = scope["method"]
        # The head of a response to HEAD is that of the response to GET, on every route.
        inner = dict(scope) | {"method": "GET" if method == "HEAD" else method}

        async def guarded(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            elif method == "HEAD":
                message = dict(message) | {"body": b""}
            await send(message)

        try:
            self._check(inner)
            await self._app(inner, receive, guarded)
        except Refusal as refusal:
            await refusal.response()(inner, receive, guarded)
        except PhotoChanged:  # in the middle of the response, which uvicorn then aborts
            pass
        except asyncio.CancelledError:
            # The service is shutting down, and the grace period of this request is over.
            if not started:
                await Refusal(503, "the service is ending; ask again when it is back").response()(
                    inner, receive, guarded
                )
        finally:
            counted = method if method in _METHODS else "other"
            self._metrics.answered(_route(inner), counted, status, time.perf_counter() - start)

    def _check(self, scope: Scope) -> None:
        """Raise `Refusal` for requests that no route should see."""
        headers = Headers(scope=scope)
        if _head_bytes(scope) > self._head_bytes:
            raise Refusal(
                400, f"address and headers are larger than {self._head_bytes // 1024} KiB; shorten them"
            )
        if "transfer-encoding" in headers and "content-length" in headers:
            # A proxy in front may disagree with us about where such a request ends (request smuggling).
            message = "the request has both Content-Length and Transfer-Encoding; send one of them"
            raise Refusal(400, message, headers={"Connection": "close"})
        for name in [*headers.getlist("host"), *_without_authority(scope)] or [""]:
            self._check_host(name)
        if len(headers.getlist("host")) > 1:
            raise Refusal(400, "the request has several headers Host; send one")
        if scope.get(CROWDED) and not scope["path"].startswith(HEALTH):
            raise Refusal(503, "too many requests are being answered; ask again in a second", retry_after=1)

    def _check_host(self, authority: str) -> None:
        if self._hosts is None or name_of(authority) in self._hosts:
            return
        called = f"this service is not called {authority[:60]!r}" if authority else "the request has no Host"
        raise Refusal(
            400, f"{called}; call it by its address, or start mmer serve with --allow-host and that name"
        )


def _without_authority(scope: Scope) -> list[str]:
    """Convert an absolute target (``GET http://name/path``), as sent by proxies, to a path; return its authority."""
    found = _ABSOLUTE.fullmatch(scope.get("raw_path") or b"")
    if found is None:
        return []
    raw = found[2] or b"/"
    scope.update(raw_path=raw, path=unquote(raw.decode("ascii", "replace")))
    return [found[1].decode("ascii", "replace")]


def _head_bytes(scope: Scope) -> int:
    fields = sum(len(name) + len(value) + len(b": \r\n") for name, value in scope["headers"])
    return fields + len(scope.get("raw_path") or b"") + len(scope["query_string"])


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", "none"))
