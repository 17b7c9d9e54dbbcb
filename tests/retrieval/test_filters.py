"""Filters over the side table, against the same conditions in plain Python, and index folders of earlier versions."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_retrieval_index import IDS, IMAGES, QUERIES, indexed

from mmer_core.errors import ConfigError
from mmer_core.retrieval import Filter, RetrievalIndex
from mmer_core.retrieval.filters import choices
from mmer_core.retrieval.side_table import SideTable, write_table

SPLITS, LABELS = ("train", "val", "test"), ("Anger", "Peace", "Joy")
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "split": st.sampled_from(SPLITS),
            "labels": st.lists(st.sampled_from(LABELS), unique=True),
            "valence": st.none() | st.integers(1, 10).map(float),
        }
    ),
    min_size=1,
    max_size=12,
)


def table(folder: Path, records: list[dict]) -> SideTable:
    columns = {name: [record[name] for record in records] for name in ("split", "labels", "valence")}
    ids = [str(number) for number in range(len(records))]
    write_table(folder / "images.parquet", {"id": ids, "caption": ids, **columns})
    return SideTable(folder / "images.parquet")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=RECORDS,
    splits=st.lists(st.sampled_from(SPLITS), unique=True),
    labels=st.lists(st.sampled_from(LABELS), unique=True),
    interval=st.none() | st.tuples(st.integers(1, 10), st.integers(1, 10)).map(sorted),
    live=st.none() | st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_a_mask_is_every_condition_by_itself(tmp_path, records, splits, labels, interval, live):
    made = table(tmp_path, records)
    there = None if live is None else np.array(live[: len(records)])
    left = [record for record, kept in zip(records, live or [True] * 12, strict=False) if kept]
    assert choices(made, there) == {
        "splits": sorted({record["split"] for record in left}),
        "labels": sorted({label for record in left for label in record["labels"]}),
        "ratings": ["valence"] if any(record["valence"] is not None for record in left) else [],
    }
    asked = Filter(splits, labels, {} if interval is None else {"valence": tuple(interval)})
    unknown = not {*splits} <= {record["split"] for record in left}
    unknown |= not {*labels} <= {label for record in left for label in record["labels"]}
    unknown |= interval is not None and all(record["valence"] is None for record in left)
    unknown &= bool(left)
    if unknown:
        with pytest.raises(ConfigError, match=r"the index has no split|nothing in the index has"):
            asked.mask(made, there)
        return
    expected = [
        (not splits or record["split"] in splits)
        and all(label in record["labels"] for label in labels)
        and (
            interval is None
            or (record["valence"] is not None and interval[0] <= record["valence"] <= interval[1])
        )
        for record in records
    ]
    if there is not None:
        expected = list(np.logical_and(expected, there))
    assert asked.mask(made, there).tolist() == expected
    assert bool(asked) == bool(splits or labels or interval)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Filter(ratings={"joy": (1, 2)}), "'joy' is not a rating; filter on arousal, dominance, valence"),
        (Filter(ratings={"valence": (7, 3)}), "valence from 7 to 3 is empty"),
        (Filter(splits=["dev"]), "no split 'dev'; it has val"),
        (Filter(labels=["Fear"]), "label 'Fear'; it has Joy"),
    ],
)
def test_what_no_row_can_meet_is_told(tmp_path, asked, message):
    with pytest.raises(ConfigError, match=message):
        asked.mask(table(tmp_path, [{"split": "val", "labels": ["Joy"], "valence": 5.0}]))


def test_an_index_of_an_earlier_version_is_searched_but_not_filtered(tmp_path):
    """It has ids and captions only, and nothing that says how hard to look."""
    expected = indexed(tmp_path).search(QUERIES, "image", 3)
    (tmp_path / "search.json").unlink()
    for name in ("images", "texts"):
        old = pq.read_table(tmp_path / f"{name}.parquet", columns=["id", "caption"])
        pq.write_table(pa.table(old), tmp_path / f"{name}.parquet")
    index = RetrievalIndex(tmp_path)
    found = index.search(QUERIES, "image", 3)
    assert [[(hit.id, hit.caption, hit.score) for hit in hits] for hits in found] == [
        [(hit.id, hit.caption, hit.score) for hit in hits] for hits in expected
    ]
    np.testing.assert_array_equal(index.embedding_of("image", IDS[2])[0], IMAGES[2])
    with pytest.raises(ConfigError, match="the index holds no split: build it again with mmer index"):
        index.search(QUERIES, "image", 3, Filter(splits=["val"]))
