"""`mmer artifacts` on the small study."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.small_pipeline import Study, created

pytestmark = pytest.mark.integration


def test_lineage_goes_back_to_the_raw_data(study: Study, mmer: Callable) -> None:
    tree = mmer("artifacts", "lineage", "report", *study.flags()).out
    assert tree.startswith(str(study.report))
    for kind in ("model", "prepared", "features", "robustness"):
        assert all(str(key) in tree for key in created(study.store) if key.kind == kind)
    assert "raw: " in tree
    assert mmer("artifacts", "lineage", "report", "--as", "mermaid", *study.flags()).out.startswith(
        "graph LR"
    )
    assert mmer("artifacts", "lineage", "report", "--as", "dot", *study.flags()).out.startswith("digraph")


@pytest.fixture
def place(tmp_path: Path, mmer: Callable) -> list[object]:
    """Flags of a store with one prepared dataset and its card."""
    where: list[object] = ["--store", tmp_path / "store", "--work", tmp_path / "work"]
    made = mmer("ingest", "--dataset", "flickr8k", "--synthetic.images", 30, "--context-size", 32, *where)
    assert made.code == 0, made.err
    return where


def test_what_is_deleted_frees_its_space_later(place: list[object], mmer: Callable) -> None:
    assert "prepared/" in mmer("artifacts", "delete", "prepared", "--yes", *place).out
    assert mmer("artifacts", "gc", *place).out == "0.0 MB freed\n"
    freed = mmer("artifacts", "gc", "--older-than", "0", *place).out
    assert float(freed.split()[0]) > 0
    answer = mmer("artifacts", "ls", "prepared", *place)
    assert answer.code == 1
    assert "has no artifact of the kind 'prepared'; it has dataset-card" in answer.err
    assert mmer("artifacts", "verify", *place).code == 0


def test_what_a_short_key_stands_for_is_asked_before_it_is_deleted(
    place: list[object], mmer: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = mmer("artifacts", "ls", "prepared", *place).out.splitlines()[1].split()[0]
    for short in ("prepared", key[:-8]):
        answer = mmer("artifacts", "delete", short, *place)  # where nobody can be asked
        assert (answer.code, answer.out) == (1, "")
        assert key in answer.err
        assert "--yes" in answer.err
    user, terminal = os.openpty()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        for said, kept in ((b"\n", True), (b"no\n", True), (b"\x04", True), (b"y\n", False)):
            os.write(user, said)
            answer = mmer("artifacts", "delete", "prepared", *place)
            assert f"delete {key}? [y/N]" in answer.err
            assert ("is kept" in answer.out) == kept
    os.close(user)
    assert mmer("artifacts", "show", key, *place).code == 1


@pytest.mark.parametrize(
    "command",
    [
        ["artifacts", "ls"],
        ["artifacts", "ls", "model"],
        ["artifacts", "show", "model"],
        ["artifacts", "fetch", "model/0123"],
        ["artifacts", "verify"],
        ["artifacts", "verify", "model"],
        ["artifacts", "gc"],
        ["artifacts", "delete", "model"],
        ["artifacts", "lineage", "report"],
        ["search", "dogs"],
        ["serve", "--port", "0"],
        ["update-index", "--delete", "a"],
        ["report"],
        ["recompute"],
        ["card"],
        ["export", "--to", "exported"],
        ["evaluate"],
        ["robustness", "--trained", "model"],
    ],
    ids=" ".join,
)
def test_a_store_that_is_not_there(command: list[str], mmer: Callable, tmp_path: Path) -> None:
    answer = mmer(*command, "--store", tmp_path / "store", "--work", tmp_path / "work")
    assert (answer.code, answer.out) == (1, "")
    assert "there is no store at file://" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "flags",
    [
        ["artifacts", "gc", "--older-than", "-1"],
        ["artifacts", "gc", "--older-than", "nan"],
        ["search", "dogs", "--k", "0"],
        ["serve", "--port", "65536"],
        ["serve", "--port", "-1"],
        ["up", "--port", "0"],
        ["up", "--limit", "0"],
        ["deploy", "--gpus", "0"],
        ["predict", "photo.jpg", "--detector-threshold", "nan"],
        ["attack", "photo.jpg", "--map-stride", "-1"],
        ["train", "--training.learning-rate", "inf"],
        ["train", "--training.weight-decay", "nan"],
        ["ingest", "--workers", "-1"],
    ],
    ids=" ".join,
)
def test_numbers_that_cannot_work(flags: list[str], mmer: Callable) -> None:
    answer = mmer(*flags)
    assert (answer.code, answer.out) == (1, "")
    assert flags[-2] in answer.err
    assert len(answer.err.splitlines()) == 1
