"""Every criterion of an attack run, judged again from the table of outcomes by the model as users call it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from support.small_pipeline import Study, training_fields

from flows import jobs
from mmer_core.attacks import ATTACKS, write_changes
from mmer_core.config import AttackConfig, RobustnessJob
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.errors import ConfigError
from mmer_core.inference import TrainedModel
from mmer_core.stages import Context
from mmer_core.stages.lineage import ModelArtifacts
from mmer_core.stages.robustness import load_outcomes
from mmer_core.store import ArtifactKey
from mmer_core.training.data import EmotionData, RetrievalData

ATTACK = {"images": 4, "budget": 30, "pixels": (8,), "attacks": ("sparse-rs",), "shard_size": 3}


@dataclass
class Trained:
    """A trained model, attacked by any criterion and asked again in the plain way."""

    job: RobustnessJob
    artifacts: ModelArtifacts

    def __post_init__(self) -> None:
        self.context = Context(self.job.runtime)
        self.model = TrainedModel.open(self.context.folder(self.artifacts.model), self.context.device)
        self.split = Prepared.open(self.context.folder(self.artifacts.prepared)).split("test")
        self.features = Features(self.context.folder(self.artifacts.features))
        encoders = self.model.spec.encoders
        self.encoder = self.context.image_encoder(encoders.image, encoders.image_size)

    def attack(self, **fields: object) -> tuple[AttackConfig, pd.DataFrame]:
        config = AttackConfig(**ATTACK | fields)
        key = jobs.robustness.fn(self.job.model_copy(update={"attack": config}))
        return config, load_outcomes(self.context.folder(ArtifactKey.parse(key)))

    def encoded(self, outcome: pd.Series, clean: bool) -> tuple[int, torch.Tensor]:
        """The row of an outcome's sample, and the features ``(1, D)`` of its image."""
        row = self.split.ids.index(outcome["sample"])
        image = self.encoder.resize(np.asarray(self.split.images("context")[row : row + 1]))[0]
        attacked = image if clean else write_changes(image, outcome["changed"])
        assert (attacked != image).any(axis=2).sum() <= 8
        with torch.inference_mode():
            return row, self.encoder.encode(attacked[None])

    def check(self, outcomes: pd.DataFrame, succeeds) -> None:
        """``succeeds(outcome, clean)`` is the criterion in plain words, of the clean or the attacked image."""
        assert len(outcomes) == 4
        for _, outcome in outcomes.iterrows():
            already = succeeds(outcome, clean=True)
            assert (outcome["status"] == "already") == already
            if not already:
                assert (outcome["status"] == "fooled") == succeeds(outcome, clean=False)


@pytest.fixture(scope="module")
def trained(study: Study, as_it_was_before: None) -> dict[str, Trained]:
    made = {}
    for name in ("emotic", "flickr8k"):
        job = RobustnessJob(**training_fields(study.config, name))
        made[name] = Trained(job, jobs.train.fn(job).artifacts())
    return made


@pytest.fixture(scope="module")
def emotions(trained: dict[str, Trained]):
    """Of the clean or the attacked image: probabilities ``(C,)`` and ratings ``(V,)``."""
    one = trained["emotic"]
    data = EmotionData.load(one.features, one.split)

    def read(outcome: pd.Series, clean: bool) -> tuple[np.ndarray, np.ndarray]:
        row, encoded = one.encoded(outcome, clean)
        shown = data.rows(torch.tensor([row]))
        prediction = one.model.emotions(shown.streams | {"context": encoded}, shown.present)
        return prediction.probabilities[0], prediction.ratings[0]

    return read


PLAIN = {
    "dominant": lambda before, now, thresholds, at: now.argmax() != before.argmax(),
    "target": lambda before, now, thresholds, at: now.argmax() == at,
    "top": lambda before, now, thresholds, at: set(np.argsort(-now)[:3]) != set(np.argsort(-before)[:3]),
    "labels": lambda before, now, thresholds, at: ((now >= thresholds) != (before >= thresholds)).any(),
    "suppress": lambda before, now, thresholds, at: now[at] < thresholds[at],
    "appear": lambda before, now, thresholds, at: now[at] >= thresholds[at],
}


@pytest.mark.long
@pytest.mark.parametrize("criterion", PLAIN)
def test_categories(trained, emotions, criterion):
    one = trained["emotic"]
    labels = one.model.spec.labels
    for category in ("Engagement", "Peace"):
        _, outcomes = one.attack(criterion=criterion, category=category)
        one.check(
            outcomes,
            lambda outcome, clean, category=category: PLAIN[criterion](
                emotions(outcome, True)[0],
                emotions(outcome, clean)[0],
                one.model.thresholds,
                labels.index(category),
            ),
        )


@pytest.mark.long
@pytest.mark.parametrize("direction", ["either", "up", "down"])
def test_ratings(trained, emotions, direction):
    one = trained["emotic"]
    # The reach of eight pixels on this small model, so that some succeed and some do not.
    config, outcomes = one.attack(criterion="shift", dimension="arousal", tau=0.1, direction=direction)
    sign = {"either": None, "up": 1, "down": -1}[direction]

    def moved(outcome: pd.Series, clean: bool) -> bool:
        step = float(emotions(outcome, clean)[1][1] - emotions(outcome, True)[1][1])
        return (abs(step) if sign is None else sign * step) >= config.tau

    one.check(outcomes, moved)


@pytest.mark.long
@pytest.mark.parametrize("match", ["image-to-text", "text-to-image", "both", "caption-rises", "image-rises"])
@pytest.mark.parametrize("top", [1, 3])
def test_matches_against_the_whole_gallery(trained, match, top):
    one = trained["flickr8k"]
    data = RetrievalData.load(one.features, one.split)
    photos, texts = one.model.embed_images({"context": data.images}), one.model.embed_texts(data.texts)
    target = one.split.ids[-1]
    (foreign, *_) = np.flatnonzero(one.split.text_sample == len(one.split) - 1)

    def succeeds(outcome: pd.Series, clean: bool) -> bool:
        row, encoded = one.encoded(outcome, clean)
        gallery = photos.copy()
        gallery[row] = one.model.embed_images({"context": encoded})[0]
        similarity = texts @ gallery.T  # (T, N)
        own = np.flatnonzero(one.split.text_sample == row)
        best = similarity[own, row].max()
        no_caption = (np.delete(similarity[:, row], own) >= best).sum() >= top
        found_by = [(np.delete(similarity[t], row) >= similarity[t, row]).sum() < top for t in own]
        others = np.delete(similarity[:, row], foreign)
        return {
            "image-to-text": no_caption,
            "text-to-image": not any(found_by),
            "both": no_caption and not any(found_by),
            "caption-rises": (others >= similarity[foreign, row]).sum() < top,
            "image-rises": (np.delete(similarity[foreign], row) >= similarity[foreign, row]).sum() < top,
        }[match]

    _, outcomes = one.attack(match_criterion=match, top=top, target=target)
    one.check(outcomes, succeeds)


@pytest.mark.long
@pytest.mark.parametrize("dataset", ["emotic", "flickr8k"])
def test_every_attack_runs_by_its_name(trained, dataset):
    one = trained[dataset]
    names = tuple(ATTACKS)
    _, outcomes = one.attack(attacks=names, pixels=(1, 3), de={"population": 5}, images=2, shard_size=2)
    assert set(zip(outcomes["attack"], outcomes["pixels"], strict=True)) == {
        (name, pixels) for name in names for pixels in (1, 3)
    }
    assert len(outcomes) == len(names) * 2 * 2
    assert (outcomes["queries"] <= 30).all()
    searched = outcomes["queries"] > 0
    assert ((outcomes["screened"] > 0) == (searched & (outcomes["attack"] == "screened"))).all()


@pytest.mark.parametrize(
    ("dataset", "fields", "message"),
    [
        ("emotic", {"criterion": "suppress", "category": "Hunger"}, "no category Hunger"),
        ("emotic", {"criterion": "shift", "dimension": "luck"}, "valence, arousal, dominance"),
        ("emotic", {"criterion": "top", "top_emotions": 26}, "26 labels"),
        ("flickr8k", {"match_criterion": "caption-rises", "target": "nobody"}, "no sample 'nobody'"),
    ],
)
def test_what_the_model_does_not_know_is_refused(trained, dataset, fields, message):
    with pytest.raises(ConfigError, match=message):
        trained[dataset].attack(**fields)


@pytest.mark.long
def test_the_gallery_is_embedded_once_and_outcomes_do_not_depend_on_the_cut(
    trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, embedded = trained["flickr8k"], []
    embed = TrainedModel.embed_texts
    monkeypatch.setattr(
        TrainedModel, "embed_texts", lambda *given: embedded.append(len(given[1])) or embed(*given)
    )
    store, tables = one.context.store, []

    def galleries() -> list[ArtifactKey]:
        return [
            each.key for each in store.list("gallery") if each.inputs["model"] == str(one.artifacts.model)
        ]

    for key in galleries():  # not those of the other models of this store
        store.delete(key)
    for shard_size in (1, 3):
        job = one.job.model_copy(
            update={
                "attack": AttackConfig(
                    **ATTACK | {"match_criterion": "both", "top": 2, "shard_size": shard_size, "seed": 5}
                )
            }
        )
        key = ArtifactKey.parse(jobs.robustness.fn(job))
        tables.append(load_outcomes(one.context.folder(key)))
        shards = store.manifest(key).shards
        assert len(shards) == -(-4 // shard_size)
        assert {store.manifest(ArtifactKey.parse(each)).inputs["gallery"] for each in shards} == {
            str(each) for each in galleries()
        }
        store.delete(key)
    assert embedded == [len(one.split.texts)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
