"""Resource limits of a child process, set by the child itself before it opens an external file."""

import resource
import signal


def confine(memory: int) -> None:
    """Limit the memory of this process, and leave Ctrl-C to the parent.

    Args:
        memory: Bytes of private memory (``RLIMIT_DATA``: heap and anonymous maps; memory shared with the parent does
            not count). An allocation beyond it fails: `MemoryError` in Python, an error or the end of the process in
            native code. Systems without this limit (macOS) ignore it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = memory if most == resource.RLIM_INFINITY else min(memory, most)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
    # A crash is expected here and reported by the parent; a core dump would only fill the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_after(seconds: float) -> None:
    """End this process after this many seconds, even inside native code; 0 cancels the timer.

    The timer belongs to the child, so the child also ends if its parent was killed.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
