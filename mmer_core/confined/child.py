"""The child's side of `mmer_core.confined.reading`: ``python child.py MODULE:FUNCTION PATH SECONDS BYTES``.

Each value that the function yields goes to the parent as one line after ``=``. The last line begins with ``.`` if there
are no more values, with ``!`` and a reason if the function raised, and with ``m`` if memory ran out.
"""

import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_REASON = 500
"""Characters of a reason that are sent to the parent."""


def main(reader: str, path: str, seconds: str, memory: str) -> None:
    """Set the limits, read the file and send the values."""
    from mmer_core.confined.limits import confine, end_after
    from mmer_core.confined.plain import to_line

    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Native libraries print to standard output, which must not be mistaken for a value.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    end_after(float(seconds))
    confine(int(memory))
    # Searching many small objects for cycles takes time, and all memory is returned when this process ends.
    gc.disable()
    try:
        module, _, name = reader.partition(":")
        read: Callable[[Path], Iterable[Any]] = getattr(importlib.import_module(module), name)
        for value in read(Path(path)):
            answer.write(b"=%b\n" % to_line(value))
        last = b"."
    except MemoryError:
        last = b"m"
    except Exception as error:  # a hostile file can make a library raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        last = b"!" + reason[:_REASON].encode("utf-8", errors="backslashreplace")
    answer.write(last + b"\n")
    answer.flush()
    # Skip interpreter shutdown, where a native library corrupted by a damaged file could crash.
    os._exit(0)


if __name__ == "__main__":
    # The parent starts Python without the working folder on its path, because modules there may come with the data.
    sys.path.append(str(Path(__file__).parents[2]))
    main(*sys.argv[1:])
