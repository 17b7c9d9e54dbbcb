"""The service on a loopback socket, answering in a thread of this process."""

import contextlib
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mmer_core.serving import Limits, Server, Service, listen


@dataclass(frozen=True)
class Answer:
    """What came back, until the other side closed or the answer was whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)


@dataclass(frozen=True)
class Listening:
    """A running service."""

    address: tuple[str, int]

    def connect(self, *, buffer: int | None = None) -> socket.socket:
        connection = socket.socket(socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET)
        if buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.settimeout(20)
        connection.connect(self.address)
        return connection

    def ask(self, request: bytes | str) -> Answer:
        """Send some bytes, which need be no HTTP, on a connection of their own."""
        with self.connect() as connection:
            return ask(connection, request)

    def get(self, target: str) -> Answer:
        return self.ask(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")


@contextmanager
def listening(
    service: Service, limits: Limits = Limits(), host: str = "127.0.0.1", names: Sequence[str] = ()
) -> Iterator[Listening]:
    """The service, until the context ends, which has to end it."""
    listener = listen(host, 0)
    address = listener.getsockname()[:2]
    server = Server(service, listener, limits=limits, names=names)
    server.start()
    try:
        yield Listening(address)
    finally:
        assert server.stop()


def ask(connection: socket.socket, request: bytes | str) -> Answer:
    with contextlib.suppress(OSError):  # an answer may come, and the connection end, before all is sent
        connection.sendall(request.encode() if isinstance(request, str) else request)
    return answer(connection)


def answer(connection: socket.socket) -> Answer:
    """One answer; interim ones are skipped."""
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            more = connection.recv(2**16)
            assert more, f"closed without an answer after {data[:200]!r}"
            data += more
        head, _, data = data.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        status = int(line.split()[1])
        if status >= 200:
            break
    headers = dict(one.lower().split(": ", 1) for one in lines)
    length = int(headers.get("content-length", 2**40))
    while len(data) < length and (more := connection.recv(2**16)):
        data += more
    return Answer(status, headers, data)


def ended(connection: socket.socket) -> bool:
    """Wait until the other side closes."""
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(2**16):
            pass
    return True
