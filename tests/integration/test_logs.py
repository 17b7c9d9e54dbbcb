"""MMER_LOG: what happened, one JSON object a line."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from support.small_pipeline import start_mmer

from mmer_core.store import open_store

pytestmark = pytest.mark.integration


def logged(tmp_path: Path, *arguments: object, form: str = "json") -> tuple[int, list[str]]:
    """Exit code and lines of a command whose standard output is one word."""
    output = tmp_path / "output"
    output.unlink(missing_ok=True)
    place = ["--store", str(tmp_path / "store"), "--work", str(tmp_path / "work")]
    process = start_mmer([*map(str, arguments), *place], output, {"MMER_LOG": form})
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode, output.read_text().splitlines()


def test_every_step_is_a_line_for_machines(tmp_path: Path) -> None:
    command = ["ingest", "flickr8k", "--synthetic.images", 30, "--context-size", 32]
    code, lines = logged(tmp_path, *command)
    assert code == 0, lines
    records: list[dict[str, Any]] = [json.loads(line) for line in lines if line.startswith("{")]
    assert len({record["run"] for record in records}) == 1
    assert all({"time", "level", "message"} <= record.keys() for record in records)

    store = open_store(str(tmp_path / "store"))
    made = {record["artifact"]: record for record in records if record.get("reused") is False}
    assert made.keys() == {str(key) for key in store.keys()}
    (prepared,) = store.list("prepared")
    record = made[str(prepared.key)]
    assert record["stage"] == "prepared"
    assert record["bytes_stored"] == sum(entry.size for entry in prepared.files)
    assert prepared.usage is not None
    assert record["usage"]["seconds"].keys() >= prepared.usage.seconds.keys()

    with (store.fetch(prepared.key) / "quarantine.csv").open(newline="") as file:
        refused = [(row["Split"], row["Id"], row["Reason"]) for row in csv.DictReader(file)]
    assert refused
    refusals = [record for record in records if "sample" in record]
    assert [(one["split"], one["sample"], one["reason"]) for one in refusals] == refused

    _, again = logged(tmp_path, *command)
    found = [json.loads(line) for line in again if line.startswith("{")]
    assert {one["artifact"] for one in found} == made.keys()
    assert all(one["reused"] for one in found)
    assert found[0]["run"] != records[0]["run"]


def test_an_error_is_a_line_too(tmp_path: Path) -> None:
    code, lines = logged(tmp_path, "ingest", "flickr8k", "--root", tmp_path / "gone")
    assert code == 1
    last = json.loads(lines[-1])
    assert last["level"] == "error"
    assert last["exit_code"] == 1
    assert "gone does not exist" in last["message"]


def test_a_form_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    code, (line,) = logged(tmp_path, "artifacts", "ls", form="xml")
    assert code == 1
    assert line == "mmer: MMER_LOG is 'xml': set it to json or text, or leave it out"
