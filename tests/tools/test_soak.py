"""What `tools.soak` says of figures whose growth is known, and what it counts."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from benchmarks.result import rows_of
from tools.soak.page import trends_table, write
from tools.soak.sampling import FIGURES, Samples, Watched, bytes_in, rows, sampled
from tools.soak.trends import Bound, Figure, trend

HOURS = np.arange(0, 1, 5 / 3600)
FIGURE = Figure("memory", "MiB", Bound(10, 0.05))


def noisy(level: float, slope: float, noise: float, seed: int = 0) -> np.ndarray:
    """A level that rises by ``slope`` an hour, under a sawtooth such as runs make, and noise."""
    saw = noise * 5 * ((HOURS * 40) % 1)
    return level + slope * HOURS + saw + np.random.default_rng(seed).normal(0, noise, len(HOURS))


@pytest.mark.parametrize("slope", [30, 100, 500])
def test_what_grows_is_found_with_its_slope(slope: float) -> None:
    found = trend(FIGURE, HOURS, noisy(150, slope, 2))
    assert found.slope == pytest.approx(slope, abs=5)
    assert found.low < found.slope < found.high
    assert found.last - found.first == pytest.approx(slope * 2 / 3, abs=8)
    assert found.verdict == "grows"


@pytest.mark.parametrize("slope", [0, 2, -40])
def test_what_stays_within_its_bound_is_flat(slope: float) -> None:
    assert trend(FIGURE, HOURS, noisy(150, slope, 2)).verdict == "flat"


def test_a_bound_is_an_amount_or_a_share() -> None:
    values = noisy(2000, 60, 2)
    assert trend(FIGURE, HOURS, values).allowed == pytest.approx(0.05 * np.median(values[: len(values) // 3]))
    assert trend(FIGURE, HOURS, values).verdict == "flat"
    assert trend(FIGURE, HOURS, noisy(100, 60, 2)).verdict == "grows"


def test_noise_alone_grows_in_few_of_many_hauls() -> None:
    tight = Figure("memory", "MiB", Bound(0, 0))
    grown = sum(trend(tight, HOURS, noisy(150, 0, 5, seed)).verdict == "grows" for seed in range(100))
    assert grown <= 8


def test_a_few_minutes_leave_it_open() -> None:
    few = slice(0, 24)
    assert trend(FIGURE, HOURS[few], noisy(150, 0, 20)[few]).verdict == "open"
    with pytest.raises(ValueError, match="memory has 3 samples"):
        trend(FIGURE, HOURS[:3], HOURS[:3])


def test_what_never_changes_is_flat() -> None:
    found = trend(Figure("handles", "", Bound(3, 0.05)), HOURS, np.full(len(HOURS), 17.0))
    assert (found.slope, found.low, found.high, found.verdict) == (0, 0, 0, "flat")


def test_a_step_at_the_start_of_the_samples_is_no_growth() -> None:
    values = noisy(150, 0, 2)
    values[: len(values) // 10] -= 60
    assert trend(FIGURE, HOURS, values).verdict == "flat"


def test_disk_and_rows_are_counted(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one").write_bytes(bytes(100_000))
    os.link(tmp_path / "files" / "one", tmp_path / "files" / "again")
    assert 100_000 <= bytes_in(tmp_path / "files") < 120_000
    with closing(sqlite3.connect(tmp_path / "db")) as connection, connection:
        connection.execute("CREATE TABLE one (a)")
        connection.execute('CREATE TABLE "two words" (a)')
        connection.executemany("INSERT INTO one VALUES (?)", [(1,), (2,)])
    assert rows(tmp_path / "db") == {"one": 2, "two words": 0}


def test_this_process_is_sampled_and_shown(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "prefect.db")) as connection, connection:
        connection.execute("CREATE TABLE flow_run (a)")
    processes = dict.fromkeys(("server", "worker", "service", "loop"), os.getpid())
    place = Watched(processes, frozenset(processes), tmp_path, tmp_path, tmp_path / "prefect.db")
    with sampled(place, 0.01) as samples:
        while len(samples.hours) < 30:
            pass
    assert all(len(seen) == len(samples.hours) for seen in samples.values.values())
    assert min(samples.values["memory of the loop"]) > 10
    assert samples.values["rows of the database"][0] == 0
    later = samples.since(samples.hours[10])
    found = [trend(figure, later.hours, later.values[figure.name]) for figure in FIGURES]
    write(tmp_path / "soak.html", "30 samples.", found, samples, samples.hours[10])
    page = (tmp_path / "soak.html").read_text()
    assert page.count("<svg") == 1
    assert all(figure.name in page for figure in FIGURES)
    assert Samples().since(1).hours == []
    rows = rows_of(trends_table(found))
    assert [row["what"] for row in rows][:2] == ["memory of the server, MiB", "memory of the worker, MiB"]
    assert all(row["verdict"] == one.verdict for row, one in zip(rows, found, strict=True))
