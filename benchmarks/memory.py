"""Peak memory of the process."""

import resource
import sys
from pathlib import Path

_UNIT = 2**20 if sys.platform == "darwin" else 2**10  # units of ru_maxrss per MiB


def peak() -> float:
    """Peak resident memory so far, in MiB.

    On Linux, ``ru_maxrss`` includes that of the parent process before exec; ``VmHWM`` does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _UNIT
