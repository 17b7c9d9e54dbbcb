"""Request bodies, with a bound on their total size in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from mmer_core.serving.limits import MIB
from mmer_core.serving.refusal import Refusal


class Bodies:
    """Args:
    most: Maximal total size of all bodies in bytes.
    """

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0

    @asynccontextmanager
    async def read(self, request: Request, most: int) -> AsyncIterator[bytes]:
        """The body; it counts towards the total until the context ends.

        Raises:
            Refusal: It exceeds ``most`` bytes (413, immediately if its declared length does), or all bodies together
                exceed the total (503).
        """
        too_large = Refusal(413, f"the body is larger than {most // MIB} MiB; send less")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > most:
            raise too_large
        body, held = bytearray(), 0
        try:
            async for chunk in request.stream():
                body += chunk
                self._held += len(chunk)
                held += len(chunk)
                if held > most:
                    raise too_large
                if self._held > self._most:
                    raise Refusal(503, "too much is being sent; send it again in a second", retry_after=1)
            content = bytes(body)
            body.clear()
            yield content
        finally:
            self._held -= held
