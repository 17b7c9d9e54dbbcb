"""`make audit` beside a service that knows what the test says, that is silent, and that is not there."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

AUDIT = Path(__file__).parents[2] / ".ci/audit.py"
ADVISORY = {
    "id": "GHSA-xxxx-yyyy-zzzz",
    "summary": "It hurts.",
    "aliases": ["CVE-2099-1"],
    "affected": [
        {
            "package": {"name": "porous", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
            "versions": ["1.0"],
        }
    ],
}


@contextmanager
def service(known: dict[str, dict]) -> Iterator[str]:
    """OSV's query, with these advisories by package."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            advisory = known.get(asked["package"]["name"])
            body = json.dumps({"vulns": [advisory]} if advisory else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with two packages in it."""
    for name in ("porous", "sound"):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    return tmp_path


def audit(url: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, AUDIT, "--osv-url", url, "--path", folder, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_known_vulnerability_fails_and_is_named(installed: Path) -> None:
    with service({"porous": ADVISORY}) as url:
        done = audit(url, installed)
    assert done.returncode == 1, done.stderr
    assert "porous 1.0: " in done.stdout
    assert "CVE-2099-1" in done.stdout
    assert "mended in 1.1" in done.stdout
    assert "2 packages, 1 known vulnerabilities" in done.stdout


def test_nothing_known_succeeds(installed: Path) -> None:
    with service({}) as url:
        done = audit(url, installed)
    assert done.returncode == 0, done.stderr
    assert "2 packages, 0 known vulnerabilities" in done.stdout


@pytest.mark.parametrize("silent", [False, True], ids=["nobody there", "silent"])
def test_a_service_that_cannot_be_asked_is_said_so(installed: Path, silent: bool) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/query"
        # No longer than it takes CI to lose its patience.
        command = [sys.executable, AUDIT, "--osv-url", url, "--path", installed]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        strict = None if silent else audit(url, installed, "--strict")
    assert done.returncode == 0
    assert f"NOT AUDITED, as {url} cannot be asked" in done.stderr
    assert "known vulnerabilities" not in done.stdout
    assert silent or (strict and strict.returncode == 2)
