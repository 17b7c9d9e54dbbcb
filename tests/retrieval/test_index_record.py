"""Summaries of indexes, as this version writes them and as former ones did."""

import pytest

from mmer_core.errors import StoreError
from mmer_core.retrieval.record import IndexSummary
from mmer_core.store.artifact import plain

SIZES = {"family": "joint", "dataset": "Flickr8k", "split": "test", "images": 2, "texts": 9}
FLAT = {"factory": "Flat", "refine": 0, "bytes": 9, "parameter": None, "effort": None, "queries": 4}
SEARCH = {
    "image": FLAT | {"recall": 1.0, "reached": True, "median_ms": 0.1, "p95_ms": 0.2, "per_second": 9.0}
}
PROTOCOL = {"index": {"t2i_r1": 50.0}, "exact": {"t2i_r1": 60.0}, "lost": {"t2i_r1": 10.0}}
CHANGED = {
    "dropped": {"image": 1, "text": 5},
    "parts": [{"index": "index/a"}, {"index": "index-part/b", "images": 2, "texts": 9, "search": SEARCH}],
    "sources": [{"prepared": "prepared/a", "features": "features/a", "split": "all"}],
}


@pytest.mark.parametrize(
    ("former", "revision"),
    [
        (SIZES, 1),
        (SIZES | {"search": SEARCH, "protocol": PROTOCOL}, 1),
        (SIZES | CHANGED | {"version": 3, "shard_size": 7}, 3),
    ],
    ids=["before anything was measured", "built", "changed twice"],
)
def test_indexes_of_former_versions_are_read(former: dict[str, object], revision: int) -> None:
    """Their summaries, in the layouts that were published; what they did not say is empty."""
    read = IndexSummary.parse(former, "an index")
    assert read.revision == revision
    again = plain(read)
    assert IndexSummary.parse(again, "the same") == read
    written = IndexSummary.parse(former, "an index").model_dump(mode="json", exclude_unset=True)
    assert {name: written[name] for name in former if name != "version"} == {
        name: value for name, value in former.items() if name != "version"
    }


def test_another_layout_is_refused_in_one_sentence() -> None:
    with pytest.raises(StoreError, match="the summary of index/a is no IndexSummary that this mmer reads"):
        IndexSummary.parse(SIZES | {"version": 3, "revision": 1}, "the summary of index/a")
