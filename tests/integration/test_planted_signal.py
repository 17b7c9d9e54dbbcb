"""Every category is read where it was planted: by its own modality and by the joint model, and nowhere else."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from support.planted_manifest import LABELS, MODALITIES, Planted, plant

from flows import jobs
from mmer_core.config import (
    EncoderConfig,
    EvaluationConfig,
    IngestConfig,
    ModelConfig,
    RuntimeConfig,
    TrainingConfig,
    TrainJob,
)
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.evaluation.emotion_metrics import SortedScores
from mmer_core.inference import TrainedModel
from mmer_core.record import Interval
from mmer_core.stages import Context
from mmer_core.statistics.resampling import resampled
from mmer_core.training.data import EmotionData

pytestmark = pytest.mark.long

Scores = npt.NDArray[np.float32]
RESAMPLES, CONFIDENCE = 200, 0.95


@dataclass(frozen=True)
class Study:
    """The test split, and what the models of both families say of it: as a whole and by stream.

    Attributes:
        luck: Mean AP in % on a modality's categories that 99.9 % of random rankings stay below.
    """

    labels: Scores
    scores: dict[str, dict[str, Scores]]
    luck: dict[str, float]

    def ap(self, family: str, reader: str, modality: str) -> Interval:
        """Mean AP in % that a reader has on the categories planted in a modality."""
        return self.mean_ap([(self.scores[family][reader], 1)], Planted.columns(modality))

    def gain(self, family: str, over: str) -> Interval:
        """By how much the model as a whole beats one of its streams in mAP, on the same resamples."""
        read = self.scores[family]
        return self.mean_ap([(read["whole"], 1), (read[over], -1)], list(range(len(LABELS))))

    def mean_ap(self, readers: list[tuple[Scores, int]], columns: list[int]) -> Interval:
        ranked = [
            (sign, SortedScores(scores[:, c], self.labels[:, c])) for scores, sign in readers for c in columns
        ]

        def statistic(weights):
            total = sum(sign * one.average_precision(weights) for sign, one in ranked)
            return 100 * total[None] / len(columns)

        return resampled(statistic, len(self.labels), RESAMPLES, seed=0).intervals(CONFIDENCE)[0]


def luck(labels: Scores, modality: str) -> float:
    """Mean AP in % on a modality's categories that 99.9 % of random rankings stay below."""
    rng = np.random.default_rng(0)
    columns = Planted.columns(modality)
    drawn = [np.mean([_random_ap(labels[:, c], rng) for c in columns]) for _ in range(1000)]
    return float(100 * np.quantile(drawn, 0.999))


def _random_ap(labels: Scores, rng: np.random.Generator) -> float:
    ranks = 1 + np.sort(rng.choice(len(labels), size=int(labels.sum()), replace=False))
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("planted")
    runtime = RuntimeConfig(store=str(folder / "store"), work=folder / "work")
    dataset = IngestConfig(
        dataset="manifest", root=plant(folder / "data").manifest, context_size=64, body_size=64
    )
    scores: dict[str, dict[str, Scores]] = {}
    for family in ("separate", "joint"):
        job = TrainJob(
            dataset=dataset,
            encoders=EncoderConfig(image="packaged:efficientnet_lite0", image_size=64),
            model=ModelConfig(family=family, hidden=128),
            training=TrainingConfig(batch_size=64, epochs=20),
            evaluation=EvaluationConfig(resamples=10),
            runtime=runtime,
        )
        trained = jobs.train.fn(job).artifacts()
        context = Context(runtime)
        split = Prepared.open(context.folder(trained.prepared)).split("test")
        data = EmotionData.load(Features(context.folder(trained.features)), split)
        assert 0.04 < 1 - data.present["text"].float().mean() < 0.2
        model = TrainedModel.open(context.folder(trained.model), context.device)
        output = model.emotions(data.streams, data.present).output
        scores[family] = {"whole": output.logits.numpy()}
        scores[family] |= {name: logits.numpy() for name, logits in output.stream_logits.items()}
    labels = split.labels[:, : len(LABELS)]
    return Study(labels, scores, {modality: luck(labels, modality) for modality in MODALITIES})


@pytest.mark.parametrize("family", ["separate", "joint"])
@pytest.mark.parametrize("modality", MODALITIES)
def test_a_stream_reads_what_was_planted_in_it_and_nothing_else(study, family, modality):
    for planted in MODALITIES:
        found, luck = study.ap(family, modality, planted), study.luck[planted]
        if planted == modality:
            assert found.low > luck + 10
        else:
            assert found.value < luck


@pytest.mark.parametrize("family", ["separate", "joint"])
@pytest.mark.parametrize("modality", MODALITIES)
def test_the_whole_beats_each_of_its_streams(study, family, modality):
    assert study.gain(family, modality).low > 5


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_joint_model_reads_every_modality(study, modality):
    assert study.ap("joint", "whole", modality).low > study.luck[modality] + 10
