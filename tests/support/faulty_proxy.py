"""An HTTP proxy before a real server that does harm on request: what a network does on a bad day."""

import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

Action = Literal[
    "reset",
    "lose_answer",
    "flip_request",
    "flip_answer",
    "cut_answer",
    "busy",
    "broken",
    "error_in_answer",
    "ignore_condition",
    "ignore_checksum",
]


# Assembling an upload of many parts takes long: S3 says 200 before it knows whether that worked.
ERROR_IN_ANSWER = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
)


@dataclass
class Fault:
    """Harm to the next ``times`` requests of a method whose path contains a text."""

    action: Action
    method: str
    path: str
    times: int = 1


@dataclass
class Proxy:
    """A running proxy; append to ``faults`` to harm, read ``requests`` (``"PUT /path"``) to see."""

    endpoint: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def harm(self, method: str, path: str) -> Action | None:
        with self.lock:
            self.requests.append(f"{method} {path}")
            for fault in self.faults:
                if fault.method == method and fault.path in path and fault.times > 0:
                    fault.times -= 1
                    return fault.action
        return None


@contextmanager
def faulty_proxy(endpoint: str, certificate: Path) -> Iterator[Proxy]:
    """Run a proxy; it speaks TLS on both sides where its server does, by the server's own certificate."""
    scheme, upstream, *_ = urlsplit(endpoint)
    trust = ssl.create_default_context(cafile=certificate) if scheme == "https" else None

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            body = self.body()
            action = proxy.harm(self.command, self.path)
            self.close_connection = True
            if action == "reset":
                return
            if action == "busy":
                self.answer(503, [], b"<Error><Code>SlowDown</Code></Error>")
                return
            if action == "broken":
                self.answer(500, [], b"<Error><Code>InternalError</Code></Error>")
                return
            if action == "error_in_answer":
                self.answer(200, [("Content-Type", "application/xml")], ERROR_IN_ANSWER)
                return
            if action == "flip_request":
                body = flipped(body)
            status, headers, data = self.forward(body, action)
            if action == "lose_answer":
                return
            if action == "flip_answer":
                data = flipped(data)
            self.answer(status, headers, data, cut=action == "cut_answer")

        do_GET = do_PUT = do_HEAD = do_POST = do_PATCH = do_DELETE = handle_request  # noqa: N815

        def body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def forward(self, body: bytes, action: Action | None) -> tuple[int, list[tuple[str, str]], bytes]:
            if trust:
                connection = http.client.HTTPSConnection(upstream, timeout=30, context=trust)
            else:
                connection = http.client.HTTPConnection(upstream, timeout=30)
            try:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "expect", "transfer-encoding", "content-length"):
                        connection.putheader(name, value)
                connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body)
                response = connection.getresponse()
                data = response.read()
                headers = [
                    (name, value)
                    for name, value in response.getheaders()
                    if name.lower() not in ("connection", "transfer-encoding")
                ]
            finally:
                connection.close()
            lies = {"ignore_condition": (409, 412), "ignore_checksum": (400,)}
            if response.status in lies.get(action or "", ()):
                return 200, [("ETag", '"0"')], b""
            return response.status, headers, data

        def answer(
            self, status: int, headers: list[tuple[str, str]], data: bytes, *, cut: bool = False
        ) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            if not any(name.lower() == "content-length" for name, _ in headers):
                self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)

        def log_message(self, *_: object) -> None:
            """Tests read `Proxy.requests` instead."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if trust:
        identity = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        identity.load_cert_chain(certificate, certificate.with_name("key.pem"))
        server.socket = identity.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    proxy = Proxy(f"{scheme}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def flipped(data: bytes) -> bytes:
    """The same bytes with one bit changed in the middle."""
    harmed = bytearray(data)
    harmed[len(harmed) // 2] ^= 1
    return bytes(harmed)
