"""`mmer artifacts` on the small study."""

from collections.abc import Callable

import pytest
from small_pipeline import Study, created

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


def test_what_is_deleted_frees_its_space_later(study: Study, mmer: Callable, tmp_path) -> None:
    where = ["--store", tmp_path / "store", "--work", tmp_path / "work"]
    made = mmer("ingest", "--dataset", "flickr8k", "--synthetic.images", 30, "--context-size", 32, *where)
    assert made.code == 0, made.err
    assert "prepared/" in mmer("artifacts", "delete", "prepared", *where).out
    assert mmer("artifacts", "gc", *where).out == "0.0 MB freed\n"
    freed = mmer("artifacts", "gc", "--older-than", "-1", *where).out
    assert float(freed.split()[0]) > 0
    assert "prepared/" not in mmer("artifacts", "ls", "prepared", *where).out
    assert mmer("artifacts", "verify", *where).code == 0
