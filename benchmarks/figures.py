"""The tables of figures in the documentation, made of what the benchmarks wrote.

    python -m benchmarks.ingest --flickr8k DIR --json benchmarks/results/ingest.json
    python -m benchmarks.figures            # writes the tables into the pages
    python -m benchmarks.figures --check    # only says which pages would change

A page has a table between ``<!-- figures: NAME -->`` and ``<!-- end of figures -->``: the rows of
``benchmarks/results/NAME.json``; of ``NAME | COLUMN | COLUMN``, some columns of them; of ``NAME ratios``, what was compared there;
of ``speed``, the summary of all. Below each stand the processor and the commit.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cyclopts import App

from benchmarks.result import figure, run_app
from flows.output import say

app = App(name="benchmarks.figures", help=__doc__)

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
_BLOCK = re.compile(r"(<!-- figures: (.+?) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


@dataclass(frozen=True)
class Result:
    """What one benchmark wrote, by `benchmarks.result.finish`.

    Attributes:
        machine: Processor, cores and accelerator.
        commit: The commit that was measured.
        rows: Of its table, by column.
        ratios: What was compared.
    """

    name: str
    machine: str
    commit: str
    rows: Sequence[Mapping[str, Any]] = ()
    ratios: Mapping[str, float] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """Where and of what the figures are."""
        return f"Machine: {self.machine}; commit {self.commit}"


@dataclass(frozen=True)
class Line:
    """A line of the summary: what, beside what, and how many times as fast.

    Attributes:
        ratios: Each by parts of its name that no other ratio has all of; the first one is foremost.
    """

    what: str
    beside: str
    result: str
    ratios: tuple[tuple[str, ...], ...]
    command: str


_INGEST = "`python -m benchmarks.ingest --flickr8k data/flickr8k`"
_RETRIEVAL = "`python -m benchmarks.retrieval --flickr8k data/flickr8k`"


def _sizes(name: str, loop: str = "the loop") -> tuple[tuple[str, ...], ...]:
    return tuple((f"{name}: times as fast as {loop}, {photos} photos",) for photos in (2000, 500))


def _searches(engine: str) -> tuple[tuple[str, ...], ...]:
    return tuple((how, f"mmer / {engine}") for how in ("1 by 1", "batch, 2 threads"))


SUMMARY = (
    Line(
        "ingestion of Flickr8k, 2,000 photos (500)",
        "a single loop that reads a photo for every caption",
        "ingest",
        _sizes("flickr8k, mmer"),
        _INGEST,
    ),
    Line(
        "ingestion of EMOTIC, 2,000 photos (500), `mat2py`: the loop's bytes",
        "a single loop that reads a photo for every person",
        "ingest",
        _sizes("emotic, mmer, protocol mat2py"),
        "the same",
    ),
    Line(
        "the same, `corrected`: resized with antialiasing",
        "the same loop with antialiasing",
        "ingest",
        _sizes("emotic, mmer, protocol corrected", "the antialiased loop"),
        "the same",
    ),
    Line(
        "queries of a pixel attack a CPU-second, K = 1 (3, 5, 20), every one exact in float32",
        "the fastest of ART's PixelAttack and torchattacks' OnePixel and Pixle",
        "attack",
        tuple((f"K = {k}: mmer / fastest other library",) for k in (1, 3, 5, 20)),
        "`python -m benchmarks.attack`",
    ),
    Line(
        "feature-collision poisons in batches of 64, images of 64 x 64 (128 x 128, 224 x 224)",
        "a loop that crafts one at a time and encodes its target at every step",
        "poison",
        tuple((f"{side} x {side}: loop / mmer, batch 64",) for side in (64, 128, 224)),
        "`python -m benchmarks.poison`",
    ),
    Line(
        "an epoch of training, from the second on",
        "the notebooks' loop, which runs the frozen encoders in every epoch",
        "training",
        (("from the second epoch on",),),
        "`python -m benchmarks.training`",
    ),
    Line(
        "one question at a time to an index of 1,000,000 vectors, recall@10 at least 0.95 (in batches, two threads)",
        "hnswlib",
        "retrieval",
        _searches("hnswlib"),
        f"{_RETRIEVAL}; [more](growth.md)",
    ),
    Line("the same", "autofaiss", "retrieval", _searches("autofaiss"), "the same"),
    Line("the same", "FAISS Flat, whose recall is 1", "retrieval", _searches("faiss Flat"), "the same"),
)


@app.default
def main(*, check: bool = False) -> None:
    """Write the tables into README.md and docs.

    Parameters
    ----------
    check:
        Write nothing; the exit code is 1 if a page would change.
    """
    changed = [path for path in pages() if path.read_text("utf-8") != filled(path.read_text("utf-8"))]
    for path in changed:
        if not check:
            path.write_text(filled(path.read_text("utf-8")), "utf-8")
        say(f"{path.relative_to(ROOT)} {'would be' if check else 'is'} written anew")
    if check and changed:
        raise SystemExit(1)


def pages() -> list[Path]:
    """The pages that may have tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def names(page: str) -> list[str]:
    """The tables that a page asks for."""
    return [name for _, name, _ in _BLOCK.findall(page)]


def filled(page: str) -> str:
    """A page with its tables made anew."""
    return _BLOCK.sub(lambda block: f"{block[1]}{table(block[2])}\n{block[3]}", page)


def table(name: str) -> str:
    """A table by the name that a page gives it, and below it where its figures are from."""
    if name == "speed":
        return _summary()
    name, *columns = (part.strip() for part in name.split("|"))
    stem, _, part = name.partition(" ")
    result = read(stem)
    rows = result.rows if not part else [{"": what, "value": value} for what, value in result.ratios.items()]
    if columns:  # rows that differ in others alone are shown once
        rows = [
            dict(each) for each in dict.fromkeys(tuple((one, row[one]) for one in columns) for row in rows)
        ]
    return f"{_markdown(rows)}\n\n{result.origin}."


@cache
def read(name: str) -> Result:
    """A benchmark's result that is kept with the documentation."""
    return Result(**json.loads((RESULTS / f"{name}.json").read_text("utf-8")))


def _summary() -> str:
    rows = []
    for line in SUMMARY:
        first, *others = (_times(_ratio(read(line.result), parts)) for parts in line.ratios)
        rows.append(
            {
                "what": line.what,
                "beside": line.beside,
                "times as fast": f"{first} ({', '.join(others)})" if others else first,
                "processor": read(line.result).machine.partition(", torch")[0],
                "command": line.command,
            }
        )
    return _markdown(rows)


def _ratio(result: Result, parts: tuple[str, ...]) -> float:
    found = [ratio for name, ratio in result.ratios.items() if all(part in name for part in parts)]
    if len(found) != 1:
        raise SystemExit(
            f"{result.name}.json has {len(found)} ratios named {' … '.join(parts)!r}, not one: measure it anew"
        )
    return found[0]


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 30 else f"{ratio:.0f}"


def _markdown(rows: Iterable[Mapping[str, Any]]) -> str:
    lines = [[*map(figure, row.values())] for row in rows]
    head = list(next(iter(rows)))
    return "\n".join(_line(cells) for cells in (head, ["---"] * len(head), *lines))


def _line(cells: Sequence[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


if __name__ == "__main__":
    run_app(app)
