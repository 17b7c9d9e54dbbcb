"""Processes of this machine that compute one training together: started, watched, and ended together."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from mmer_core import errors
from mmer_core.errors import EngineError, MmerError
from mmer_core.progress import Progress

_GRACE_SECONDS = 3.0
"""How long the others may take to say what they know, once a process has failed."""


@dataclass
class _Process:
    """A process, what it said last, and how it ended."""

    running: subprocess.Popen[bytes]
    errors: IO[bytes]
    answer: Any = None
    error: MmerError | None = None
    code: int | None = field(default=None)


def run_together(module: str, requests: Sequence[Mapping[str, Any]], progress: Progress) -> Any:
    """What the first of several processes answers, once all have ended well; they end when this one does.

    Args:
        module: Run as a program in each; it calls `serve`.
        requests: One for each process, as JSON.
        progress: Gets the progress of the first process.

    Raises:
        MmerError: Any that a process raised.
        EngineError: A process died. The others are ended.
    """
    with TemporaryDirectory(prefix="mmer-") as folder, ExitStack() as stack:
        processes = [
            stack.enter_context(_started(module, request, Path(folder) / f"{number}.txt"))
            for number, request in enumerate(requests)
        ]
        heard: queue.SimpleQueue[tuple[_Process, dict[str, Any] | None]] = queue.SimpleQueue()
        for process in processes:
            threading.Thread(target=_listen, args=(process, heard), daemon=True).start()
        while any(one.code is None for one in processes) and not any(one.code for one in processes):
            _take(*heard.get(), processes[0], progress)
        deadline = time.monotonic() + _GRACE_SECONDS
        while any(one.code is None for one in processes) and (left := deadline - time.monotonic()) > 0:
            try:
                _take(*heard.get(timeout=left), processes[0], progress)
            except queue.Empty:
                break
        if any(one.code for one in processes):
            raise _failure(processes)
        return processes[0].answer


def serve(work: Callable[[dict[str, Any], Progress], Any]) -> None:
    """Answer the request of `run_together` in a process that it started, and end."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")

    def progress(done: float, total: float, note: str = "") -> None:
        tell(progress=[done, total, note])

    try:
        tell(answer=work(request, progress))
    except MmerError as error:
        tell(error=[type(error).__name__, str(error)])
        sys.exit(1)


@contextmanager
def _started(module: str, request: Mapping[str, Any], errors_file: Path) -> Iterator[_Process]:
    places = os.pathsep.join(place for place in sys.path if place and Path(place).is_absolute())
    with errors_file.open("w+b") as said:
        running = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env={**os.environ, "PYTHONPATH": places},
        )
        assert running.stdin is not None
        assert running.stdout is not None
        try:
            running.stdin.write(json.dumps(request).encode() + b"\n")
            running.stdin.flush()
            yield _Process(running, said)
        finally:
            running.kill()
            running.wait()
            running.stdin.close()
            running.stdout.close()


def _listen(process: _Process, heard: queue.SimpleQueue[Any]) -> None:
    assert process.running.stdout is not None
    try:
        for line in process.running.stdout:
            heard.put((process, json.loads(line)))
    except ValueError:  # closed, or half a line of a process that was killed
        pass
    process.running.wait()
    heard.put((process, None))


def _take(process: _Process, message: dict[str, Any] | None, first: _Process, progress: Progress) -> None:
    if message is None:
        process.code = process.running.returncode
    elif "progress" in message:
        if process is first:
            progress(*message["progress"])
    elif "error" in message:
        name, text = message["error"]
        process.error = getattr(errors, name, EngineError)(text)
    else:
        process.answer = message["answer"]


def _failure(processes: Sequence[_Process]) -> MmerError:
    """Why the run failed: a process that was killed explains the others, whose connection to it broke."""
    raised = [one.error for one in processes if one.error]
    killed = [one for one in processes if one.code is not None and one.code < 0]
    if raised and not killed:
        return raised[0]
    culprit = (killed or [one for one in processes if one.code])[0]
    assert culprit.code is not None
    how = f"was ended by {signal.Signals(-culprit.code).name}" if culprit.code < 0 else "failed"
    culprit.errors.seek(0)
    last = culprit.errors.read().decode("utf-8", "replace").strip().splitlines()[-1:]
    return EngineError(
        f"process {processes.index(culprit)} of the {len(processes)} that train together {how}"
        f"{f' ({last[0]})' if last else ''}: give the command again, and it goes on from its last checkpoint"
    )


def _end_with_parent() -> None:
    while os.read(0, 1):  # unbuffered: a lock held by this thread would abort the end of the interpreter
        pass
    os._exit(1)
