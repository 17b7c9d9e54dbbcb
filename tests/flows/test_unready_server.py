"""`mmer deploy` while the server is not ready: how long it waits, for what, and for what it does not."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError

from flows import unready_server
from flows.cli import main
from flows.local_server import free_port
from flows.unready_server import until_it_answers
from mmer_core.errors import ConfigError, EngineError


@contextmanager
def answering(*codes: int) -> Iterator[str]:
    """A server that answers with these codes in turn, then for ever with the last; gives its API's address."""
    left = list(codes)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unready_server, "_PAUSE_SECONDS", 0.05)


def asked(api: str) -> int:
    with httpx.Client() as client:
        return client.get(f"{api}/version").raise_for_status().status_code


def test_an_answer_of_5xx_is_waited_out(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(503, 503, 500, 200) as api:
        assert until_it_answers(lambda: asked(api), api, 60) == 200
    assert capsys.readouterr().err.splitlines() == [
        f"waiting up to 60 s for the Prefect server at {api}, which answers 503",
        f"waiting up to 60 s for the Prefect server at {api}, which answers 500",
    ]


@pytest.mark.parametrize("wait", [0, 4])
def test_deploying_ends_in_time_where_the_server_stays_busy(
    wait: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(503) as api:
        monkeypatch.setenv("PREFECT_API_URL", api)
        with pytest.raises(SystemExit) as end:
            main(["deploy", "--wait", str(wait)])
    assert end.value.code == 1
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == (2 if wait else 1)
    assert f"server at {api} answers 503, for {wait} s" in printed[-1]
    assert "encoded in UTF-8" in printed[-1]


def test_deploying_ends_in_time_where_nobody_listens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    with pytest.raises(SystemExit) as end:
        main(["deploy", "--wait", "0.2"])
    assert end.value.code == 1
    assert "does not answer, for 0.2 s" in capsys.readouterr().err


def test_what_prefect_wraps_is_recognised() -> None:
    def wrapped() -> None:
        try:
            asked(api)
        except httpx.HTTPStatusError as error:
            raise RuntimeError("applying") from PrefectHTTPStatusError.from_httpx_error(error)

    with answering(503) as api, pytest.raises(EngineError, match="answers 503"):
        until_it_answers(wrapped, api, 0)


def test_other_errors_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ConfigError("no")

    def ask() -> None:
        with get_client(sync_client=True) as client:
            client.read_work_pool("mmer")

    with pytest.raises(ConfigError):
        until_it_answers(refuse, "http://nowhere", 3600)
    with answering(401) as api:
        monkeypatch.setenv("PREFECT_API_URL", api)
        with pytest.raises(PrefectHTTPStatusError):
            until_it_answers(ask, api, 3600)
