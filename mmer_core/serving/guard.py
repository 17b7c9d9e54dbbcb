"""Around every answer: whose name the request calls us by, headers that bind the browser, and the counting."""

import time
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
_METHODS = ("GET", "HEAD", "POST")


class Guard:
    """ASGI middleware.

    Args:
        hosts: Names that requests may call this service by; any when None. A page from elsewhere whose name was made to
            point at this machine (DNS rebinding) calls it by that name, and reads nothing.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, hosts: Collection[str] | None = None) -> None:
        self._app, self._metrics, self._hosts = app, metrics, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            if self._hosts is not None and _host(scope) not in self._hosts:
                message = f"this service is not called {_host(scope)[:60]!r}; ask {' or '.join(sorted(self._hosts))}"
                await Refusal(400, message).response()(scope, receive, guarded)
            else:
                await self._app(scope, receive, guarded)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.answered(_route(scope), method, status, time.perf_counter() - start)


def _host(scope: Scope) -> str:
    """The name in the header ``Host``, without its port."""
    host = Headers(scope=scope).get("host", "").lower()
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", "none"))
