"""Error responses of the service: a status and one sentence that says what is wrong and what to do."""

from collections.abc import Mapping
from types import MappingProxyType

from starlette.responses import JSONResponse

from mmer_core.errors import MmerError


class Refusal(MmerError):
    """A request that gets an error response.

    Args:
        status: HTTP status.
        message: What is wrong and what to do.
        retry_after: Seconds after which the same request may succeed.
        headers: Additional headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        retry_after: int | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers) | ({} if retry_after is None else {"Retry-After": str(retry_after)})

    def response(self) -> JSONResponse:
        """``{"error": message}``."""
        return JSONResponse({"error": str(self)}, self.status, self.headers)
