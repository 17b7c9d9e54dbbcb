"""Limits that protect the machine from clients; listed in ``docs/search.md``."""

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Limits of the service on a socket.

    Attributes:
        head_bytes: Size of a request's target and headers.
        head_seconds: Time for a request's head, from its first byte, or from when the connection was made.
        body_seconds: Time for a body, in addition to its time at `bytes_per_second`.
        answer_seconds: Time for the client to read a response, in addition to its time at `bytes_per_second`.
        bytes_per_second: Minimal transfer rate of bodies and responses.
        idle_seconds: Time between two requests on a connection.
        linger_seconds: Time for the rest of a body whose response was sent before it arrived.
        requests: Concurrent requests; further ones get 503, except health checks.
        spare_connections: Connections beyond the number of requests. When all are open, a new one replaces the one
            that has been idle the longest.
        body_bytes: Total size of all bodies in memory.
        unsent_bytes: Total size of all responses that clients have not read yet.
        grace_seconds: Time for everything that is open when a signal ends the service.
    """

    head_bytes: int = 64 * 1024
    head_seconds: float = 10
    body_seconds: float = 20
    answer_seconds: float = 20
    bytes_per_second: int = 16 * 1024
    idle_seconds: float = 15
    linger_seconds: float = 2
    requests: int = 256
    spare_connections: int = 32
    body_bytes: int = 256 * MIB
    unsent_bytes: int = 128 * MIB
    grace_seconds: float = 30

    @property
    def connections(self) -> int:
        """Maximal number of open connections."""
        return self.requests + self.spare_connections
