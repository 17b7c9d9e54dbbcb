"""Which model is meant when none is named."""

from pathlib import Path

import pytest
from support.store_helpers import draft, folder_with

from mmer_core.errors import StoreError
from mmer_core.stages import newest_model, newest_models
from mmer_core.store import ArtifactKey, Store, open_store

PREPARED, CLEAN, POISONED = (
    ArtifactKey("prepared", "ab" * 8),
    *(ArtifactKey("model", one * 8) for one in ("01", "02")),
)
FEATURES, POISON = ArtifactKey("features", "ef" * 8), ArtifactKey("poison", "cd" * 8)
SUMMARY = {"task": "emotion", "dataset": "emotic", "family": "joint"}


def _publish(store: Store, key: ArtifactKey, place: Path, **inputs: ArtifactKey) -> None:
    made_of = {"prepared": PREPARED, "features": FEATURES, **inputs}
    store.publish(folder_with(place / key.digest, {"x": b""}), draft(key, inputs=made_of, summary=SUMMARY))
    evaluation = ArtifactKey("evaluation", key.digest)
    store.publish(
        folder_with(place / f"e{key.digest}", {"x": b""}),
        draft(evaluation, inputs={"prepared": PREPARED, "model": key}, summary=SUMMARY),
    )


def test_a_model_of_poisoned_data_is_meant_only_when_named(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    _publish(store, POISONED, tmp_path, poison=POISON)
    with pytest.raises(StoreError, match="has no model; train one first"):
        newest_models(store)
    _publish(store, CLEAN, tmp_path)
    _publish(store, ArtifactKey("model", "03" * 8), tmp_path, poison=POISON)
    assert newest_model(store).key == newest_model(store, "emotion").key == CLEAN
    assert [found.model for found in newest_models(store)] == [CLEAN]
    assert [found.model for found in newest_models(store, [str(POISONED)])] == [POISONED]
