"""Lineage: from an artifact back to the raw data."""

from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.store_helpers import draft, folder_with

from mmer_core.errors import ArtifactCorrupt, ArtifactNotFound
from mmer_core.store import ArtifactKey, Manifest, Store, open_store
from mmer_core.store.ancestry import Ancestry

PREPARED, FEATURES, MODEL = (ArtifactKey(kind, kind[:2] * 8) for kind in ("prepared", "features", "model"))
SHARDS = [ArtifactKey("feature-shard", f"{number:016x}") for number in range(7)]

SVG = "{http://www.w3.org/2000/svg}"


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


def drawn(store: Store, key: ArtifactKey) -> tuple[list[list[str]], list[ElementTree.Element], str]:
    """The lines of every box, the arrows, and the picture."""
    picture = Ancestry.of(store, key).svg()
    texts = [text.text or "" for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]
    arrows = [path for path in ElementTree.fromstring(picture).iter(f"{SVG}path") if path.get("marker-end")]
    return [texts[at : at + 2] for at in range(0, len(texts), 2)], arrows, picture


def test_the_picture_has_a_box_for_all_shards_and_no_arrow_that_others_imply(store: Store) -> None:
    boxes, arrows, _ = drawn(store, MODEL)
    assert sorted(title for title, _ in boxes) == [
        "feature-shard",
        "features",
        "model",
        "prepared",
        "raw data",
    ]
    notes = dict(boxes)
    assert notes["feature-shard"].startswith("× 7, 20")
    assert notes["model"].startswith(f"{MODEL.digest[:8]}, 20")
    assert notes["raw data"] == "emotic of 40 photos"
    # raw -> prepared -> shards -> features -> model: that the model has the prepared arrays too goes without saying.
    assert len(arrows) == 4


def test_no_two_boxes_of_a_picture_overlap(store: Store, tmp_path: Path) -> None:
    files = folder_with(tmp_path / "more", {"y": b""})
    made = {
        ArtifactKey("evaluation", "e" * 16): {"model": MODEL},
        ArtifactKey("index", "f" * 16): {"model": MODEL},
    }
    report = ArtifactKey("report", "9" * 16)
    inputs = {key.kind: key for key in made} | {"prepared": PREPARED, "card": ArtifactKey("card", "8" * 16)}
    made |= {inputs["card"]: {"prepared": PREPARED}, report: inputs}
    for key, sources in made.items():
        store.publish(files, draft(key, inputs=sources))
    _, _, picture = drawn(store, report)
    root = ElementTree.fromstring(picture)
    corners = [(float(box.get("x", -1)), float(box.get("y", -1))) for box in root.iter(f"{SVG}rect")][1:]
    assert len(corners) == 9
    for (x1, y1), (x2, y2) in combinations(corners, 2):
        assert abs(x1 - x2) >= 152 or abs(y1 - y2) >= 46
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    assert all(0 < x <= width - 152 and 0 < y <= height - 46 for x, y in corners)


def test_the_picture_says_what_was_deleted(store: Store) -> None:
    store.delete(PREPARED)
    boxes, _, _ = drawn(store, MODEL)
    assert ["prepared", f"{PREPARED.digest[:8]}, deleted"] in boxes


@pytest.mark.parametrize("length", [1, 2, 9])
def test_artifacts_that_were_made_from_each_other_are_said_to_be_damaged(store: Store, length: int) -> None:
    ring = [ArtifactKey("index", f"{number:016x}") for number in range(length)]
    files = store.fetch(PREPARED)
    for place, key in enumerate(ring):
        store.publish(files, draft(key, inputs={"model": MODEL, "base": ring[place - 1]}))
    report = ArtifactKey("report", "9" * 16)
    store.publish(files, draft(report, inputs={"index": ring[0]}))
    with pytest.raises(ArtifactCorrupt, match=r"made from itself .*delete the damaged one"):
        Ancestry.of(store, report)


def test_thousands_of_versions_and_a_role_without_a_name_are_drawn() -> None:
    versions = [ArtifactKey("index", f"{number:016x}") for number in range(1500)]
    inputs = [{"": "raw"}, *({"": str(key)} for key in versions[:-1])]
    made = [Manifest.of(draft(key, inputs=from_), ()) for key, from_ in zip(versions, inputs, strict=True)]
    ancestry = Ancestry(str(versions[-1]), {str(one.key): one for one in made})
    assert ancestry.tree().count("└── : index/") == ancestry.dot().count(" -> ") - 1 == 1499
    assert ancestry.mermaid().count("-->") == ancestry.svg().count("marker-end") == 1500
