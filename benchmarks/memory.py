"""How much memory a process has taken."""

import resource
import sys
from pathlib import Path

_UNIT = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss, in a MiB


def peak() -> float:
    """Most resident memory so far, in MiB.

    Linux counts that of the process that started this one in ``ru_maxrss``, but not in ``VmHWM``.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _UNIT
