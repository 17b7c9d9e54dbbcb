"""What a child process may use, set by the child itself before it opens anything from outside."""

import resource
import signal


def confine(memory: int) -> None:
    """Bound the memory of this process, and let Ctrl-C be the parent's affair.

    Args:
        memory: Bytes of private memory (``RLIMIT_DATA``: heap and anonymous maps; what is shared with the parent does
            not count). An allocation beyond it fails: `MemoryError` in Python, an error or the end of the process in
            native code. Systems without this limit (macOS) ignore it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = memory if most == resource.RLIM_INFINITY else min(memory, most)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
    # A crash is expected here, and the parent tells of it; a core dump would only fill the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_after(seconds: float) -> None:
    """End this process after so many seconds from now, also within native code; 0 calls it off.

    The child's own clock, so that it ends when its parent was killed, too.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
