"""Which model is meant when none is named."""

from pathlib import Path

import pytest
from support.store_helpers import draft, folder_with

from mmer_core.errors import StoreError
from mmer_core.stages import ATTACKING, choose_models, newest_model, newest_models
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


class Shelf:
    """A store in which a test puts models and what was made of them, in order."""

    def __init__(self, place: Path) -> None:
        self.store, self._place, self._made = open_store(str(place / "store")), place, 0

    def put(
        self,
        kind: str,
        version: int = 1,
        summary: object = SUMMARY,
        split: str = "test",
        **inputs: ArtifactKey,
    ) -> ArtifactKey:
        self._made += 1
        key = ArtifactKey(kind, f"{self._made:032x}")
        folder = folder_with(self._place / str(self._made), {"x": b""})
        self.store.publish(
            folder,
            draft(
                key,
                inputs=inputs,
                config={"config": {"split": split}},
                summary=summary,
                stage_version=version,
            ),
        )
        return key

    def model(
        self, family: str, prepared: ArtifactKey = PREPARED, *, measured: bool = True, attacked: bool = False
    ):
        summary = {"task": "emotion", "dataset": "emotic", "family": family}
        key = self.put("model", summary=summary, prepared=prepared, features=FEATURES)
        if measured:
            self.put("evaluation", model=key, prepared=prepared)
        if attacked:
            self.put("robustness", ATTACKING.merge.version, model=key, prepared=prepared)
        return key


def test_a_report_takes_the_newest_models_that_have_what_it_shows_and_names_the_others(
    tmp_path: Path,
) -> None:
    shelf, other = Shelf(tmp_path), ArtifactKey("prepared", "cd" * 8)
    joint = shelf.model("joint", attacked=True)
    shelf.model("separate")
    separate = shelf.model("separate", attacked=True)
    plain, raw = shelf.model("separate"), shelf.model("joint", measured=False)
    text_only = shelf.model("text-only")
    found = choose_models(shelf.store)
    assert [one.model for one in found.models] == [separate, joint, text_only]
    assert all(one.robustness for one in found.models[:2])
    first, second = found.left_out
    assert first.endswith(f"{raw}, is left out: it was never evaluated; run mmer evaluate --model {raw}")
    assert str(plain) in second
    assert second.endswith(
        f"it was not attacked, and an older one was; run mmer robustness --trained {plain}"
    )

    foreign = shelf.model("joint", other)
    (of_other, _) = choose_models(shelf.store).left_out
    assert of_other.endswith(
        f"{foreign}, is left out: it is of other prepared arrays than the rest; give --prepared {other}"
    )
    assert [one.model for one in choose_models(shelf.store, prepared=[other]).models] == [foreign]
    with pytest.raises(StoreError, match="has no model of this dataset"):
        choose_models(shelf.store, prepared=[ArtifactKey("prepared", "99" * 8)])


def test_attacks_of_an_earlier_version_are_not_read(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    model = shelf.model("joint")
    shelf.put("robustness", ATTACKING.merge.version - 1, model=model, prepared=PREPARED)
    (found,) = choose_models(shelf.store).models
    assert found.robustness is None


def test_attacks_on_the_split_that_was_evaluated_come_before_newer_ones(tmp_path: Path) -> None:
    shelf, version = Shelf(tmp_path), ATTACKING.merge.version
    model = shelf.model("joint")
    _, _, newest_of_test, newest = (
        shelf.put("robustness", version, split=split, model=model, prepared=PREPARED)
        for split in ("val", "test", "test", "val")
    )
    assert choose_models(shelf.store).models[0].robustness == newest_of_test
    shelf.put("evaluation", split="train", model=model, prepared=PREPARED)
    assert choose_models(shelf.store).models[0].robustness == newest, "where none is on the split"


def test_attacks_that_adversarial_training_learned_from_do_not_count(tmp_path: Path) -> None:
    shelf, version = Shelf(tmp_path), ATTACKING.merge.version

    def attack(model: ArtifactKey, split: str) -> ArtifactKey:
        return shelf.put("robustness", version, split=split, model=model, prepared=PREPARED)

    old = shelf.model("joint")
    attack(old, "train")
    new = shelf.model("joint")
    assert [(one.model, one.robustness) for one in choose_models(shelf.store).models] == [(new, None)]
    of_test, of_train = attack(new, "test"), attack(new, "train")
    assert choose_models(shelf.store).models[0].robustness == of_test
    shelf.put("evaluation", split="val", model=new, prepared=PREPARED)
    assert choose_models(shelf.store).models[0].robustness == of_test, "none is on val"
    shelf.put("evaluation", split="train", model=new, prepared=PREPARED)
    assert choose_models(shelf.store).models[0].robustness == of_train, "it was evaluated there"


def test_models_that_were_never_evaluated_are_refused_with_the_cure(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    model = shelf.model("joint", measured=False)
    with pytest.raises(StoreError, match=f"was never evaluated; run mmer evaluate --model {model}"):
        choose_models(shelf.store)
