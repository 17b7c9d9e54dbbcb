"""The service on a socket, until a signal ends it."""

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
from mmer_core.serving.connections import Crowd
from mmer_core.serving.hosts import Hosts
from mmer_core.serving.limits import Limits
from mmer_core.serving.logs import LOG_CONFIG
from mmer_core.serving.service import IndexSnapshot, Service

LOG = logging.getLogger("mmer.serving")

_BACKLOG = 128
"""Connections that are taken at a time: each costs a file until it is counted."""

_SEND_BUFFER = 2**17
"""Of each connection: the kernel's own grows to megabytes, behind which it is not seen whether an answer is taken."""

_OTHER_FILES = 256
"""Open besides connections: the index, photos on their way, processes that decode."""

_LAST_SECONDS = 3
"""Of the grace, for what remains when no more requests are waited for."""

Event = int | None
"""A signal, or the end of the thread."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 for any that is free.

    Raises:
        ConfigError: The address is taken, or is none of this machine's; or this process may open too few files.
    """
    _allow_files(Limits().connections + _BACKLOG + _OTHER_FILES)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the protocol asyncio does not see that it is TCP, leaves Nagle's algorithm on, and every answer waits
    # 40 ms for the other side's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        return listener
    except (
        OSError,
        OverflowError,
        ValueError,
        TypeError,
    ) as error:  # the last two where it is no name at all
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot listen at {host}:{port} ({reason}); give another --host or --port"
        ) from None


def _allow_files(needed: int) -> None:
    """Let this process open so many files: macOS begins with 256, and without files nobody is answered."""
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
    """The service, answering in a thread of its own.

    No thread of it keeps the process from ending, whatever it does.

    Args:
        names: That requests may call the service by, besides its addresses; ``*`` for any.
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
        connect: Any = Crowd(limits).connect
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                log_config=LOG_CONFIG,
                http=connect,
                ws="none",
                loop="asyncio",
                log_level="error",  # a line for each bad request would let visitors fill the disk
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
        """Begin to answer.

        Args:
            ended: Called when nothing is answered any more.
        """
        self._thread = threading.Thread(target=self._work, args=(ended,), name="mmer-service", daemon=True)
        self._thread.start()

    def stop(self) -> bool:
        """Answer what is open, as long as the grace lasts. Gives whether all ended by then, and raises what ended it
        before."""
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
    """How much of the grace open requests have."""
    return grace - min(_LAST_SECONDS, grace / 2)


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the main thread's, which does not wait for whatever this one waits for."""
        yield


def serve(
    service: Service,
    listener: socket.socket,
    reopen: Callable[[], IndexSnapshot] | None = None,
    *,
    names: Sequence[str] = (),
    limits: Limits = Limits(),
) -> bool:
    """Answer until SIGTERM or SIGINT; then answer what is open, and return. A second signal does what it did before.

    Args:
        reopen: Gives the snapshot to serve from the next SIGHUP on; when it fails, the old one is kept.
        names: As `Server` takes them.

    Returns:
        Whether all has ended; if not, some thread still works, and nobody waits for it.
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
    """While it lasts, signals become events; what is given restores what they did before."""

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
