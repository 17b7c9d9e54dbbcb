"""Redirecting the output of compiled libraries."""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDOUT, _STDERR = 1, 2
_diverting = threading.Lock()


@contextmanager
def native_output_to_stderr() -> Iterator[None]:
    """Redirect what C and C++ code prints on standard output to standard error while the block runs.

    Standard output is for results: FAISS prints a line for every index with lists on disk, which would end up in the
    middle of JSON output.
    """
    library = ctypes.CDLL(None)
    with _diverting:
        sys.stdout.flush()
        library.fflush(None)
        kept = os.dup(_STDOUT)
        try:
            os.dup2(_STDERR, _STDOUT)
            yield
        finally:
            library.fflush(None)  # C buffers output when it is not a terminal
            os.dup2(kept, _STDOUT)
            os.close(kept)
