"""A TCP proxy before a real server that harms connections: it knows nothing of HTTP, so TLS goes through it too."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

_CHUNK = 16 << 10

Harm = Literal["reset", "close", "stall", "flip", "delay"]
Direction = Literal["up", "down"]


@dataclass
class Harmed:
    """Harm to the next connections once so many bytes went in a direction through each.

    Attributes:
        harm: Reset the connection (RST), close it (FIN), say nothing any more, flip a bit, or pass each piece on
            ``seconds`` late.
        direction: Of the bytes that are counted: to the server or from it.
        after: Bytes that still pass; 0 harms before any.
        times: Connections that this happens to.
    """

    harm: Harm
    direction: Direction
    after: int
    times: int = 1
    seconds: float = 0.02


@dataclass
class TcpProxy:
    """A running proxy: append to ``harms``; ``done`` counts the harm that was done."""

    endpoint: str
    harms: list[Harmed] = field(default_factory=list)
    done: int = 0
    _ends: list[socket.socket] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def drop(self) -> None:
        """Close all connections, so that what comes next opens new ones, as after a long silence."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def meet(self, direction: Direction, before: int, length: int) -> Harmed | None:
        """The harm that the bytes from ``before`` to ``before + length`` of a connection meet."""
        with self._lock:
            for harmed in self.harms:
                reached = before <= harmed.after < before + length
                if harmed.direction == direction and reached and harmed.times > 0:
                    harmed.times -= 1
                    self.done += 1
                    return harmed
        return None


@contextmanager
def tcp_proxy(endpoint: str) -> Iterator[TcpProxy]:
    parts = urlsplit(endpoint)
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = TcpProxy(f"{parts.scheme}://127.0.0.1:{listener.getsockname()[1]}")

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((parts.hostname, parts.port))
            except OSError:
                client.close()
                continue
            proxy._ends.extend((client, server))
            for source, target, direction in ((client, server, "up"), (server, client, "down")):
                pipe = _Pipe(proxy, source, target, direction)
                threading.Thread(target=pipe.run, daemon=True).start()

    accepting = threading.Thread(target=serve)
    accepting.start()
    try:
        yield proxy
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        proxy.drop()


@dataclass
class _Pipe:
    """One direction of one connection."""

    proxy: TcpProxy
    source: socket.socket
    target: socket.socket
    direction: Direction

    def run(self) -> None:
        passed = 0
        try:
            while data := self.source.recv(_CHUNK):
                harmed = self.proxy.meet(self.direction, passed, len(data))
                if harmed is not None and not self._survives(harmed, data, passed):
                    return
                if harmed is None:
                    self.target.sendall(data)
                passed += len(data)
            self.target.shutdown(socket.SHUT_WR)
        except OSError:
            # One end died without a good-bye: the other would wait for it until its patience ends.
            for end in (self.source, self.target):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _survives(self, harmed: Harmed, data: bytes, passed: int) -> bool:
        """Do the harm; False when nothing more goes through."""
        at = harmed.after - passed
        if harmed.harm == "flip":
            self.target.sendall(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            return True
        if harmed.harm == "delay":
            for start in range(0, len(data), 1024):
                time.sleep(harmed.seconds)
                self.target.sendall(data[start : start + 1024])
            return True
        self.target.sendall(data[:at])
        if harmed.harm == "stall":
            return False
        for end in (self.source, self.target):
            if harmed.harm == "reset":
                # With no time to linger, closing sends a RST, and what waits to be sent is lost.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):
                # Wakes the other direction, which would keep the connection open while it waits for bytes.
                end.shutdown(socket.SHUT_RD if harmed.harm == "reset" else socket.SHUT_RDWR)
            end.close()
        return False
