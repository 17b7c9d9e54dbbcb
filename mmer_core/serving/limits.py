"""How long, how much and how many: what keeps visitors from taking the machine. `docs/search.md` lists it."""

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Of the service on a socket.

    Attributes:
        head_bytes: Of address and headers of a request.
        head_seconds: For the head of a request, from its first byte on, or from when the connection was made.
        body_seconds: For a body, besides the seconds that it has at `bytes_per_second`.
        answer_seconds: For an answer to be taken, besides the seconds that it has at `bytes_per_second`.
        bytes_per_second: The slowest that bodies and answers may move.
        idle_seconds: Between two requests on a connection.
        linger_seconds: For the rest of a body that was answered before it was there.
        requests: At a time; further ones get 503, except those that ask for the service's health.
        spare_connections: Beyond as many as there may be requests. When all are open, a new one takes the place of the
            one that has waited longest for a request.
        body_bytes: Of all the bodies in memory.
        unsent_bytes: Of all the answers that wait to be taken.
        grace_seconds: For everything that is open, from the signal on that ends the service.
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
        """Open at a time."""
        return self.requests + self.spare_connections
