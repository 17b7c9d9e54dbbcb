"""Running the service on a socket until a signal ends it."""

import contextlib
import logging
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from queue import SimpleQueue
from types import FrameType
from typing import Any

import uvicorn

from mmer_core.errors import ConfigError, MmerError
from mmer_core.serving.app import create_app
from mmer_core.serving.connections import ConnectionLimiter
from mmer_core.serving.hosts import Hosts
from mmer_core.serving.limits import Limits
from mmer_core.serving.logs import LOG_CONFIG
from mmer_core.serving.service import IndexSnapshot, Service

LOG = logging.getLogger("mmer.serving")

_BACKLOG = 128
"""Connections accepted at a time: each uses a file descriptor before it is counted."""

_SEND_BUFFER = 2**17
"""Send buffer per connection in bytes. The kernel's default grows to megabytes, which hides slow clients."""

_OTHER_FILES = 256
"""File descriptors besides connections: the index, photos being sent, decoder processes."""

_LAST_SECONDS = 3
"""Part of the grace period that remains once open requests are no longer waited for."""

Event = int | None
"""A signal, or the end of the thread."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 selects a free port.

    Raises:
        ConfigError: The address is in use, or not one of this machine; or the limit of open files is too low.
    """
    _allow_files(Limits().connections + _BACKLOG + _OTHER_FILES)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the protocol argument asyncio does not recognise TCP and keeps Nagle's algorithm on, so that every response
    # waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        return listener
    except (OSError, OverflowError, ValueError, TypeError) as error:  # the last two for an invalid name
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot listen at {host}:{port} ({reason}); give another --host or --port"
        ) from None


def _allow_files(needed: int) -> None:
    """Raise this process's limit of open files (macOS starts with 256); without descriptors no request is served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (OSError, ValueError):
        raise ConfigError(
            f"this process may open {hard} files, and the service needs {needed}; raise the limit (ulimit -n {needed})"
        ) from None


class Server:
    """The service in a thread of its own.

    None of its threads can keep the process from exiting.

    Args:
        names: Host names that requests may use, besides the service's addresses; ``*`` for any.
    """

    def __init__(
        self,
        service: Service,
        listener: socket.socket,
        *,
        names: Sequence[str] = (),
        limits: Limits = Limits(),
    ) -> None:
        self._listener, self._grace = listener, limits.grace_seconds
        app = create_app(service, hosts=Hosts(str(listener.getsockname()[0]), names), limits=limits)
        connect: Any = ConnectionLimiter(limits).connect
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                log_config=LOG_CONFIG,
                http=connect,
                ws="none",
                loop="asyncio",
                log_level="error",  # otherwise every bad request would add a line, and clients could fill the disk
                access_log=False,
                server_header=False,
                h11_max_incomplete_event_size=limits.head_bytes,
                backlog=_BACKLOG,
                timeout_keep_alive=limits.idle_seconds,  # type: ignore[arg-type]
                timeout_graceful_shutdown=_waiting(limits.grace_seconds),  # type: ignore[arg-type]
            )
        )
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self, ended: Callable[[], None] = lambda: None) -> None:
        """Start serving.

        Args:
            ended: Called when the service has stopped.
        """
        self._thread = threading.Thread(target=self._work, args=(ended,), name="mmer-service", daemon=True)
        self._thread.start()

    def stop(self) -> bool:
        """Finish open requests within the grace period. Returns whether all of them ended; raises the error that ended
        the service earlier, if any."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(self._grace)
        if self._failure is not None:
            raise self._failure
        return self._thread is None or not self._thread.is_alive()

    def _work(self, ended: Callable[[], None]) -> None:
        try:
            self._server.run([self._listener])
        except BaseException as error:
            self._failure = error
        finally:
            ended()


def _waiting(grace: float) -> float:
    """The part of the grace period for open requests."""
    return grace - min(_LAST_SECONDS, grace / 2)


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the main thread, which is never blocked by this one."""
        yield


def serve(
    service: Service,
    listener: socket.socket,
    reopen: Callable[[], IndexSnapshot] | None = None,
    *,
    names: Sequence[str] = (),
    limits: Limits = Limits(),
) -> bool:
    """Serve until SIGTERM or SIGINT, then finish open requests. A second signal has its previous effect.

    Args:
        reopen: Returns the snapshot to serve after SIGHUP; if it fails, the old one is kept.
        names: As for `Server`.

    Returns:
        Whether everything has ended; if not, some thread is still working and is abandoned.
    """
    server = Server(service, listener, names=names, limits=limits)
    events: SimpleQueue[Event] = SimpleQueue()
    with _signals(events, [signal.SIGTERM, signal.SIGINT, *_hangups(reopen)]) as restore:
        server.start(ended=partial(events.put, None))
        while events.get() in _hangups(reopen):
            if reopen is not None:
                threading.Thread(target=_reopen, args=(service, reopen), daemon=True).start()
        restore()
        ended = server.stop()
    if not ended:
        LOG.warning(
            "the service ended with requests that had no answer after %g seconds", limits.grace_seconds
        )
    return ended


def _hangups(reopen: Callable[[], IndexSnapshot] | None) -> list[int]:
    return [signal.SIGHUP] if reopen is not None and hasattr(signal, "SIGHUP") else []


@contextlib.contextmanager
def _signals(events: "SimpleQueue[Event]", numbers: Sequence[int]) -> Iterator[Callable[[], None]]:
    """Turn signals into events while the context lasts; the yielded function restores the previous handlers."""

    def note(number: int, frame: FrameType | None) -> None:
        events.put(number)

    before = {number: signal.signal(number, note) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        yield restore
    finally:
        restore()


_OPENING = threading.Lock()


def _reopen(service: Service, reopen: Callable[[], IndexSnapshot]) -> None:
    with _OPENING:
        try:
            service.serve(reopen())
            LOG.warning("serving %s", service.snapshot.searcher.key)
        except MmerError as error:
            LOG.warning("still serving %s: %s", service.snapshot.searcher.key, error)
