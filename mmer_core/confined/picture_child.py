"""The child that decodes pictures: ``python -m mmer_core.confined.picture_child REGION DECODER``.

It reads requests from standard input, one at a time, and replies on standard output; pixels go into shared memory, the
file with the descriptor ``REGION``. It exits when its standard input closes, so it does not outlive its parent.
"""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import IO

from mmer_core.confined.limits import confine, end_after
from mmer_core.confined.picture_bounds import Refused, open_file
from mmer_core.confined.picture_limits import MAX_PIXELS, memory_for
from mmer_core.confined.picture_protocol import (
    DECODED,
    LATER,
    LENGTH_BYTES,
    OUT_OF_MEMORY,
    READY,
    REFUSED,
    Reply,
    Request,
    unpack_length,
)
from mmer_core.confined.picture_region import NoRoom, Region


def main(handle: int, how: str) -> None:
    """Serve requests until the parent closes its end; the first ones will be for this decoder."""
    confine(memory_for(MAX_PIXELS))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    region = Region(handle)
    with contextlib.suppress(ImportError):
        _decoder(how)
    requests, replies = sys.stdin.buffer, os.dup(1)
    # Messages printed by libraries cannot be attributed to a photo.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.write(replies, READY)
    os.dup2(quiet, 2)
    while request := _next(requests):
        confine(memory_for(request.most))
        region.start()
        for number, path in enumerate(request.paths or (None,)):
            _set_clocks(request.cpu_seconds, request.seconds)
            reply = _serve(request, number, path, region)
            _set_clocks(0, 0)
            os.write(replies, reply.pack())
            if reply.status == LATER:
                break


def _next(requests: IO[bytes]) -> Request | None:
    length = requests.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return None
    size = unpack_length(length)
    body = requests.read(size)
    return Request.unpack(body) if len(body) == size else None


def _set_clocks(cpu_seconds: float, seconds: float) -> None:
    end_after(seconds)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)


def _serve(request: Request, number: int, path: str | None, region: Region) -> Reply:
    file = None
    try:
        file = io.BytesIO(region.read(request.size)) if path is None else open_file(path)
        width, height = _decoder(request.how)(request, number, path, file, region)
        place = region.filled(request.bytes_of(number, width, height))
        return Reply(DECODED, width, height, place)
    except NoRoom:
        return Reply(LATER)
    except Refused as refusal:
        return Reply(REFUSED, message=str(refusal))
    except MemoryError:
        return Reply(OUT_OF_MEMORY)
    # Decoders raise whatever a damaged file triggers (struct.error, KeyError, cv2.error, ...).
    except Exception as error:
        text = str(error).replace(repr(file), "the file") if file else str(error)
        return Reply(REFUSED, message=" ".join(text.split()) or type(error).__name__)
    finally:
        if file is not None:
            file.close()


def _decoder(how: str) -> Callable[[Request, int, str | None, IO[bytes], Region], tuple[int, int]]:
    """What decodes; its library is imported when it is first needed."""
    module = import_module(f"mmer_core.confined.picture_{how}")
    decode: Callable[[Request, int, str | None, IO[bytes], Region], tuple[int, int]] = module.decode
    return decode


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
