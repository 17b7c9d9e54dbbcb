"""Parts of artifacts: what is fetched, what is checked, and what stays where it is."""

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.store_helpers import KEY, RawStore, draft

from mmer_core.errors import ArtifactCorrupt
from mmer_core.store import Store, open_store, parts, pieces
from mmer_core.store.artifact import canonical_json
from mmer_core.store.manifest import Manifest
from mmer_core.store.pieces import Digests, runs
from mmer_core.usage import Meter

SMALL = 4096


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE", SMALL)


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (300, 10, 30), dtype=np.uint8)  # 22 pieces


@pytest.fixture
def folder(tmp_path: Path, rows: np.ndarray) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    np.save(made / "rows.npy", rows)
    np.save(made / "few.npy", rows[:3])
    (made / "table.csv").write_text("a,b\n1,2\n")
    return made


def fetched(read) -> int:
    with Meter() as meter:
        read()
    return meter.fetched


@given(size=st.integers(0, 70), piece=st.integers(1, 9), most=st.integers(1, 9))
def test_pieces_have_the_digests_of_their_bytes(tmp_path_factory, size, piece, most):
    data = bytes(range(size))
    path = tmp_path_factory.mktemp("file") / "x"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as beside:
        patch.setattr(pieces, "PIECE", piece)
        patch.setattr(pieces, "MOST", most)
        found = Digests.of(path, beside)
    assert found.size == size
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    if found.pieces is None:
        assert size <= piece * 2 ** max(0, size).bit_length()
        return
    of = found.pieces.size
    assert of % piece == 0
    assert of * most >= size > of
    cut = [data[start : start + of] for start in range(0, size, of)]
    assert [found.pieces.digest(n) for n in range(found.pieces.count)] == [
        hashlib.sha256(one).hexdigest() for one in cut
    ]
    for start in range(size):
        for stop in range(start, size + 1):
            held = found.pieces.of_bytes(start, stop)
            assert b"".join(cut[n] for n in held).find(data[start:stop]) == (
                start - held.start * of if held else 0
            )


@given(st.lists(st.integers(0, 30), unique=True).map(sorted), st.integers(1, 5))
def test_runs_are_all_numbers_in_ranges(numbers, most):
    found = list(runs(numbers, most))
    assert [number for run in found for number in run] == numbers
    assert all(len(run) <= most for run in found)


@settings(max_examples=60)
@given(st.data())
def test_any_index_gives_what_numpy_gives(data):
    array = np.arange(60).reshape(20, 3)
    have: set[int] = set()
    stored = parts.StoredArray(array, 100, lambda start, stop: have.update(range(start, stop)))
    index = data.draw(
        st.one_of(
            st.integers(-20, 19),
            st.slices(20),
            st.lists(st.integers(-20, 19)).map(lambda rows: np.array(rows, dtype=np.int64)),
            st.lists(st.booleans(), min_size=20, max_size=20).map(np.array),
            st.tuples(st.integers(0, 19), st.integers(0, 2)),
            st.tuples(st.slices(20), st.integers(0, 2)),
        )
    )
    assert np.array_equal(stored[index], array[index])
    chosen = np.arange(20)[index[0] if isinstance(index, tuple) else index]
    assert have == {100 + 24 * int(row) + byte for row in np.atleast_1d(chosen) for byte in range(24)}


@pytest.mark.integration
def test_of_an_array_in_s3_only_the_pieces_of_the_rows_are_fetched_and_once_a_machine(
    remote_url: str, folder: Path, rows: np.ndarray, tmp_path: Path
):
    open_store(remote_url, tmp_path / "maker").publish(folder, draft())
    store = open_store(remote_url, tmp_path / "cache")
    asked = store.parts(KEY)
    assert asked.has("rows.npy")
    assert not asked.has("other.npy")
    array = asked.array("rows.npy")
    assert array.shape == rows.shape
    assert fetched(lambda: np.testing.assert_array_equal(array[100:120], rows[100:120])) <= 6000 + 2 * SMALL
    assert fetched(lambda: array[[105, 119]]) == 0
    again = open_store(remote_url, tmp_path / "cache").parts(KEY).array("rows.npy")
    assert fetched(lambda: np.testing.assert_array_equal(again[110], rows[110])) == 0
    assert fetched(lambda: np.testing.assert_array_equal(again[[0, 299]], rows[[0, 299]])) <= 2 * SMALL
    assert asked.path("table.csv").read_text() == "a,b\n1,2\n"
    assert np.array_equal(asked.array("few.npy"), rows[:3])
    assert np.array_equal(np.asarray(again), rows)
    assert asked.bytes_of("rows.npy")[-300:].tobytes() == rows[-1].tobytes()
    held = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.npy"))
    assert held == sum((folder / name).stat().st_size for name in ("rows.npy", "few.npy"))


@pytest.mark.integration
def test_a_piece_that_was_harmed_on_this_machine_is_fetched_again(
    s3_url: str, folder: Path, rows: np.ndarray, tmp_path: Path
):
    open_store(s3_url, tmp_path / "maker").publish(folder, draft())
    here = open_store(s3_url, tmp_path / "cache")
    here.parts(KEY).array("rows.npy")[:]
    kept = next((tmp_path / "cache").rglob("pieces/rows.npy"))
    with kept.open("r+b") as file:
        file.seek(50_000)
        file.write(b"harmed")
    array = here.parts(KEY).array("rows.npy")
    assert fetched(lambda: np.testing.assert_array_equal(array[:], rows)) == SMALL


def test_an_array_of_a_store_on_disk_is_mapped_where_it_is_and_checked_where_it_is_read(
    folder: Path, rows: np.ndarray, tmp_path: Path
):
    store = open_store(str(tmp_path / "store"))
    entry = next(one for one in store.publish(folder, draft()).files if one.path == "rows.npy")
    blob = tmp_path / "store" / "blobs" / entry.sha256[:2] / entry.sha256
    array = store.parts(KEY).array("rows.npy")
    assert np.array_equal(array[10:20], rows[10:20])
    assert array[10:20].base is not None  # a view of what is mapped
    assert not [path for path in (tmp_path / "store" / "checkout").glob("features/**/*") if path.is_file()]
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(70_000)
        file.write(b"harmed")
    array = store.parts(KEY).array("rows.npy")
    assert np.array_equal(array[10:20], rows[10:20])
    with pytest.raises(ArtifactCorrupt, match=r"rows\.npy of .* is damaged"):
        array[230:240]


def test_an_artifact_of_an_older_layout_is_read_whole(folder: Path, rows: np.ndarray, tmp_path: Path):
    store = open_store(str(tmp_path / "store"))
    manifest = store.publish(folder, draft())
    fields = json.loads(manifest.to_bytes())
    for entry in fields["files"]:
        del entry["pieces"]
    fields["schema_version"] = 5
    del fields["checksum"]
    fields["checksum"] = hashlib.sha256(canonical_json(fields)).hexdigest()
    RawStore(str(tmp_path / "store"), None).write(
        f"artifacts/{KEY}/manifest.json", json.dumps(fields).encode()
    )
    old = store.parts(KEY)
    assert old.manifest.content == manifest.content
    assert all(entry.pieces is None for entry in old.manifest.files)
    assert np.array_equal(old.array("rows.npy")[5], rows[5])
    assert (store.fetch(KEY) / "rows.npy").read_bytes() == (folder / "rows.npy").read_bytes()


def test_a_manifest_whose_pieces_are_not_the_file_s_is_refused(folder: Path, tmp_path: Path):
    manifest = open_store(str(tmp_path / "store")).publish(folder, draft())
    fields = manifest.model_dump(mode="json")
    entry = next(one for one in fields["files"] if one["pieces"])
    entry["pieces"]["sha256"] = entry["pieces"]["sha256"][64:]
    with pytest.raises(ValueError, match="pieces, which are not its own"):
        Manifest.model_validate(fields)


MACHINE = """
import sys
from mmer_core.config import EncoderConfig, RuntimeConfig
from mmer_core.encoders.features import FeatureShard
from mmer_core.stages import Context
from mmer_core.stages.features import encode_shard
from mmer_core.store import ArtifactKey

url, work, key, *starts = sys.argv[1:]
context = Context(RuntimeConfig(store=url, work=work, device="cpu", workers=1))
encoders = EncoderConfig(image="packaged:efficientnet_lite0", image_size=32)
for start in map(int, starts):
    shard = FeatureShard("train", "context", start, start + 50)
    encode_shard(context, encoders, ArtifactKey.parse(key), shard)
"""


@pytest.mark.integration
def test_shards_on_two_machines_fetch_the_data_once(s3_url: str, tmp_path: Path, monkeypatch):
    """Two processes with a cache each take turns, so that each boundary between shards is one between machines."""
    from mmer_core.datasets.prepared import CARD_FILE, DatasetSummary

    monkeypatch.setattr(pieces, "PIECE", 1 << 20)  # as it is
    count, made = 400, tmp_path / "made"
    made.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)
    np.save(made / "train_context_arr.npy", images)
    np.save(made / "val_context_arr.npy", images[:100])
    DatasetSummary(
        name="noise", task="retrieval", labels=(), counts={"train": count, "val": 100}, texts={}, quarantined={},
        inputs=count + 100, protocol="p", synthetic=True,
    ).write(made / CARD_FILE)  # fmt: skip
    store = open_store(s3_url, tmp_path / "maker")
    prepared = store.publish(made, draft().model_copy(update={"kind": "prepared"})).key
    starts = range(0, count, 50)
    machines = [
        subprocess.Popen(
            [sys.executable, "-c", MACHINE, s3_url, tmp_path / name, str(prepared), *map(str, own)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        for name, own in (("one", starts[::2]), ("two", starts[1::2]))
    ]
    assert [machine.wait() for machine in machines] == [0, 0]
    shards = list(store.list("feature-shard"))
    assert len(shards) == len(starts)
    each = [shard.usage.bytes_fetched for shard in shards]
    assert images.nbytes <= sum(each) <= 1.2 * images.nbytes
    assert max(each) <= 1.5 * images.nbytes / len(starts)
    assert_same(store, shards, images)


def assert_same(store: Store, shards: list[Manifest], images: np.ndarray) -> None:
    """The features are those of the images in memory."""
    from mmer_core.encoders import load_image_encoder

    encoder = load_image_encoder("packaged:efficientnet_lite0", 32)
    for shard in (shards[0], shards[-1]):
        start = shard.config["shard"]["start"]
        expected = encoder.encode(encoder.resize(images[start : start + 50])).numpy()
        found = np.load(store.fetch(shard.key) / "train_context.npy")
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
