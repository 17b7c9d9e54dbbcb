"""`mmer data`: check a raw dataset before using it."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated

from cyclopts import App

from flows.output import say
from flows.parameters import Flat, arrange
from flows.terminal import progress_bars, say_table
from mmer_core.config import IngestJob
from mmer_core.datasets.check import check as check_dataset
from tasks.progress import progress_for

app = App(name="data")
arrange(IngestJob)


@app.command
def check(job: Annotated[IngestJob, Flat] = IngestJob()) -> None:
    """List everything that is wrong with a dataset; exit code 1 if anything is.

    Takes the flags of `mmer ingest`, decodes every image, and stores nothing.
    """
    with tempfile.TemporaryDirectory() as scratch, progress_bars(job.runtime.quiet):
        checked = check_dataset(
            job.dataset, Path(scratch), workers=job.runtime.workers, progress=progress_for("check")
        )
    if checked.faults:
        columns = ("split", "id", "reason", "what and where")
        say_table(columns, [(one.split, one.id, one.reason, one.detail) for one in checked.faults])
    counts = Counter(fault.reason for fault in checked.faults)
    listed = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    say(f"{checked.sound} of {checked.inputs} samples are sound" + (f"; {listed}" if listed else ""))
    if checked.faults:
        raise SystemExit(1)
