"""Pictures from outside, decoded in child processes that are bounded and can be killed.

A child is started when all others are busy, serves one request at a time, and stays for the next. Its pixels are read
where it put them, in memory that it shares with this process; it is free again when nobody holds them any more. No
lock is needed: a child belongs to whoever took it from the queue of those that wait.
"""

import atexit
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mmer_core.confined import picture_limits as limits
from mmer_core.confined.picture_process import Child, ChildEnded
from mmer_core.confined.picture_protocol import (
    CHANNELS,
    DECODED,
    LATER,
    PILLOW,
    Reply,
    Request,
)
from mmer_core.errors import EngineError

Pixels = npt.NDArray[np.uint8]
T = TypeVar("T")

AT_ONCE = 8
"""Pictures that a child decodes one after the other, while those before are read: a good number for `decoded_each`."""

_MOST = max(8, 2 * (os.cpu_count() or 1))
"""Children that are kept waiting; and those whose pixels are read where they are: more are copied."""

_waiting: deque[Child] = deque()
_busy: set[Child] = set()
_ends = 0
"""How often `end_all` was called."""


class UnreadableImageError(Exception):
    """A file that is not a whole picture of a kind that mmer reads, or too much work; the message says why."""


def decoded(
    source: Path | bytes,
    *,
    how: str = PILLOW,
    formats: tuple[str, ...] = limits.FORMATS,
    most: int = limits.MAX_PIXELS,
) -> Pixels:
    """The pixels of the first picture in a file, upright, as 8-bit RGB by the rules of ``docs/manifest.md``.

    Args:
        source: A file, or the bytes of one.
        how: ``pillow``; or ``opencv``, as the reference converter of EMOTIC decodes, for a file.
        formats: Those that are opened, of `picture_limits.FORMATS`.
        most: Pixels.

    Returns:
        ``(H, W, 4)`` with a byte of padding from Pillow, ``(H, W, 3)`` from OpenCV. Let go of it soon: the child that
        decoded it waits until then.

    Raises:
        UnreadableImageError: It is missing, no picture, or more work than `picture_limits` allow.
        EngineError: No child can be started.
    """
    return _one(source, how, formats, most).pixels()


def decoded_each(
    paths: Sequence[Path],
    use: Callable[[Pixels | UnreadableImageError], T],
    *,
    how: str = PILLOW,
    most: int = limits.MAX_PIXELS,
) -> list[T]:
    """What becomes of the pixels of every picture, or of the reason why there are none, as of `decoded`.

    A child decodes the next pictures while ``use`` has the first: it costs less than one at a time.
    """

    def read(answer: _Answer | UnreadableImageError) -> T:
        return use(answer if isinstance(answer, UnreadableImageError) else answer.pixels())

    found: list[T] = []
    for start in range(0, len(paths), AT_ONCE):
        found += _ask(_request(paths[start : start + AT_ONCE], how, limits.FORMATS, most), None, read)
    return found


def end_all() -> None:
    """Kill all children: whoever waits for a picture gets an `UnreadableImageError`. Later pictures get new ones."""
    global _ends
    _ends += 1
    for child in list(_busy):
        child.kill()
    while _waiting:
        _waiting.pop().end()


class _Lease:
    """What keeps a child from the next request, for as long as there is an array (or a tensor) of its pixels."""

    def __init__(self, child: Child) -> None:
        self.child = child
        _busy.add(child)

    def __del__(self) -> None:
        _busy.discard(self.child)
        if self.child.alive and len(_waiting) < _MOST:
            self.child.rest()
            _waiting.append(self.child)
        else:
            self.child.end()


@dataclass(frozen=True)
class _Answer:
    """A picture that was decoded, or named."""

    lease: _Lease
    reply: Reply
    channels: int

    def pixels(self) -> Pixels:
        """Where the child put them."""
        pixels = np.asarray(_Held(self.lease, self.reply, self.channels))
        return pixels.copy() if len(_busy) > _MOST else pixels


class _Held:
    """Memory of a child, as NumPy sees it."""

    def __init__(self, lease: _Lease, reply: Reply, channels: int) -> None:
        self._lease = lease
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": (reply.height, reply.width, channels),
            "data": (lease.child.address(reply.place), False),
        }


def _one(source: Path | bytes, how: str, formats: tuple[str, ...], most: int) -> _Answer:
    content = source if isinstance(source, bytes) else None
    request = _request([] if isinstance(source, bytes) else [source], how, formats, most, len(content or b""))
    (answer,) = _ask(request, content, lambda answer: answer)
    if isinstance(answer, UnreadableImageError):
        raise answer
    return answer


def _request(paths: Sequence[Path], how: str, formats: tuple[str, ...], most: int, size: int = 0) -> Request:
    return Request(
        how=how,
        paths=tuple(map(os.path.abspath, paths)),
        size=size,
        formats=formats,
        most=most,
        cpu_seconds=limits.CPU_SECONDS,
        seconds=limits.SECONDS,
    )


def _ask(
    request: Request, content: bytes | None, use: Callable[[_Answer | UnreadableImageError], T]
) -> list[T]:
    """What ``use`` makes of the answer about every picture of a request."""
    found: list[T] = []
    ends = _ends
    while len(found) < (len(request.paths) or 1):
        rest = replace(request, paths=request.paths[len(found) :])
        try:
            _serve(_taken(), rest, content, use, found)
        except ChildEnded as ended:
            if ended.blamed or ends != _ends:
                found.append(use(UnreadableImageError(str(ended))))
            else:
                # Somebody may have killed the child, also while it waited: a picture that crashes it does so again.
                found.append(use(_again(replace(rest, paths=rest.paths[:1]), content)))
    return found


def _serve(
    lease: _Lease,
    request: Request,
    content: bytes | None,
    use: Callable[[_Answer | UnreadableImageError], T],
    found: list[T],
) -> None:
    """Add what is made of the pictures that a child decodes in one go: all, or those that have room together."""
    try:
        lease.child.ask(request, content)
        for _ in request.paths or (None,):
            answer = _answer(lease, request)
            if answer is None:
                return
            found.append(use(answer))
            del answer
    except BaseException:  # what it would answer later is not waited for
        lease.child.end()
        raise


def _again(request: Request, content: bytes | None) -> _Answer | UnreadableImageError:
    """The answer of a new child about a picture that another ended with."""
    lease = _started()
    try:
        lease.child.ask(request, content)
        answer = _answer(lease, request)
        assert answer is not None
        return answer
    except ChildEnded as ended:
        return UnreadableImageError(str(ended))
    except BaseException:
        lease.child.end()
        raise


def _answer(lease: _Lease, request: Request) -> _Answer | UnreadableImageError | None:
    """The next answer of a child; None when it has no room for this picture and those after it."""
    reply = lease.child.reply()
    if reply.status == LATER:
        return None
    if reply.status == DECODED:
        return _Answer(lease, reply, CHANNELS[request.how])
    mebibytes = limits.memory_for(request.most) // 2**20
    return UnreadableImageError(reply.message or f"decoding it takes more than {mebibytes} MiB of memory")


def _taken() -> _Lease:
    try:
        return _Lease(_waiting.pop())
    except IndexError:
        return _started()


def _started() -> _Lease:
    try:
        return _Lease(Child())
    except OSError as error:
        raise EngineError(
            f"cannot start a process that decodes pictures: {error.strerror or error}"
        ) from error


def _forget_all() -> None:
    """A forked copy of this process must not talk to its children, nor keep them alive."""
    for child in [*_busy, *_waiting]:
        child.forget()
    _busy.clear()
    _waiting.clear()


os.register_at_fork(after_in_child=_forget_all)
atexit.register(end_all)
