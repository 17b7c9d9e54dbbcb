"""Bodies of requests, so many bytes of them in memory at a time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from mmer_core.serving.limits import MIB
from mmer_core.serving.refusal import Refusal


class Bodies:
    """Args:
    most: Bytes of all bodies together.
    """

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0

    @asynccontextmanager
    async def read(self, request: Request, most: int) -> AsyncIterator[bytes]:
        """The body, which counts as held as long as the context lasts.

        Raises:
            Refusal: It is larger than ``most`` bytes (413), which is known at once where its length is declared, or
                there are too many bodies (503).
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
