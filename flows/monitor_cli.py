"""`mmer monitor`: what runs did, and what waits, for Prometheus."""

import os
import socket
from typing import Annotated

from cyclopts import Parameter

from flows.output import say
from flows.parameters import at_least
from mmer_core.errors import ConfigError


def monitor(
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=at_least(0, 65535))] = 9464,
) -> None:
    """`mmer monitor`.

    Parameters
    ----------
    host:
        Address to listen on. There is no password: everybody who can reach the address can read and add figures.
    port:
        Port to listen on; 0 for any free port.
    """
    try:
        import opentelemetry.proto.metrics.v1.metrics_pb2  # noqa: F401
    except ImportError:
        raise ConfigError(
            "mmer monitor needs OpenTelemetry, which is not installed: pip install 'mmer[otel]'"
        ) from None
    import uvicorn
    from prometheus_client import disable_created_metrics

    from flows.monitoring import app

    disable_created_metrics()  # a series more for each, which nobody asks for
    api = os.environ.get("PREFECT_API_URL")
    service = app(prefect=bool(api))
    listener = _listening(host, port)
    at = f"[{host}]" if ":" in host else host
    address = f"http://{at}:{listener.getsockname()[1]}"
    queue = f"and the queue of {api}" if api else "without a queue, as PREFECT_API_URL is not set"
    say(f"runs push to {address}/v1/metrics, Prometheus asks {address}/metrics, {queue} (Ctrl-C ends it)")
    uvicorn.Server(uvicorn.Config(service, log_level="warning", access_log=False)).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigError(
            f"nothing can listen at {host}, port {port} ({error.strerror}): give another --host or --port"
        ) from None
