"""Which names a service may be called by: no page from elsewhere reads it, whatever loopback address it listens at."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.service_thread import Listening, listening

from mmer_core.errors import ConfigError
from mmer_core.serving import IndexSnapshot, Service, listen
from mmer_core.serving.hosts import Hosts, name_of

LOOPBACK = ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "::ffff:127.0.0.1"]
ELSEWHERE = ["0.0.0.0", "::", "192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7"]
FOREIGN = [
    "rebound.example",
    "rebound.example:8008",
    "127.0.0.1.rebound.example",
    "localhost.rebound.example",
    "rebound.example.",
    "127.0.0.1@rebound.example",
    "localhost:80@rebound.example",
    "[::1].rebound.example",
    "127.1",
    "0x7f.0.0.1",
    "127.0.0.01",
    "localhost:99999",
    "localhost:x",
    "localhost:80:80",
    "::1",
    "[127.0.0.1",
    "local host",
    "localhost#",
    "",
    ".",
    "*",
]
OWN = [
    "localhost",
    "LOCALHOST:1",
    "localhost.",
    "localhost:",
    "127.0.0.1",
    "127.9.9.9:8008",
    "[::1]:8008",
    "[::ffff:127.0.0.1]",
]


@pytest.mark.parametrize("listening_at", LOOPBACK)
def test_this_machine_alone(listening_at: str) -> None:
    hosts = Hosts(listening_at)
    assert [own for own in OWN if name_of(own) not in hosts] == []
    for foreign in [*FOREIGN, "192.0.2.7", "[2001:db8::7]", "0.0.0.0", socket.gethostname() + ".example"]:
        assert name_of(foreign) not in hosts, foreign


@pytest.mark.parametrize("listening_at", ELSEWHERE)
def test_wherever_it_is_reached_from(listening_at: str) -> None:
    """Addresses and the machine's own name, which no page from elsewhere can have; and names that are given."""
    hosts = Hosts(listening_at, ["Search.example.org.", "[2001:db8::9]"])
    for own in [
        *OWN,
        "192.0.2.9:80",
        "[2001:db8::7]:80",
        socket.gethostname().upper(),
        "search.EXAMPLE.org:443",
    ]:
        assert name_of(own) in hosts, own
    for foreign in FOREIGN:
        assert name_of(foreign) not in hosts, foreign
    assert name_of("rebound.example") in Hosts(listening_at, ["*"])


@given(st.text() | st.from_regex(r"[a-z.:\[\]@/0-9-]{0,20}"))
def test_no_other_name_passes(authority: str) -> None:
    name = name_of(authority)
    if name in Hosts("127.0.0.2"):
        assert name == "localhost" or name.startswith("127.") or name.endswith("1")
        assert authority.lower().strip("[").startswith(name)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1"])
def test_over_a_socket(world, host: str) -> None:
    with listening(Service(IndexSnapshot(world.searcher)), host=host, names=["given.example"]) as service:

        def status(*lines: str, target: str = "/api/index", version: str = "1.1") -> int:
            head = "\r\n".join([f"GET {target} HTTP/{version}", *lines, "Connection: close", "", ""])
            return service.ask(head).status

        for name in (
            "localhost",
            "LocalHost.:1",
            "127.0.0.1:8008",
            "[::1]:1",
            host if ":" not in host else "[::1]",
        ):
            assert status(f"Host: {name}") == 200, name
        assert status("Host: given.example") == 200
        for name in FOREIGN:
            assert status(f"Host: {name}") == 400, name
        assert status() == 400
        assert status(version="1.0") == 400
        assert status("Host: localhost", "Host: localhost") == 400
        assert status("Host: localhost", "Host: rebound.example") == 400
        assert status("Host: localhost", "X-Forwarded-Host: rebound.example") == 200
        absolute = "http://localhost:8008/api/index"
        assert status("Host: localhost", target=absolute) == 200
        assert status("Host: rebound.example", target=absolute) == 400
        assert status("Host: localhost", target="http://rebound.example/api/index") == 400
        assert status("Host: localhost", target="http://localhost@rebound.example/api/index") == 400
        assert status("Host: localhost", target="http://localhost") == 200
        assert status("Host: localhost", target="//rebound.example/api/index") == 404
        assert status("Host: rebound.example", target="/health/live") == 400


def test_the_refusal_says_what_to_do(world) -> None:
    with listening(Service(IndexSnapshot(world.searcher))) as service:
        refused: Listening = service
        error = refused.ask("GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n").json["error"]
        assert "rebound.example" in error
        assert "--allow-host" in error


@pytest.mark.parametrize("host", ["a" * 300, "\0", "192.0.2.1", "a..b", "é" * 70, "::g"])
def test_where_nobody_can_listen(host: str) -> None:
    with pytest.raises(ConfigError, match="give another --host"):
        listen(host, 0)


def test_ports_that_are_none() -> None:
    for port in (-1, 65_536, 10**9):
        with pytest.raises(ConfigError, match="--port"):
            listen("127.0.0.1", port)
