"""The linear probe against scikit-learn, and on features of which it is known what they show."""

import json
from uuid import uuid4

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

from mmer_core.config import EncoderConfig, EvaluationConfig, ProbeConfig, RuntimeConfig
from mmer_core.datasets.prepared import DatasetSummary
from mmer_core.errors import ConfigError, DatasetError
from mmer_core.stages import Context
from mmer_core.stages.probe import PROBE_FILE, ProbeRecord, probe
from mmer_core.store import ArtifactKey, run_stage

COUNTS = {"train": 300, "val": 120, "test": 200}
WIDTHS = {"body": 5, "context": 6, "text": 4}
EVALUATION = EvaluationConfig(resamples=40)


class Planted:
    """A dataset in a store whose features and labels a test chooses; the first texts of each split are left out."""

    def __init__(self, context, label, categories, task="emotion", without_text=("test",)):
        rng = np.random.default_rng(3)
        self.context, self.rows, self.labels, self.features = context, {}, {}, {}
        names = tuple(f"label {number}" for number in range(categories))
        prepared, features = {}, {}
        for split, count in COUNTS.items():
            streams = {
                name: rng.normal(3, 7, (count, width)).astype(np.float32) for name, width in WIDTHS.items()
            }
            silent = count if split in without_text else 10
            streams["text"][:silent] = 0
            x = self.features[split] = np.hstack(list(streams.values()))
            y = self.labels[split] = np.asarray(label(x, rng), np.float32)
            features |= {f"{split}_{name}.npy": rows for name, rows in streams.items()}
            features[f"{split}_text.npy"] = streams["text"][silent:]
            prepared[f"{split}_cat_arr.npy"] = y
            for name in ("context", "body"):
                prepared[f"{split}_{name}_arr.npy"] = np.zeros((count, 1, 1, 3), np.uint8)
            photos = [f"{number // 2}.png" for number in range(count)]
            lines = [f"{split}-{number},f,{photo}" for number, photo in enumerate(photos)]
            prepared[f"{split}.csv"] = "\n".join(["Id,Folder,Filename", *lines]) + "\n"
            texts = [f"{number},some text,manifest" for number in range(silent, count)]
            prepared[f"{split}_texts.csv"] = "\n".join(["Sample,Text,Provenance", *texts]) + "\n"
        card = DatasetSummary(
            name="planted", task=task, labels=names, counts=COUNTS, texts=COUNTS, quarantined={}, inputs=620,
            protocol="splits given", synthetic=False,
        )  # fmt: skip
        prepared["dataset.json"] = card.model_dump_json()
        features["features.json"] = json.dumps(WIDTHS)
        self.prepared = self._publish("prepared", prepared, card.model_dump(mode="json"))
        self.features_key = self._publish("features", features, {"version": 1})

    def _publish(self, kind, files, summary) -> ArtifactKey:
        def build(workspace):
            for name, content in files.items():
                if isinstance(content, str):
                    (workspace.out / name).write_text(content)
                else:
                    np.save(workspace.out / name, content)
            return summary

        return run_stage(
            self.context.store, kind, 1, {"number": uuid4().hex}, {}, build, work=self.context.runtime.work
        ).key

    def probe(self, evaluation=EVALUATION, **config):
        made = probe(
            self.context, ProbeConfig(**config), evaluation, EncoderConfig(), self.prepared, self.features_key
        )
        return ProbeRecord.read(made.folder / PROBE_FILE)


@pytest.fixture
def context(tmp_path):
    return Context(RuntimeConfig(store=str(tmp_path / "store"), work=tmp_path / "work"))


def several(x, rng):
    """Three noisy directions, and one that test lacks, as it has no text."""
    noise = rng.normal(0, 6, (len(x), 4))
    return (x[:, [0, 5, 7, 11]] + noise) > (3, 8, 0, 12)


def one_of_three(x, rng):
    return np.eye(3)[(x[:, [0, 5, 7]] + rng.normal(0, 3, (len(x), 3))).argmax(axis=1)]


def standardised(planted):
    """By split, by the samples of train that have the stream; a stream that a sample lacks is at its mean."""
    raw = {split: x.astype(float) for split, x in planted.features.items()}
    for x in raw.values():
        x[(x[:, -WIDTHS["text"] :] == 0).all(axis=1), -WIDTHS["text"] :] = np.nan
    scaler = StandardScaler().fit(raw["train"])
    return {split: np.nan_to_num(scaler.transform(x)) for split, x in raw.items()}


def test_several_labels_are_scikit_learns_one_versus_rest(context):
    planted = Planted(context, several, 4)
    record = planted.probe(strengths=(1.0, 0.001, 0.03))
    scaled = standardised(planted)

    def mean_ap(model, split):
        return 100 * average_precision_score(
            planted.labels[split], model.predict_proba(scaled[split]), average="macro"
        )

    peers = [
        OneVsRestClassifier(LogisticRegression(C=strength, max_iter=1000, tol=1e-8)).fit(
            scaled["train"], planted.labels["train"]
        )
        for strength in (0.001, 0.03, 1.0)
    ]
    on_val = [mean_ap(peer, "val") for peer in peers]
    assert [one.strength for one in record.tried] == [0.001, 0.03, 1.0]
    assert [one.map for one in record.tried] == pytest.approx(on_val, abs=1e-6)
    best = int(np.argmax(on_val))
    assert record.strength == record.tried[best].strength
    measured = record.evaluation.metrics["map"]
    assert measured.value == pytest.approx(mean_ap(peers[best], "test"), abs=1e-6)
    assert measured.low < measured.value < measured.high
    chance = 100 * planted.labels["test"].mean()
    assert record.evaluation.baselines["map"] == pytest.approx(chance, abs=1e-4)
    assert "accuracy" not in record.evaluation.metrics
    assert (record.evaluation.n, record.evaluation.clusters) == (200, 100)  # two people a photo


def test_one_label_a_sample_is_scikit_learns_multinomial_regression(context):
    planted = Planted(context, one_of_three, 3)
    record = planted.probe(strengths=(0.01,))
    scaled = standardised(planted)
    peer = LogisticRegression(C=0.01, max_iter=1000, tol=1e-8)
    peer.fit(scaled["train"], planted.labels["train"].argmax(axis=1))
    truth = planted.labels["test"].argmax(axis=1)
    right = 100 * peer.score(scaled["test"], truth)
    assert record.one_label
    assert record.evaluation.metrics["accuracy"].value == pytest.approx(right)
    assert record.evaluation.baselines["accuracy"] == pytest.approx(
        100 * np.bincount(truth).max() / len(truth)
    )


def test_what_is_linear_in_the_features_is_found_and_noise_is_chance(context):
    """The first category is a direction through two streams; the second is drawn apart from the features."""
    planted = Planted(
        context,
        lambda x, rng: np.stack([x[:, 0] - x[:, 6] > 1, rng.random(len(x)) < 0.3], axis=1),
        2,
    )
    seen, noise = planted.probe().evaluation.per_category
    assert seen.ap.value > 97
    assert seen.f1 > 88
    assert abs(noise.ap.value - noise.prevalence) < 12


def test_equally_good_strengths_leave_the_smallest_and_two_runs_agree_to_the_byte(context, tmp_path):
    def run(place):
        there = Context(RuntimeConfig(store=str(tmp_path / place / "store"), work=tmp_path / place / "work"))
        return Planted(there, lambda x, _: np.stack([x[:, 0] > 3, x[:, 0] <= 3], axis=1), 2).probe(
            strengths=(1, 0.5)
        )

    first, second = run("a"), run("b")
    assert first == second
    assert first.tried[0].map == first.tried[1].map == 100
    assert first.strength == 0.5


def test_what_cannot_be_probed_is_refused_in_a_sentence(context):
    with pytest.raises(ConfigError, match="planted has captions instead"):
        Planted(context, several, 4, task="retrieval").probe()
    nothing_on_val = Planted(context, lambda x, _: np.ones((len(x), 2)) * (len(x) != COUNTS["val"]), 2)
    with pytest.raises(DatasetError, match="no sample of val in planted has a label"):
        nothing_on_val.probe()
    with pytest.raises(ValueError, match="C must be above 0"):
        ProbeConfig(strengths=(0.1, 0))
