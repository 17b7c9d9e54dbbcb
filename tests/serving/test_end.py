"""Signals end the process: after what is open is answered, and in bounded time whatever does not return."""

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.service_thread import Listening, answer, ask

from mmer_core.querying import Searcher
from mmer_core.retrieval import RetrievalIndex
from mmer_core.serving import IndexSnapshot, Limits, Service, listen, serve

GRACE = 2
LIMITS = Limits(grace_seconds=GRACE, body_seconds=60, answer_seconds=60)


class Hung:
    """Work that never returns."""

    def texts(self, texts: Any) -> Any:
        threading.Event().wait()

    def holds(self, id: str) -> bool:
        return True

    def picture(self, id: str, path: str | None = None) -> np.ndarray:
        while True:  # and holds the interpreter as often as it can
            pass


def _serve(index: Path, listener: socket.socket, limits: Limits) -> None:
    hung: Any = Hung()
    searcher = Searcher("index/of-tests", RetrievalIndex(index), hung, "drawn")
    newer = IndexSnapshot(replace(searcher, key="index/newer"))
    serve(Service(IndexSnapshot(searcher, prepared=hung)), listener, lambda: newer, limits=limits)


@contextlib.contextmanager
def process(world: Any, limits: Limits = LIMITS) -> Iterator[tuple[BaseProcess, Listening]]:
    """The service in a process of its own; not forked from this one, whose libraries have threads."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["mmer_core.serving"])
    with listen("127.0.0.1", 0) as listener:
        running = processes.Process(target=_serve, args=(world.root.parent / "index", listener, limits))
        running.start()
        service = Listening(listener.getsockname()[:2])
    try:
        assert service.get("/health/live").status == 200
        yield running, service
    finally:
        running.kill()
        running.join()


def request(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("number", "target"),
    [
        (signal.SIGTERM, "/api/search?text=dog"),
        pytest.param(signal.SIGINT, "/api/search?text=dog", marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, "/pictures?id=a", marks=pytest.mark.long),
        (signal.SIGTERM, None),
    ],
)
def test_nothing_that_hangs_holds_up_the_end(world, number: int, target: str | None) -> None:
    with process(world) as (running, service), service.connect() as connection, service.connect() as slow:
        slow.sendall(b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        slow.sendall(b"Content-Length: 9\r\n\r\n")
        if target is not None:
            connection.sendall(request(target))
            time.sleep(0.2)
        os.kill(running.pid, number)
        if target == "/api/search?text=dog":
            assert answer(connection).status == 503
        running.join(60)
        assert running.exitcode == 0


def test_what_is_open_is_answered_and_then_the_end_is_at_once(world) -> None:
    patient = replace(LIMITS, grace_seconds=600)  # the end does not wait for that
    with process(world, patient) as (running, service), service.connect() as connection, service.connect():
        body = b'{"id": "nobody"}'
        head = f"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode())
        time.sleep(0.2)
        os.kill(running.pid, signal.SIGTERM)
        time.sleep(0.3)
        assert ask(connection, body).status == 404
        running.join(60)
        assert running.exitcode == 0


@pytest.mark.long
@pytest.mark.parametrize("numbers", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)])
def test_a_second_signal_ends_at_once(world, numbers: tuple[int, int]) -> None:
    with process(world) as (running, service), service.connect() as connection:
        connection.sendall(request("/pictures?id=a"))
        time.sleep(0.2)
        os.kill(running.pid, numbers[0])
        time.sleep(0.3)
        os.kill(running.pid, numbers[1])
        running.join(60)
        assert running.exitcode not in (None, 0)


def test_a_hangup_opens_the_index_again(world) -> None:
    with process(world) as (running, service):
        os.kill(running.pid, signal.SIGHUP)
        while service.get("/api/index").json["index"] != "index/newer":
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGTERM)
        running.join(60)
        assert running.exitcode == 0
