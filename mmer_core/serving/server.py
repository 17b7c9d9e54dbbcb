"""The service on a socket, until a signal ends it."""

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from mmer_core.errors import ConfigError, MmerError
from mmer_core.serving.app import create_app
from mmer_core.serving.logs import LOG_CONFIG
from mmer_core.serving.service import Edition, Service

LOG = logging.getLogger("mmer.serving")
GRACE_SECONDS = 30
"""How long open requests may take after the signal."""

CONNECTIONS = 256
"""Open at a time, each with a body that may be 20 MiB; further ones are told to come back."""

_BACKLOG = 1024
_LOOPBACK = frozenset(("localhost", "127.0.0.1", "[::1]"))


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 for any that is free.

    Raises:
        ConfigError: The address is taken, or is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, for else asyncio does not see that it is TCP, leaves Nagle's algorithm on, and every
    # answer waits 40 ms for the other side's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        return listener
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot listen at {host}:{port} ({reason}); give another --host or --port"
        ) from None


def serve(service: Service, listener: socket.socket, reopen: Callable[[], Edition] | None = None) -> None:
    """Answer until SIGTERM or SIGINT; then answer what is open, and return.

    Args:
        reopen: Gives the edition to serve from the next SIGHUP on; when it fails, the old one is kept.
    """
    address = str(listener.getsockname()[0])
    hosts = _LOOPBACK if address in ("127.0.0.1", "::1") else None
    app = create_app(service, hosts=hosts, on_start=lambda: _reopen_on_hangup(service, reopen))
    config = uvicorn.Config(
        app,
        log_config=LOG_CONFIG,
        http="h11",  # which bounds the head of a request
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # Uvicorn raises the signal again once it has shut down; what is open is answered then, and that is the end.
    before = {number: signal.signal(number, _ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        uvicorn.Server(config).run([listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass


def _reopen_on_hangup(service: Service, reopen: Callable[[], Edition] | None) -> None:
    if reopen is None or not hasattr(signal, "SIGHUP"):
        return
    busy = threading.Lock()

    def work() -> None:
        with busy:
            try:
                service.serve(reopen())
                LOG.warning("serving %s", service.edition.searcher.key)
            except MmerError as error:
                LOG.warning("still serving %s: %s", service.edition.searcher.key, error)

    asyncio.get_running_loop().add_signal_handler(
        signal.SIGHUP, lambda: threading.Thread(target=work, daemon=True).start()
    )
