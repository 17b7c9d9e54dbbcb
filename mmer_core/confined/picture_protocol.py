"""The messages between parent and child: a request for several pictures, and a reply for each once it is decoded.

Pixels, or squares of them, and the bytes of a picture that is not in a file, are passed in shared memory.
"""

import json
import struct
from dataclasses import dataclass, replace

from mmer_core.confined.squares import Wanted, bytes_of, inside

READY = b"R"
"""Written once by a child when it is ready for requests."""

PILLOW, OPENCV = "pillow", "opencv"
"""Decode with Pillow to ``(H, W, 4)``, or with OpenCV to ``(H, W, 3)``."""
CHANNELS = {PILLOW: 4, OPENCV: 3}

DECODED, REFUSED, OUT_OF_MEMORY, LATER = range(4)
"""``LATER``: there is no room for this picture and those after it; request them again."""

ROOM = 2**24
"""Initial size of the shared memory in bytes. Only the first picture of a request may enlarge it."""

_LENGTH = struct.Struct("<I")
_REPLY = struct.Struct("<BIIQH")
_MOST_TEXT = 2000


@dataclass(frozen=True)
class Request:
    """Pictures to decode.

    Attributes:
        how: ``pillow`` or ``opencv``.
        paths: Absolute paths; none if the bytes of one file are in the shared memory.
        size: Number of those bytes.
        formats: Allowed formats, by Pillow's names.
        most: Maximal number of pixels per picture.
        cpu_seconds, seconds: CPU and wall-clock time per picture, after which the child ends itself.
        squares: For each path the squares that are wanted in place of the pixels, resized by OpenCV; none for the pixels.
    """

    how: str
    paths: tuple[str, ...]
    size: int
    formats: tuple[str, ...]
    most: int
    cpu_seconds: float
    seconds: float
    squares: tuple[tuple[Wanted, ...], ...] = ()

    def rest(self, start: int) -> "Request":
        """The same without the first pictures."""
        return replace(self, paths=self.paths[start:], squares=self.squares[start:])

    def bytes_of(self, number: int, width: int, height: int) -> int:
        """Bytes of the answer for a picture of this request, which is so large."""
        if self.squares:
            return bytes_of(inside(self.squares[number], (width, height)))
        return CHANNELS[self.how] * width * height

    def pack(self) -> bytes:
        body = json.dumps(vars(self)).encode()
        return _LENGTH.pack(len(body)) + body

    @classmethod
    def unpack(cls, body: bytes) -> "Request":
        fields = json.loads(body)
        squares = tuple(
            tuple((side, box and (box[0], box[1], box[2], box[3])) for side, box in wanted)
            for wanted in fields["squares"]
        )
        several = {"paths": tuple(fields["paths"]), "formats": tuple(fields["formats"]), "squares": squares}
        return cls(**{**fields, **several})


LENGTH_BYTES = _LENGTH.size


def unpack_length(content: bytes) -> int:
    """The length of the request that follows."""
    length: int = _LENGTH.unpack(content)[0]
    return length


@dataclass(frozen=True)
class Reply:
    """The result for one picture: its size and its offset in the shared memory, or a message."""

    status: int
    width: int = 0
    height: int = 0
    place: int = 0
    message: str = ""

    def pack(self) -> bytes:
        text = self.message.encode("utf-8", "replace")[:_MOST_TEXT]
        return _REPLY.pack(self.status, self.width, self.height, self.place, len(text)) + text

    @classmethod
    def unpack(cls, received: bytearray) -> "Reply | None":
        """Take the first reply from the buffer; None until it is complete. Raises `ValueError` if malformed."""
        if len(received) < _REPLY.size:
            return None
        status, width, height, place, length = _REPLY.unpack_from(received)
        if status not in (DECODED, REFUSED, OUT_OF_MEMORY, LATER) or length > _MOST_TEXT:
            raise ValueError("not a reply")
        end = _REPLY.size + length
        if len(received) < end:
            return None
        text = received[_REPLY.size : end].decode("utf-8", "replace")
        del received[:end]
        return cls(status, width, height, place, text)
