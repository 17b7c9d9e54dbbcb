"""On drawn EMOTIC the models beat chance and the constant far outside the interval; shuffled labels end that."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from support.small_pipeline import emotic

from mmer_core import stages
from mmer_core.config import EncoderConfig, EvaluationConfig, ModelConfig, RuntimeConfig, TrainingConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.stages import Context
from mmer_core.store import ArtifactKey
from mmer_core.taxonomy import SPLITS
from tasks.stages import make_sharded

pytestmark = pytest.mark.long

IMAGES = 480
ENCODERS = EncoderConfig(image="packaged:efficientnet_lite0", image_size=64)
TRAINING = TrainingConfig(epochs=8, patience=8, batch_size=64, learning_rate=3e-3)
EVALUATION = EvaluationConfig(resamples=100)


@dataclass(frozen=True)
class Drawn:
    """The same photos and captions twice: with their labels and with shuffled ones."""

    context: Context
    true: ArtifactKey
    shuffled: ArtifactKey
    features: ArtifactKey

    def measure(self, family: str, prepared: ArtifactKey) -> tuple[dict, float]:
        """Metrics of a model, and the mAP that 99 % of random rankings stay below."""
        model = ModelConfig(family=family, hidden=128)
        trained = stages.train(self.context, model, TRAINING, ENCODERS, prepared, self.features).key
        evaluation = stages.evaluate(self.context, EVALUATION, prepared, self.features, trained)
        labels = Prepared.open(self.context.folder(prepared)).split("test").labels
        return json.loads((evaluation.folder / "metrics.json").read_text()), luck(labels)


def luck(labels: np.ndarray, rankings: int = 200) -> float:
    """The 99 % quantile of the mAP (in %) of random rankings, by the definition of average precision."""
    generator = np.random.default_rng(0)
    ranked = np.stack([generator.permutation(labels) for _ in range(rankings)])  # (R, N, C)
    precision = ranked.cumsum(axis=1) / np.arange(1, len(labels) + 1)[:, None]
    average = (precision * ranked).sum(axis=1) / ranked.sum(axis=1)  # (R, C)
    return float(100 * np.quantile(average.mean(axis=1), 0.99))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    folder = tmp_path_factory.mktemp("signal")
    context = Context(RuntimeConfig(store=str(folder / "store"), work=folder / "work"))
    true, shuffled = (stages.ingest(context, emotic(IMAGES, shuffle_labels=s)).key for s in (False, True))
    splits = [Prepared.open(context.folder(key)).split("train") for key in (true, shuffled)]
    assert splits[0].ids == splits[1].ids
    assert splits[0].texts == splits[1].texts
    assert not np.array_equal(splits[0].labels, splits[1].labels)
    # So the features of one serve both, and the encoders run once.
    features = make_sharded(stages.ENCODING, context.runtime, ENCODERS, true, SPLITS)
    return Drawn(context, true, shuffled, features)


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_skill_comes_from_the_labels(family: str, drawn: Drawn) -> None:
    learned, by_luck = drawn.measure(family, drawn.true)
    precision, error = (learned["metrics"][name] for name in ("map", "vad_mae"))
    assert precision["low"] > learned["baselines"]["map"] + 10
    assert precision["low"] > by_luck + 5
    assert error["high"] < learned["baselines"]["vad_mae"] - 0.1

    shuffled, by_luck = drawn.measure(family, drawn.shuffled)
    precision, error = (shuffled["metrics"][name] for name in ("map", "vad_mae"))
    # Average precision of few positives lies somewhat above their share even in a random order: the
    # interval may begin its own width above that share, and what counts is luck.
    assert precision["low"] - (precision["high"] - precision["low"]) <= shuffled["baselines"]["map"]
    assert precision["value"] <= by_luck
    assert error["high"] >= shuffled["baselines"]["vad_mae"]
