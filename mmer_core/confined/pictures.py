"""External pictures, decoded in child processes that have resource limits and can be killed.

A child is started when all others are busy, serves one request at a time, and is kept for the next. Its pixels are
read in place, from memory shared with this process; the child is free again once nothing references them. No lock is
needed: a child belongs to the thread that took it from the queue of idle ones.
"""

import atexit
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
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
    OPENCV,
    PILLOW,
    Reply,
    Request,
)
from mmer_core.confined.squares import Square, Wanted, bytes_of, inside
from mmer_core.errors import EngineError

Pixels = npt.NDArray[np.uint8]
T = TypeVar("T")

AT_ONCE = 8
"""Pictures that a child decodes ahead while earlier ones are read: a good batch size for `decoded_each`."""

_MOST = max(8, 2 * (os.cpu_count() or 1))
"""Idle children to keep, and children whose pixels are read in place; beyond that, pixels are copied."""

_waiting: deque[Child] = deque()
_busy: set[Child] = set()
_starting: "deque[Future[_Lease]]" = deque()
_ends = 0
"""Number of calls of `end_all`."""


_CURE = re.compile(": (save|draw) it ")
"""How the cures begin that a decoder names, behind the reason."""


class UnreadableImageError(Exception):
    """A file that is not a complete picture in a supported format, or too expensive; the message says why."""

    def with_cure(self, otherwise: str) -> str:
        """The message with a cure: its own, such as ``save it as RGB``, or another where it has none."""
        return str(self) if _CURE.search(str(self)) else f"{self}; {otherwise}"


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
        how: ``pillow``, or ``opencv`` to decode a file as EMOTIC's reference converter does.
        formats: Allowed formats, a subset of `picture_limits.FORMATS`.
        most: Maximal number of pixels.

    Returns:
        ``(H, W, 4)`` uint8 with a padding byte from Pillow, ``(H, W, 3)`` from OpenCV. Release it soon: it blocks the
        child that decoded it.

    Raises:
        UnreadableImageError: It is missing, not a picture, or exceeds `picture_limits`.
        EngineError: No child can be started.
    """
    content = source if isinstance(source, bytes) else None
    paths = () if isinstance(source, bytes) else (source,)
    (answer,) = _ask(_request(paths, how, formats, most, len(content or b"")), content, lambda answer: answer)
    if isinstance(answer, UnreadableImageError):
        raise answer
    return answer.pixels()


def decoded_each(
    paths: Sequence[Path],
    use: Callable[[Pixels | UnreadableImageError], T],
    *,
    how: str = PILLOW,
    most: int = limits.MAX_PIXELS,
) -> list[T]:
    """``use`` of every picture's pixels, or of the error that `decoded` would raise.

    A child decodes the next pictures while ``use`` runs, which is cheaper than one request per picture.
    """

    def read(answer: _Answer | UnreadableImageError) -> T:
        return use(answer if isinstance(answer, UnreadableImageError) else answer.pixels())

    found: list[T] = []
    for start in range(0, len(paths), AT_ONCE):
        found += _ask(_request(paths[start : start + AT_ONCE], how, limits.FORMATS, most), None, read)
    return found


def squares_each(
    paths: Sequence[Path],
    wanted: Sequence[Sequence[Wanted]],
    use: Callable[["Squares | UnreadableImageError"], T],
    *,
    most: int = limits.MAX_PIXELS,
) -> list[T]:
    """As `decoded_each`, where only squares of the pictures are needed, decoded and resized by OpenCV: its child resizes
    them, so that nothing else leaves it.

    Args:
        wanted: For each picture its squares; boxes are clamped to the picture, and empty ones left out.
    """

    def read(answer: "_Answer | UnreadableImageError") -> T:
        return use(answer if isinstance(answer, UnreadableImageError) else answer.squares())

    found: list[T] = []
    for start in range(0, len(paths), AT_ONCE):
        end = start + AT_ONCE
        request = _request(paths[start:end], OPENCV, limits.FORMATS, most)
        found += _ask(replace(request, squares=tuple(map(tuple, wanted[start:end]))), None, read)
    return found


def start_ahead(children: int, how: str = PILLOW) -> None:
    """Start children while this process does something else, until so many are there; later calls take them.

    They import what they decode with meanwhile, which another decoder than ``how`` would make them do later.

    One that cannot be started is reported by the call that takes it.
    """
    for _ in range(min(children, _MOST) - len(_waiting) - len(_starting)):
        lease: Future[_Lease] = Future()
        _starting.append(lease)
        threading.Thread(
            target=_start_into, args=(lease, how), name="mmer picture child", daemon=True
        ).start()


def end_all() -> None:
    """Kill all children: waiting callers get an `UnreadableImageError`; later calls start new children."""
    global _ends
    _ends += 1
    _starting.clear()
    for child in list(_busy):
        child.kill()
    while _waiting:
        _waiting.pop().end()


class _Lease:
    """Reserves a child for as long as an array (or a tensor) of its pixels exists."""

    def __init__(self, child: Child) -> None:
        self.child = child
        _busy.add(child)

    def __del__(self) -> None:
        _busy.discard(self.child)
        if self.child.alive and len(_waiting) < _MOST:
            self.child.trim()
            _waiting.append(self.child)
        else:
            self.child.end()


@dataclass(frozen=True)
class Squares:
    """Squares of a picture.

    Attributes:
        size: ``(width, height)`` of the picture.
        made: ``(side, side, 3)`` RGB by side and clamped box; to be copied by whoever keeps them.
    """

    size: tuple[int, int]
    made: dict[Square, Pixels]


@dataclass(frozen=True)
class _Answer:
    """A picture that was decoded, or squares of it."""

    lease: _Lease
    reply: Reply
    channels: int
    wanted: tuple[Wanted, ...] = ()

    def pixels(self) -> Pixels:
        """The pixels in the child's memory, not copied."""
        return self._shared((self.reply.height, self.reply.width, self.channels))

    def squares(self) -> Squares:
        """The squares, likewise."""
        size = self.reply.width, self.reply.height
        squares = inside(self.wanted, size)
        rest = self._shared((bytes_of(squares),))
        made: dict[Square, Pixels] = {}
        for side, box in squares:
            made[side, box] = rest[: 3 * side * side].reshape(side, side, 3)
            rest = rest[3 * side * side :]
        return Squares(size, made)

    def _shared(self, shape: tuple[int, ...]) -> Pixels:
        pixels = np.asarray(_SharedPixels(self.lease, self.reply.place, shape))
        return pixels.copy() if len(_busy) > _MOST else pixels


class _SharedPixels:
    """A child's memory, exposed to NumPy."""

    def __init__(self, lease: _Lease, place: int, shape: tuple[int, ...]) -> None:
        self._lease = lease
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": shape,
            "data": (lease.child.address(place), False),
        }


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
    """``use`` of the result of every picture of a request."""
    found: list[T] = []
    ends = _ends
    while len(found) < (len(request.paths) or 1):
        rest = request.rest(len(found))
        try:
            _serve(_lease_child(request.how), rest, content, use, found)
        except ChildEnded as ended:
            if ended.blamed or ends != _ends:
                found.append(use(UnreadableImageError(str(ended))))
            else:
                # The child may have been killed from outside; a picture that crashes it will do so again.
                found.append(use(_retry(replace(rest, paths=rest.paths[:1]), content)))
    return found


def _serve(
    lease: _Lease,
    request: Request,
    content: bytes | None,
    use: Callable[[_Answer | UnreadableImageError], T],
    found: list[T],
) -> None:
    """Append the results of the pictures that a child decodes in one go: all, or as many as there is room for."""
    try:
        lease.child.send(request, content)
        for number in range(len(request.paths) or 1):
            answer = _answer(lease, request, number)
            if answer is None:
                return
            found.append(use(answer))
            del answer
    except BaseException:  # later replies of this child must not be read
        lease.child.end()
        raise


def _retry(request: Request, content: bytes | None) -> _Answer | UnreadableImageError:
    """The reply of a new child for a picture during which another child ended."""
    lease = _start_child(request.how)
    try:
        lease.child.send(request, content)
        answer = _answer(lease, request, 0)
        assert answer is not None
        return answer
    except ChildEnded as ended:
        return UnreadableImageError(str(ended))
    except BaseException:
        lease.child.end()
        raise


def _answer(lease: _Lease, request: Request, number: int) -> _Answer | UnreadableImageError | None:
    """A child's next reply; None if it has no room for this picture and those after it."""
    reply = lease.child.reply()
    if reply.status == LATER:
        return None
    if reply.status == DECODED:
        wanted = request.squares[number] if request.squares else ()
        return _Answer(lease, reply, CHANNELS[request.how], wanted)
    mebibytes = limits.memory_for(request.most) // 2**20
    return UnreadableImageError(reply.message or f"decoding it takes more than {mebibytes} MiB of memory")


def _lease_child(how: str) -> _Lease:
    with suppress(IndexError):
        return _Lease(_waiting.pop())
    try:
        starting = _starting.popleft()
    except IndexError:
        return _start_child(how)
    return starting.result()


def _start_into(lease: "Future[_Lease]", how: str) -> None:
    try:
        lease.set_result(_start_child(how))
    except EngineError as error:
        lease.set_exception(error)


def _start_child(how: str) -> _Lease:
    try:
        return _Lease(Child(how))
    except OSError as error:
        raise EngineError(
            f"cannot start a process that decodes pictures: {error.strerror or error}"
        ) from error


def _detach_all() -> None:
    """Detach a forked copy of this process from the children, so that it neither uses them nor keeps them alive."""
    _starting.clear()
    for child in [*_busy, *_waiting]:
        child.detach()
    _busy.clear()
    _waiting.clear()


os.register_at_fork(after_in_child=_detach_all)
atexit.register(end_all)
