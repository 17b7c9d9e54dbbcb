"""The parent's side of one child process that decodes pictures."""

import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mmer_core.confined import picture_limits as limits
from mmer_core.confined.picture_protocol import DECODED, LATER, READY, ROOM, Reply, Request
from mmer_core.errors import EngineError

_CHILD = "mmer_core.confined.picture_child"
_START_SECONDS = 120.0
_GRACE_SECONDS = 5.0
"""Grace period for the child's own timer before the child is killed."""
_KEPT_BYTES = 2**26
"""Bytes of shared memory that an idle child may keep."""
_PASSED_ON = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "PYTHONHOME",
    "PYTHONUTF8",
)


class ChildEnded(Exception):
    """The child ended without a reply.

    Attributes:
        blamed: Whether the picture exceeded a limit; otherwise the child may have been killed from outside.
    """

    def __init__(self, message: str, *, blamed: bool) -> None:
        super().__init__(message)
        self.blamed = blamed


class Child:
    """A running child process, for one thread at a time.

    Args:
        how: What it will decode with first, see `picture_protocol`; it imports that before it is asked.

    Raises:
        EngineError: It cannot be started.
    """

    def __init__(self, how: str) -> None:
        self._request: Request
        self._received = bytearray()
        self._decoded = self._answered = 0
        self._region = _shared_memory()
        os.ftruncate(self._region, ROOM)
        self._remap()
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", _CHILD, str(self._region), how]
        self._socket = ours
        self._process = subprocess.Popen(
            command,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.PIPE,
            pass_fds=[self._region],
            env=_environment(),
        )
        theirs.close()
        self._poll = select.poll()
        self._poll.register(ours, select.POLLIN)
        self._await_start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether this side has not ended it."""
        return self._region >= 0

    def address(self, place: int) -> int:
        """The address in this process of an offset into the shared memory."""
        return self._address + place

    def send(self, request: Request, content: bytes | None) -> None:
        """Send a request; `reply` then returns the result of each picture in turn.

        Args:
            content: The bytes of the file, if the request has no paths.

        Raises:
            ChildEnded: The child has ended.
        """
        self._request, self._decoded, self._answered = request, 0, 0
        try:
            if content is not None:
                self._share(content)
            self._socket.sendall(request.pack(), getattr(socket, "MSG_NOSIGNAL", 0))
        except OSError:
            raise self._ended() from None

    def reply(self) -> Reply:
        """The result of the next picture. Raises `ChildEnded` if the child ends without a reply."""
        seconds = self._request.seconds
        try:
            while (reply := Reply.unpack(self._received)) is None:
                self._received += self._receive(time.monotonic() + seconds + _GRACE_SECONDS)
            if reply.status == DECODED:
                self._check_room(reply)
            if reply.status == LATER and not self._decoded:  # there is always room for the first picture
                raise ValueError("no room")
            self._decoded += reply.status == DECODED
            self._answered += 1
        except TimeoutError:
            self.end()
            raise ChildEnded(f"decoding it does not end within {seconds:g} s", blamed=True) from None
        except (OSError, ValueError):
            raise self._ended() from None
        return reply

    def trim(self) -> None:
        """Return memory that large pictures took."""
        if 512 * os.fstat(self._region).st_blocks > _KEPT_BYTES and hasattr(mmap, "MADV_REMOVE"):
            self._remap()  # the child may have enlarged it before it failed
            self._map.madvise(mmap.MADV_REMOVE)

    def kill(self) -> None:
        """Kill it; a thread that waits for its reply gets `ChildEnded`."""
        self._process.kill()

    def end(self) -> None:
        """Kill it and close all descriptors; idempotent. Only for the thread that owns the child."""
        self._process.kill()
        self._process.wait()
        self.detach()

    def detach(self) -> None:
        """Close all descriptors in a forked copy of the parent, which does not own the child."""
        if self._region >= 0:
            self._socket.close()
            os.close(self._region)
            self._region = -1
        if self._process.returncode is None:
            self._process.returncode = 0  # this process must not wait for it

    def _await_start(self) -> None:
        errors = self._process.stderr
        assert errors is not None
        try:
            started = self._receive(time.monotonic() + _START_SECONDS, len(READY)) == READY
        except OSError:
            started = False
        if not started:
            self._process.kill()
            last = errors.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            self.end()
            reason = last[0] if last else f"it gave no sign within {_START_SECONDS:g} s"
            raise EngineError(f"cannot start the process that decodes pictures ({_CHILD}): {reason}")
        errors.close()

    def _receive(self, deadline: float, most: int = 4096) -> bytes:
        """Bytes from the child. Raises `TimeoutError`, or `ConnectionError` if it has ended."""
        if not self._poll.poll(1000 * max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        received = self._socket.recv(most)
        if not received:
            raise ConnectionError
        return received

    def _share(self, content: bytes) -> None:
        if len(content) > len(self._map):
            os.ftruncate(self._region, max(len(content), os.fstat(self._region).st_size))
            self._remap()
        self._map[: len(content)] = content

    def _check_room(self, reply: Reply) -> None:
        """Raise `ValueError` for a reply whose pixels cannot exist."""
        if reply.width * reply.height > self._request.most:
            raise ValueError("more pixels than were allowed")
        end = reply.place + self._request.bytes_of(self._answered, reply.width, reply.height)
        # The region grows only for the first picture of a request, when no other picture in it can be in use.
        if end > len(self._map) and not reply.place:
            self._remap()
        if end > len(self._map):
            raise ValueError("more pixels than there is memory")

    def _remap(self) -> None:
        self._map = mmap.mmap(self._region, os.fstat(self._region).st_size)
        self._address: int = np.frombuffer(self._map, np.uint8).ctypes.data

    def _ended(self) -> ChildEnded:
        """The reason for the missing reply, from how the child ended."""
        try:
            code = self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:  # it is alive, but its replies are invalid
            code = 0
        self.end()
        request = self._request
        if code == -signal.SIGPROF:
            return ChildEnded(
                f"decoding it takes more than {request.cpu_seconds:g} s of computing", blamed=True
            )
        if code == -signal.SIGALRM:
            return ChildEnded(f"decoding it does not end within {request.seconds:g} s", blamed=True)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return ChildEnded(f"its decoder crashes ({how})", blamed=False)


def _shared_memory() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("mmer-picture", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _environment() -> dict[str, str]:
    """The decoder's environment: no credentials and no settings of ours, but our import path."""
    passed = {name: text for name, text in os.environ.items() if name in _PASSED_ON or name.startswith("LC_")}
    return passed | {
        "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path),
        # glibc: keep memory of one picture for the next instead of mapping its pages anew each time.
        "MALLOC_MMAP_THRESHOLD_": str(2**25),
        "MALLOC_TRIM_THRESHOLD_": str(2**26),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OPENCV_IO_MAX_IMAGE_PIXELS": str(limits.MAX_PIXELS),
        "OPENCV_IO_MAX_IMAGE_WIDTH": str(limits.MAX_SIDE),
        "OPENCV_IO_MAX_IMAGE_HEIGHT": str(limits.MAX_SIDE),
    }
