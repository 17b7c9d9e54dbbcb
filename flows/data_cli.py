"""`mmer data`: check a raw dataset before using it."""

import re
import tempfile
from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import App, Parameter

from flows.dataset_output import say_contents, say_encodings, say_faults
from flows.output import say
from flows.parameters import Flat, arrange
from flows.terminal import progress_bars
from mmer_core.config import IngestJob
from mmer_core.datasets.check import LEAKAGE
from mmer_core.datasets.check import check as check_dataset
from tasks.progress import progress_for

app = App(name="data")
arrange(IngestJob)


@app.command
def check(
    job: Annotated[IngestJob, Flat] = IngestJob(),
    *,
    all_: Annotated[
        bool, Parameter(name="--all", help="List every fault, instead of the first of each kind.")
    ] = False,
) -> None:
    """Say what a dataset is taken for, and everything that is wrong with it; exit code 1 if anything is.

    Takes the flags of `mmer ingest`, decodes every image, and stores nothing.
    """
    with tempfile.TemporaryDirectory() as scratch, progress_bars(job.runtime.quiet):
        checked = check_dataset(
            job.dataset, Path(scratch), workers=job.runtime.workers, progress=progress_for("check")
        )
    if raw := checked.raw:
        say(f"{raw.name}: {raw.protocol}")
        say_encodings(checked.encodings)
        say_contents(raw.task, checked.samples)
    listed = say_faults(checked.faults, every=all_)
    say(f"{checked.sound} of {checked.inputs} samples are sound" + (f"; {listed}" if listed else ""))
    if (
        raw
        and "splits generated" in raw.protocol
        and any(fault.reason == LEAKAGE for fault in checked.faults)
    ):
        say("mmer init makes splits that keep near-identical pictures together")
    if raw and not checked.faults and job.dataset.dataset == "manifest":
        place = quote(str(job.dataset.root))
        say(f"next: mmer pipeline --datasets.{re.sub(r'[^A-Za-z0-9_-]+', '-', raw.name)}.root {place}")
    if checked.faults:
        raise SystemExit(1)
