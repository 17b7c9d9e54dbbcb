"""Manifests record the values that were used where a setting was left open."""

import json
from collections.abc import Iterator

import pytest
from support.small_pipeline import Study

from mmer_core.models.spec import SPEC_FILE, ModelSpec

pytestmark = pytest.mark.integration

MEANS_NONE = {
    "category": "no label is singled out",
    "target": "no sample is singled out",
    "temperature": "learned",
    "root": "photos are drawn",
    "captioner": "no captions are made",
    "prompt": "nothing is asked",
    "captions": "no file of captions",
}
"""Settings that are used as they are: None is their value."""


def paths(values: object, value: bool, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Places of what has a value, or of what has none."""
    if isinstance(values, dict):
        for name, inner in values.items():
            yield from paths(inner, value, (*path, name))
    elif (values is not None) == value:
        yield path


def test_whatever_was_left_open_has_the_value_that_was_used(study: Study) -> None:
    left_open = 0
    for made in study.store.list():
        # A list of values by dataset or by target is deeper than the setting.
        used = {
            path[at:end]
            for path in paths(made.used, True)
            for at in range(len(path))
            for end in range(at, len(path) + 1)
        }
        for path in paths(made.config, False):
            if path[-1] not in MEANS_NONE:
                left_open += 1
                assert path[-2:] in used, f"{made.key} does not say which {'.'.join(path)} was used"
        if made.kind in ("model", "feature-shard", "attack-shard"):
            assert made.used["runtime"]["device"] == "cpu"
    assert left_open > 10


def test_a_model_says_what_it_was_trained_with(study: Study, mmer) -> None:
    model = study.only("model", task="retrieval", family="joint")
    shown = json.loads(mmer("artifacts", "show", str(model.key), *study.flags()).out)["used"]
    spec = ModelSpec.model_validate_json((study.context.folder(model.key) / SPEC_FILE).read_text())
    assert (shown["model"]["dropout"], shown["model"]["embedding"]) == (spec.dropout, spec.embedding)
    photos = study.store.manifest(study.store.find(model.inputs["prepared"])).summary["counts"]["train"]
    assert shown["training"]["batch_size"] * shown["training"]["steps_an_epoch"] >= photos
    assert shown["encoders"]["image"]["size"] == 32
    assert shown["runtime"]["workers"] == study.config.runtime.workers
