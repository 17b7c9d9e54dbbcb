"""Connections with time limits, and a bound on their number.

Uvicorn's own protocol waits forever for a request head, for a body and for the client to read a response, and refuses
new clients when too many are connected. Here every connection is in a phase with a start time, and a periodic check, a
few times a second, closes those that exceed the limit of their phase.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Iterator
from enum import Enum, auto
from typing import Any, cast

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from mmer_core.serving.guard import CROWDED, HEADERS
from mmer_core.serving.limits import Limits

_AT_ONCE = struct.pack("ii", 1, 0)
_LOOKS_PER_LIMIT = 8
_LONGEST_BETWEEN_LOOKS = 0.5


class Phase(Enum):
    """What a connection is waiting for."""

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    LINGER = auto()
    """The response is sent; the rest of the request body is discarded."""
    IDLE = auto()


class ConnectionLimiter:
    """All connections of a server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._connections: set[Connection] = set()
        self._looking = False
        shortest = min(
            limits.head_seconds,
            limits.body_seconds,
            limits.answer_seconds,
            limits.idle_seconds,
            limits.linger_seconds,
        )
        self._between_looks = min(_LONGEST_BETWEEN_LOOKS, shortest / _LOOKS_PER_LIMIT)

    def connect(self, **arguments: Any) -> "Connection":
        """A protocol instance, with the arguments that uvicorn passes."""
        return Connection(self, **arguments)

    def enter(self, connection: "Connection") -> None:
        """Count a new connection, and make room for it."""
        if len(self._connections) >= self.limits.connections:
            waiting = [one for one in self._connections if not one.busy]
            if not waiting:  # all have a request, and requests beyond `requests` are being refused
                connection.transport.abort()
                return
            min(waiting, key=lambda one: one.since).drop()
        self._connections.add(connection)
        if not self._looking:
            self._looking = True
            connection.loop.call_later(self._between_looks, self._look, connection.loop)

    def leave(self, connection: "Connection") -> None:
        """Stop counting it."""
        self._connections.discard(connection)

    @property
    def full(self) -> bool:
        """Whether the maximal number of requests is reached."""
        most = self.limits.requests
        return len(self._connections) >= most and sum(one.busy for one in self._connections) >= most

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._connections):
            connection.check(now)
        unsent = {one: one.unsent for one in self._connections}
        excess = sum(unsent.values()) - self.limits.unsent_bytes
        for connection in sorted(unsent, key=unsent.__getitem__, reverse=True) if excess > 0 else ():
            if excess > 0:
                excess -= unsent[connection]
                connection.drop()
        self._looking = bool(self._connections)
        if self._looking:
            loop.call_later(self._between_looks, self._look, loop)


class Connection(H11Protocol):
    """One connection, with its phase and the start time of that phase."""

    def __init__(self, limiter: ConnectionLimiter, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._limiter = limiter
        self._apps: dict[bool, ASGIApp] = {
            False: cast(ASGIApp, self.app),
            True: _overloaded(cast(ASGIApp, self.app)),
        }
        self.phase, self.since, self._received = Phase.HEAD, self.loop.time(), 0
        self._followed: Any = None
        self._unsent_since: float | None = None
        self._unsent_then = 0

    @property
    def busy(self) -> bool:
        """Whether a request is being read or answered, or its response is being read by the client."""
        return self.phase in (Phase.BODY, Phase.ANSWER) or self.unsent > 0

    @property
    def unsent(self) -> int:
        """Bytes of responses that the client has not read yet."""
        return self.transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._limiter.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._limiter.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.phase is Phase.IDLE:
            self._begin(Phase.HEAD)
        self._received += len(data)
        super().data_received(data)

    def handle_events(self) -> None:
        self.app = cast(Any, self._apps[self._limiter.full])
        super().handle_events()
        self._follow()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._follow()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unsent_since = None  # nearly everything was read; the rest gets its own time

    def send_400_response(self, msg: str) -> None:
        self.refuse(400, "this is no HTTP request that can be answered; see docs/search.md")

    def _should_upgrade(self) -> bool:
        return False  # no web sockets; uvicorn would log a line for every attempt

    def check(self, now: float) -> None:
        """Close the connection if it exceeds its time limit."""
        if self._untaken(now):
            self.drop()
            return
        limits = self._limiter.limits
        allowed = {
            Phase.HEAD: limits.head_seconds,
            Phase.BODY: limits.body_seconds + self._received / limits.bytes_per_second,
            Phase.LINGER: limits.linger_seconds,
            Phase.IDLE: limits.idle_seconds,
        }.get(self.phase)
        if allowed is None or now - self.since <= allowed:
            return
        if self.phase is Phase.BODY or (self.phase is Phase.HEAD and self._received):
            self.refuse(408, f"the request took more than {allowed:.0f} seconds to arrive; send it faster")
        else:
            self.transport.close()

    def refuse(self, status: int, message: str) -> None:
        """Respond without calling the application, unless a response has begun, and close the connection."""
        if not self.transport.is_closing() and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": message}).encode()
            for event in _answer(status, body):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def drop(self) -> None:
        """Close the connection immediately, discarding unread responses."""
        self._limiter.leave(self)
        with contextlib.suppress(AttributeError, OSError):  # already closed
            # Reset it; otherwise the kernel would keep unread data for minutes.
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def _untaken(self, now: float) -> bool:
        """Whether the client reads the response too slowly."""
        unsent = self.unsent
        if not unsent:
            self._unsent_since = None
            return False
        if self._unsent_since is None:
            self._unsent_since, self._unsent_then = now, unsent
        taken = max(0, self._unsent_then - unsent)
        limits = self._limiter.limits
        return now - self._unsent_since > limits.answer_seconds + taken / limits.bytes_per_second

    def _follow(self) -> None:
        """Enter the phase that matches the request's state."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            phase = Phase.BODY if cycle.more_body else Phase.ANSWER
        elif self.conn.their_state is h11.SEND_BODY:
            phase = Phase.LINGER
        elif self.phase is Phase.HEAD:
            return
        else:
            phase = Phase.IDLE
        if phase is not self.phase or cycle is not self._followed:
            self._followed = cycle
            self._begin(phase)

    def _begin(self, phase: Phase) -> None:
        self.phase, self.since, self._received = phase, self.loop.time(), 0


def _answer(status: int, body: bytes) -> Iterator[h11.Event]:
    fields = HEADERS | {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    headers = [(name.lower(), value) for name, value in fields.items()]
    yield h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status])
    yield h11.Data(data=body)
    yield h11.EndOfMessage()


def _overloaded(app: ASGIApp) -> ASGIApp:
    """An application that responds 503, because there are too many requests."""

    async def refused(scope: Scope, receive: Receive, send: Send) -> None:
        await app(dict(scope) | {CROWDED: True}, receive, send)

    return refused
