"""A long haul: does anything grow?

The smallest study runs again and again, from its deployment, on a worker and a Prefect server (SQLite) of their own, each time with
another seed. Beside it `mmer serve` answers questions, `mmer artifacts gc` collects, what is older than a few minutes is deleted
from the store, and the server cleans its database as docs/operations.md says, for which runs are made two hours older. Memory,
file handles, disk and rows of the database are sampled every few seconds. At the end come a table, a page with every sample,
and a JSON file. The exit code is 1 where something grows by more than is allowed, or something fails.
"""

import os
import sys
import tempfile
import time
from dataclasses import asdict
from json import dumps
from pathlib import Path

from cyclopts import App

from benchmarks.result import commit, rows_of
from benchmarks.result import write as write_result
from flows.output import say
from flows.terminal import say_table
from mmer_core.errors import MmerError
from tools.soak.hauling import Broken, hauling
from tools.soak.page import trends_table, write
from tools.soak.sampling import FIGURES, sampled
from tools.soak.trends import trends

app = App(name="soak", help=__doc__)


@app.default
def main(
    *,
    minutes: float = 60.0,
    seconds: float = 5.0,
    kept: float | None = None,
    every: float | None = None,
    questions: float = 2.0,
    out: Path = Path("soak"),
    json: Path | None = None,
) -> None:
    """Haul, and say what grew.

    Parameters
    ----------
    minutes:
        How long, after everything has been started and run once.
    seconds:
        Between two samples.
    kept:
        Minutes for which results and runs are kept; a tenth of all by default. The trend begins after as many, and a fifth of
        the time.
    every:
        Seconds from the start of one run to that of the next, so that as much is kept on a busy machine as on a quiet one; a
        thirtieth of all by default. Where a run takes longer, the next one follows at once.
    questions:
        To the service, in a second.
    out:
        Folder for the page and the JSON file.
    json:
        File for the table of trends, as benchmarks write theirs, for the documentation.
    """
    commit()  # kept from now on, as by benchmarks: the checkout may be at another in an hour
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # the haul reports a run that fails
    keep = minutes / 10 if kept is None else kept
    settled = (keep + minutes / 5) / 60
    with tempfile.TemporaryDirectory(prefix="mmer-soak-", ignore_cleanup_errors=True) as name:
        start = time.monotonic()
        try:
            with hauling(Path(name), keep, questions, gc_seconds=max(10.0, 6 * minutes / 10)) as haul:
                say(f"started, and run once, in {time.monotonic() - start:.0f} s", error=True)
                with sampled(haul.watched, seconds) as samples:
                    haul.go_on(time.monotonic() + 60 * minutes, 2 * minutes if every is None else every)
        except (Broken, MmerError) as broken:
            say(f"soak: {broken}", error=True)
            sys.exit(1)
    later = samples.since(settled)
    found = trends(FIGURES, later.hours, later.values)
    table = trends_table(found)
    sentence = (
        f"{haul.runs} runs, {haul.collections} collections and {haul.answers:,} answered questions in {samples.hours[-1] * 60:.0f} "
        f"minutes; {len(samples.hours)} samples, of which the trends have the last {len(later.hours)}."
    )
    out.mkdir(parents=True, exist_ok=True)
    write(out / "soak.html", sentence, found, samples, settled)
    rows = [asdict(one) | {"verdict": one.verdict} for one in found]
    everything = {"sentence": sentence, "troubles": haul.troubles, "trends": rows, "samples": asdict(samples)}
    (out / "soak.json").write_text(dumps(everything, indent=1) + "\n")
    if json is not None:
        counts = {"runs": haul.runs, "collections": haul.collections, "answered questions": haul.answers}
        write_result("soak", rows_of(table), {"minutes": round(samples.hours[-1] * 60, 1), **counts}, json)
    say_table(table.columns, table.texts())
    say(sentence, *haul.troubles, f"{out / 'soak.html'} shows every sample")
    grown = [one.figure.name for one in found if one.verdict == "grows"]
    if grown:
        say(f"grows by more than is allowed: {', '.join(grown)}")
    sys.exit(1 if grown or haul.troubles else 0)


if __name__ == "__main__":
    app()
