"""An index as a read-only HTTP service with a search page and pictures."""

from mmer_core.serving.app import create_app
from mmer_core.serving.limits import Limits
from mmer_core.serving.server import Server, listen, serve
from mmer_core.serving.service import IndexSnapshot, Service

__all__ = ["IndexSnapshot", "Limits", "Server", "Service", "create_app", "listen", "serve"]
