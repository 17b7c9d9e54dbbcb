"""What compiled libraries print."""

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
    """Let what C and C++ print to standard output go to standard error, while the block runs.

    Standard output is for answers: FAISS prints a line for every index whose lists are on disk, in the middle of the
    JSON that somebody asked for.
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
            library.fflush(None)  # C keeps lines back when nobody watches
            os.dup2(kept, _STDOUT)
            os.close(kept)
