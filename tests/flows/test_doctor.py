"""``mmer doctor`` finds what is missing, and names a cure for it."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread

import pytest
from packaging.requirements import Requirement

from flows import doctor_cli
from flows.cli import main
from flows.doctor_cli import NEWEST_PREFECT, _untried, _wanted


@pytest.fixture
def findings(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """The exit code and the findings, by what they are about, of a doctor with some more flags."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.chdir(tmp_path)

    def look(*flags: str) -> tuple[object, dict[str, dict[str, str]]]:
        with pytest.raises(SystemExit) as end:
            main(["doctor", "--json", *flags])
        return end.value.code, {one["about"]: one for one in json.loads(capsys.readouterr().out)}

    return look


def test_a_sound_installation(findings) -> None:
    code, found = findings()
    assert code == 0
    assert {one["state"] for about, one in found.items() if not about.startswith("mmer[")} == {
        "ok",
        "optional",
    }
    assert "torch" in found["packages"]["found"]
    assert {
        "mmer[lora]",
        "mmer[onnx]",
        "device",
        "image encoder",
        "text encoder",
        "work folder",
    } <= found.keys()
    assert found["Prefect server"]["state"] == "optional"


def test_faults_are_named_with_a_cure(findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").write_text("a file")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    code, found = findings("--store", "store", "--encoders.text", "hf:gone", "--device", "cuda")
    faults = {about for about, one in found.items() if one["state"] == "fault"}
    assert code == 1
    assert {"store", "text encoder", "Prefect server"} <= faults
    assert all(found[about]["cure"] for about in faults)
    assert "is a file" in found["store"]["cure"]


def test_packages_are_compared_with_what_is_wanted() -> None:
    wanted = [Requirement("numpy>=1"), Requirement("numpy<1"), Requirement("no-such-package>=2")]
    assert _wanted("it", wanted[:1], "fault", "cure").state == "ok"
    lacking = _wanted("it", wanted, "fault", "cure")
    assert lacking.state == "fault"
    assert lacking.found.endswith(", not <1, no-such-package is not installed")


def test_the_installed_prefect_is_one_that_was_tried() -> None:
    """A newer one: run `make test test-long` with it, then raise `NEWEST_PREFECT` here and in docs/operations.md."""
    assert list(_untried("Prefect", version("prefect"), "")) == []
    newest = ".".join(map(str, NEWEST_PREFECT))
    assert f"Prefect {newest}" in Path(__file__).parents[2].joinpath("docs/operations.md").read_text()


@contextmanager
def server(answers: dict[str, bytes]) -> Iterator[str]:
    """The API of something that answers so, by the end of the path, and 404 otherwise."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path.rpartition("/")[2])
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Answering) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/api"
        running.shutdown()


def test_a_server_of_a_later_version_is_warned_of(findings, monkeypatch: pytest.MonkeyPatch) -> None:
    major, minor = NEWEST_PREFECT
    with server({"health": b"true", "version": f'"{major}.{minor + 1}.2"'.encode()}) as api:
        monkeypatch.setenv("PREFECT_API_URL", api)
        code, found = findings()
    assert code == 0
    assert found["Prefect server"]["state"] == "ok"
    warned = found["Prefect server's version"]
    assert warned["state"] == "warning"
    assert f"{major}.{minor + 1}.2 is newer than {major}.{minor}" in warned["found"]
    assert warned["cure"]


@pytest.mark.parametrize("version", [None, b"", b"{}", b'"unknown"', b'"3.8.8"', b"\xff"])
def test_a_server_that_tells_no_later_version_is_well(
    version: bytes | None, findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"health": b"true"} | ({} if version is None else {"version": version})
    with server(answers) as api:
        monkeypatch.setenv("PREFECT_API_URL", api)
        code, found = findings()
    assert code == 0
    assert {about: one["state"] for about, one in found.items() if "server" in about} == {
        "Prefect server": "ok"
    }


def test_an_installation_without_prefect_is_told_so(findings, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(name: str) -> str:
        if name == "prefect":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor_cli, "version", lacking)
    code, found = findings()
    assert code == 1
    assert "prefect is not installed" in found["packages"]["found"]
    assert "Prefect" not in found
