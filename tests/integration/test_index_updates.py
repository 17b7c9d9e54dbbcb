"""Photos that come into an index and leave it, against the model's own embeddings of what should be there."""

import numpy as np
import pytest
import torch
from support.small_pipeline import Study, created

from flows import jobs
from mmer_core.config import IngestConfig, SyntheticConfig, UpdateIndexJob
from mmer_core.datasets.prepared import Prepared
from mmer_core.errors import ConfigError
from mmer_core.inference import TrainedModel
from mmer_core.querying import Searcher
from mmer_core.querying.pictures import PreparedPictures
from mmer_core.retrieval import Filter, RetrievalIndex
from mmer_core.retrieval.record import IndexSummary
from mmer_core.store import ArtifactKey, Manifest

pytestmark = pytest.mark.usefixtures("as_it_was")

Photos = dict[str, np.ndarray]


@pytest.fixture
def base(study: Study) -> Manifest:
    return next(iter(study.store.list("index")))


def update(study: Study, index: Manifest | ArtifactKey, **fields: object) -> ArtifactKey:
    key = index.key if isinstance(index, Manifest) else index
    job = UpdateIndexJob(index=str(key), runtime=study.config.runtime, **({"compact": "no"} | fields))
    return ArtifactKey.parse(jobs.update_index.fn(job))


def summary_of(study: Study, key: ArtifactKey) -> IndexSummary:
    return study.store.manifest(key).summary_as(IndexSummary)


def embedded(study: Study, base: Manifest, split: str, features: str | None = None) -> Photos:
    """What the model makes of the photos of a split, by their ids."""
    folder = study.context.folder_of(features or base.inputs["features"])
    prepared = (
        base.inputs["prepared"]
        if features is None
        else study.store.manifest(ArtifactKey.parse(features)).inputs["prepared"]
    )
    ids = Prepared.open(study.context.folder_of(prepared)).split(split).ids
    model = TrainedModel.open(study.context.folder_of(base.inputs["model"]), study.context.device)
    vectors = model.embed_images({"context": torch.from_numpy(np.load(folder / f"{split}_context.npy"))})
    return dict(zip(ids, vectors, strict=True))


def check(study: Study, key: ArtifactKey, expected: Photos) -> None:
    """Every photo that should be there is found first by its own vector, and nothing else is there."""
    index = RetrievalIndex(study.context.folder(key))
    assert sorted(index.ids()) == sorted(expected)
    assert index.count("image") == len(expected) == study.store.manifest(key).summary["images"]
    queries = np.stack(list(expected.values()))
    vectors = np.stack([expected[id] for id in index.ids()])
    for query, hits in zip(queries, index.search(queries, "image", 5), strict=True):
        assert [hit.score for hit in hits] == pytest.approx(
            sorted(vectors @ query, reverse=True)[:5], abs=1e-5
        )
    owners = {hit.id for hits in index.search(queries, "text", index.count("text")) for hit in hits}
    assert owners == set(expected), "captions go and come with their photos"


def test_what_comes_and_goes_is_found_as_if_it_had_been_built_so(study: Study, base: Manifest) -> None:
    """Add, delete, compact, and again: a photo added after a deletion comes back; compaction forgets nothing."""
    reader = RetrievalIndex(study.context.folder(base.key))
    expected = embedded(study, base, "test")
    check(study, base.key, expected)
    before = reader.ids()

    added = update(study, base, prepared=base.inputs["prepared"], split="val")
    expected |= embedded(study, base, "val")
    check(study, added, expected)

    gone = sorted(expected)[::3]
    deleted = update(study, added, delete=tuple(gone))
    check(study, deleted, {id: vector for id, vector in expected.items() if id not in gone})

    compacted = update(study, deleted, compact="yes")
    summary = summary_of(study, compacted)
    assert not summary.parts
    assert summary.revision == 4
    assert [one.recall for one in summary.search.values()] == [1, 1]
    check(study, compacted, {id: vector for id, vector in expected.items() if id not in gone})

    back = update(study, compacted, prepared=base.inputs["prepared"], split="val")
    left = [id for id in embedded(study, base, "test") if id not in gone]
    expected = {id: expected[id] for id in left} | embedded(study, base, "val")
    check(study, back, expected)
    again = update(study, back, delete=(left[0],), compact="yes")
    del expected[left[0]]
    check(study, again, expected)

    assert reader.ids() == before == RetrievalIndex(study.context.folder(base.key)).ids(), (
        "readers keep their version"
    )


def test_a_photo_that_changed_replaces_the_one_of_its_id(study: Study, base: Manifest) -> None:
    """Other photos under the ids that are there are embedded anew; their pictures are those that are shown."""
    other = IngestConfig(dataset="flickr8k", synthetic=SyntheticConfig(images=30, seed=5))
    key = update(study, base, dataset=other)
    added = study.store.manifest(ArtifactKey.parse(study.store.manifest(key).inputs["added"]))
    expected = embedded(study, base, "test")
    names = set(expected)
    new = {
        id: vector
        for split in Prepared.open(study.context.folder_of(added.inputs["prepared"])).card.splits
        for id, vector in embedded(study, base, split, added.inputs["features"]).items()
    }
    assert names & set(new), "no photo is replaced"
    check(study, key, expected | new)
    assert study.store.manifest(key).summary["dropped"]["image"] == len(names & set(new))
    searcher = Searcher.open(study.context, str(key))
    pictures = PreparedPictures.of(study.context, searcher)
    assert all(pictures.holds(id) for id in searcher.index.ids())
    replaced = sorted(names & set(new))[0]
    old = PreparedPictures.of(study.context, Searcher.open(study.context, str(base.key)))
    assert not np.array_equal(pictures.picture(replaced), old.picture(replaced))


def test_a_part_is_never_what_plain_index_means(study: Study, base: Manifest) -> None:
    newest = study.store.find("index")
    parts, indexes = set(study.store.keys("index-part")), set(study.store.keys("index"))
    key = update(study, base, prepared=base.inputs["prepared"], split="train")
    (part,) = set(study.store.keys("index-part")) - parts
    assert study.store.manifest(key).inputs["added"] == str(part)
    assert set(study.store.keys("index")) - indexes == {key}
    assert study.store.find("index") == key
    study.store.delete(key)
    assert study.store.find("index") == newest
    with pytest.raises(ConfigError, match=r"index-part/.* is no index"):
        Searcher.open(study.context, str(part))


def test_filters_offer_what_is_left(study: Study, base: Manifest) -> None:
    index = RetrievalIndex(study.context.folder(base.key))
    key = update(study, base, prepared=base.inputs["prepared"], split="val")
    assert RetrievalIndex(study.context.folder(key)).choices("image")["splits"] == ["test", "val"]
    left = RetrievalIndex(study.context.folder(update(study, key, delete=tuple(index.ids()))))
    for target in ("image", "text"):
        assert left.choices(target)["splits"] == ["val"]
        with pytest.raises(ConfigError, match="no split 'test'; it has val"):
            left.search(np.ones((1, left.width), np.float32), target, 1, Filter(splits=["test"]))


def test_the_same_again_changes_nothing(study: Study, base: Manifest) -> None:
    fields = {"prepared": base.inputs["prepared"], "split": "val"}
    key = update(study, base, **fields)
    before = created(study.store)
    assert update(study, base, **fields) == key
    assert update(study, key, **fields) == key, "what is there is not added twice"
    assert created(study.store) == before


def test_much_that_is_gone_is_cleared_away(study: Study, base: Manifest) -> None:
    ids = RetrievalIndex(study.context.folder(base.key)).ids()
    few, many = update(study, base, delete=(ids[0],), compact="auto"), tuple(ids[: len(ids) // 2])
    assert summary_of(study, few).parts
    assert not summary_of(study, update(study, base, delete=many, compact="auto")).parts


def test_what_cannot_be_done_is_refused(study: Study, base: Manifest, tmp_path) -> None:
    before = created(study.store)
    with pytest.raises(ConfigError, match="nothing is to be added or deleted"):
        update(study, base)
    with pytest.raises(ConfigError, match=r"holds no photo with the id nobody\.jpg \(1 of 2 to delete"):
        update(study, base, delete=("nobody.jpg", RetrievalIndex(study.context.folder(base.key)).ids()[0]))
    with pytest.raises(ConfigError, match="cannot read ids from"):
        update(study, base, delete_from=tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(ConfigError, match="holds no id"):
        update(study, base, delete_from=tmp_path / "empty.txt")
    with pytest.raises(ConfigError, match="is no index"):
        update(study, ArtifactKey.parse(base.inputs["model"]))
    assert created(study.store) == before
