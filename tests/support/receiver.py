"""An HTTP endpoint that collects notifications, for tests."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """A server on this machine that keeps every JSON it is sent.

    Attributes:
        url: Its address as Apprise writes it.
    """

    url: str
    received: list[dict[str, Any]] = field(default_factory=list)
    _more: threading.Condition = field(default_factory=threading.Condition)

    def hear(self, message: dict[str, Any]) -> None:
        with self._more:
            self.received.append(message)
            self._more.notify_all()

    def wait_for(self, text: str, seconds: float) -> dict[str, Any]:
        """The first message that contains a text, past ones too."""
        deadline = time.monotonic() + seconds
        with self._more:
            while not (found := [one for one in self.received if text in json.dumps(one)]):
                left = deadline - time.monotonic()
                assert left > 0, f"no notification of {text} in {seconds} s, only {self.received}"
                self._more.wait(left)
        return found[0]


@contextmanager
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            hearing.hear(json.loads(body))

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hearing = Receiver(f"json://127.0.0.1:{server.server_port}/mmer")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hearing
    finally:
        server.shutdown()
        server.server_close()
