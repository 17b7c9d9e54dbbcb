"""What was done, how long it took, and what was seen: a line at once, and a table at the end."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Table:
    """Rows in a file, since two processes write them, one after the other."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @contextmanager
    def row(self, what: str) -> Iterator[list[str]]:
        """Time what happens in the block, which says what it saw by appending to the list."""
        print(f"{what} ...", flush=True)
        seen: list[str] = []
        began = time.monotonic()
        try:
            yield seen
        except BaseException as error:
            seen.append(f"FAILED: {type(error).__name__}: {error}")
            raise
        finally:
            seconds = time.monotonic() - began
            with self.file.open("a") as file:
                print(json.dumps([what, seconds, "; ".join(seen)]), file=file)
            print(f"    {seconds:.1f} s  {'; '.join(seen)}", flush=True)

    def text(self) -> str:
        rows = [json.loads(line) for line in self.file.read_text().splitlines()]
        lines = ["| what | seconds | seen |", "|---|---|---|"]
        return "\n".join(
            [*lines, *(f"| {what} | {seconds:.1f} | {seen[:300]} |" for what, seconds, seen in rows)]
        )
