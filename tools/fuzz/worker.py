"""The process that reads: ``python -m tools.fuzz.worker``, a JSON line of reader and folder in, a line of the outcome out."""

import json
import os
import resource
import sys
import traceback
import warnings
from pathlib import Path

MEMORY = 2**33
"""Private memory of a worker in bytes, behind which it fails instead of taking the machine."""


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from tools.fuzz.readers import READERS, REFUSALS

    warnings.simplefilter("ignore")
    for line in sys.stdin:
        name, folder = json.loads(line)
        _forget_peak()
        before = _memory("VmRSS")
        outcome, detail = "accepted", ""
        try:
            READERS[name](Path(folder))
        except REFUSALS as error:
            outcome, detail = "refused", str(error)
        except BaseException as error:
            outcome, detail = "raised", "".join(traceback.format_exception(error)[-3:])
        grown = max(0, _memory("VmHWM") - before)
        answers.write(json.dumps([outcome, detail, grown]) + "\n")
        answers.flush()


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _memory(field: str) -> int:
    """In bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


if __name__ == "__main__":
    main()
