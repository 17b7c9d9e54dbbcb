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
from mmer_core.config import Place, RuntimeConfig
from mmer_core.querying import PhotoRoot, PreparedPictures, Searcher
from mmer_core.serving import IndexSnapshot, Service, listen
from mmer_core.serving import serve as run
from mmer_core.stages import Context


def serve(
    *,
    index: str = "index",
    images: Place | None = None,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=at_least(0, 65535))] = 8008,
    allow_host: tuple[str, ...] = (),
    runtime: Runtime = RuntimeConfig(),
) -> None:
    """Serve an index as a search page and an HTTP service that only reads, until Ctrl-C or SIGTERM.

    SIGHUP opens the index again: the newest one, unless --index names another.

    Parameters
    ----------
    index:
        Key of the index; the newest one by default.
    images:
        Folder of the dataset's photos, outside of which nothing is read; by default the smaller pictures of the
        prepared dataset are shown.
    host:
        Address to listen at. There is no password: on any other than this machine's own, whoever reaches it may search.
    port:
        Port to listen at; 0 for any that is free.
    allow_host:
        Names that requests may call the service by, besides its addresses and this machine's name: the one behind which
        a proxy shows it, for example. '*' for any, which lets pages from elsewhere read it in a visitor's browser.
    """
    listener = listen(host, port)
    open_edition = partial(_open, runtime, index, images)
    with progress_bars():
        service = Service(open_edition())
    at = f"[{host}]" if ":" in host else host
    searcher = service.snapshot.searcher
    say(
        f"serving {searcher.key} with {searcher.index.count('image')} photos at "
        f"http://{at}:{listener.getsockname()[1]}/ (Ctrl-C ends it)"
    )
    if not run(service, listener, open_edition, names=[host, *allow_host]):
        sys.stdout.flush()
        os._exit(0)  # the interpreter's own end can wait for, or stumble over, what still works


def _open(runtime: RuntimeConfig, index: str, images: Path | None) -> IndexSnapshot:
    context = Context(runtime)
    searcher = Searcher.open(context, index)
    # The first questions should not wait for the encoders.
    searcher.embedder.texts(["a photo"])
    searcher.embedder.photos([Image.new("RGB", (8, 8))])
    if images is None:
        return IndexSnapshot(searcher, prepared=PreparedPictures.of(context, searcher))
    root = PhotoRoot(images)
    root.check(searcher.paths())
    return IndexSnapshot(searcher, root=root)
