"""Lineage: from an artifact back to the raw data."""

from pathlib import Path

import pytest
from store_helpers import draft, folder_with

from mmer_core.errors import ArtifactNotFound
from mmer_core.store import ArtifactKey, Store, open_store
from mmer_core.store.ancestry import Ancestry

PREPARED, FEATURES, MODEL = (ArtifactKey(kind, kind[:2] * 8) for kind in ("prepared", "features", "model"))
SHARDS = [ArtifactKey("feature-shard", f"{number:016x}") for number in range(7)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """raw -> prepared -> 7 shards -> features -> model, which was made from the prepared arrays as well."""
    made = {
        PREPARED: {"raw": "emotic of 40 photos"},
        **{shard: {"prepared": PREPARED} for shard in SHARDS},
        FEATURES: {"prepared": PREPARED} | {f"shard{i:04d}": key for i, key in enumerate(SHARDS)},
        MODEL: {"prepared": PREPARED, "features": FEATURES},
    }
    store = open_store(str(tmp_path / "store"))
    folder = folder_with(tmp_path / "files", {"x": b""})
    for key, inputs in made.items():
        store.publish(folder, draft(key, inputs=inputs, wall_seconds=1.25))
    return store


def test_all_ancestors_are_found_once(store: Store) -> None:
    ancestry = Ancestry.of(store, MODEL)
    assert set(ancestry.manifests) == {str(key) for key in (PREPARED, FEATURES, MODEL, *SHARDS)}


def test_the_tree_tells_each_ancestor_once_and_counts_shards(store: Store) -> None:
    lines = Ancestry.of(store, MODEL).tree().splitlines()
    assert lines[0].startswith(f"{MODEL} (20")
    assert "1.2 s, mmer " in lines[0]
    assert lines[1].startswith(f"├── features: {FEATURES} (20")
    assert lines[2].startswith(f"│   ├── prepared: {PREPARED} (20")
    assert lines[3] == "│   │   └── raw: emotic of 40 photos (not in the store)"
    shards = [line.split("── ")[1].split(":")[0] for line in lines if "── shard0" in line]
    assert shards == ["shard0000", "shard0001", "shard0002"]
    assert lines[-2] == "│   └── 4 more of kind feature-shard"
    assert lines[-1] == f"└── prepared: {PREPARED} (see above)"


def test_what_was_deleted_is_said_to_be_missing(store: Store) -> None:
    store.delete(PREPARED)
    assert f"prepared: {PREPARED} (not in the store)" in Ancestry.of(store, MODEL).tree()
    store.delete(MODEL)
    with pytest.raises(ArtifactNotFound):
        Ancestry.of(store, MODEL)


def test_the_graphs_have_an_edge_for_every_input(store: Store) -> None:
    ancestry = Ancestry.of(store, MODEL)
    dot, mermaid = ancestry.dot(), ancestry.mermaid()
    # Of the features' inputs: the prepared arrays, three shards, and one node for the four others.
    assert dot.count(" -> ") == mermaid.count("-->") == 2 + 5 + 3 + 1
    assert f'"{FEATURES}" -> "{MODEL}" [label="features"]' in dot
    assert "graph LR" in mermaid
    assert mermaid.count('["') == dot.count("shape=box") == 1 + 1 + 1 + 3 + 1 + 1
