"""`mmer serve`: an index as a search page and an HTTP service."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from PIL import Image

from flows.output import say
from flows.parameters import Runtime, at_least
from flows.terminal import progress_bars
from mmer_core.config import RuntimeConfig
from mmer_core.querying import PhotoRoot, PreparedPictures, Searcher
from mmer_core.serving import IndexSnapshot, Service, listen
from mmer_core.serving import serve as run
from mmer_core.stages import Context


def serve(
    *,
    index: str = "index",
    images: Path | None = None,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=at_least(0, 65535))] = 8008,
    allow_host: tuple[str, ...] = (),
    runtime: Runtime = RuntimeConfig(),
) -> None:
    """`mmer serve`.

    Parameters
    ----------
    index:
        Key of the index; the newest one by default.
    images:
        Folder of the dataset's photos; nothing outside it is read. By default the smaller pictures of the prepared
        dataset are shown.
    host:
        Address to listen on. There is no password: everybody who can reach the address can search.
    port:
        Port to listen on; 0 for any free port.
    allow_host:
        Host names that requests may use besides the service's addresses and this machine's name, for example that of a
        proxy. '*' allows any name, and with it pages of other sites to read the service in a visitor's browser.
    """
    listener = listen(host, port)
    open_snapshot = partial(_open, runtime, index, images)
    with progress_bars(runtime.quiet):
        service = Service(open_snapshot())
    at = f"[{host}]" if ":" in host else host
    searcher = service.snapshot.searcher
    say(
        f"serving {searcher.key} with {searcher.index.count('image')} photos at "
        f"http://{at}:{listener.getsockname()[1]}/ (Ctrl-C ends it)"
    )
    if not run(service, listener, open_snapshot, names=[host, *allow_host]):
        sys.stdout.flush()
        os._exit(0)  # the interpreter's shutdown could wait for running requests, or fail because of them


def _open(runtime: RuntimeConfig, index: str, images: Path | None) -> IndexSnapshot:
    context = Context(runtime)
    searcher = Searcher.open(context, index)
    # The first queries should not wait for the encoders.
    if searcher.index.count("text"):
        searcher.embedder.texts(["a photo"])
    searcher.embedder.photos([Image.new("RGB", (8, 8))])
    if images is None:
        return IndexSnapshot(searcher, prepared=PreparedPictures.of(context, searcher))
    root = PhotoRoot(images)
    root.check(searcher.paths())
    return IndexSnapshot(searcher, root=root)
