"""Small planted problems: features are noisy views of a few hidden numbers that decide labels and captions."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mmer_core.config import ARCHITECTURES, EncoderConfig, TaskTraining
from mmer_core.models import EmotionModel, ModelSpec, RetrievalModel, build_model
from mmer_core.models.layers import EmotionHead
from mmer_core.training.data import EmotionData, RetrievalData
from mmer_core.training.emotion_learner import EmotionLearner
from mmer_core.training.loop import initialisation
from mmer_core.training.retrieval_learner import RetrievalLearner

CPU = torch.device("cpu")
HIDDEN = 4
WIDTHS = {"context": 12, "body": 7, "text": 10}
WORDS = ("dog", "snow", "run", "red")
TOGETHER = [("emotion", "separate"), ("emotion", "joint"), ("retrieval", "separate"), ("retrieval", "joint")]
Learner = EmotionLearner | RetrievalLearner


def _view(hidden: np.ndarray, stream: str, rng: np.random.Generator) -> torch.Tensor:
    mixing = np.random.default_rng(len(stream)).normal(size=(HIDDEN, WIDTHS[stream]))
    return torch.from_numpy(hidden @ mixing + 0.3 * rng.normal(size=(len(hidden), WIDTHS[stream]))).float()


def emotion_data(count: int, seed: int, *, shuffled: bool = False) -> EmotionData:
    """Category ``c`` is present where hidden number ``c`` is positive; ratings are the hidden numbers."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(count, HIDDEN))
    truth = rng.permutation(hidden) if shuffled else hidden
    return EmotionData(
        {stream: _view(hidden, stream, rng) for stream in WIDTHS},
        torch.from_numpy((truth > 0).astype(np.float32)),
        torch.from_numpy(np.clip(5.5 + truth[:, :3], 1, 10)).float(),
    )


def without_texts(data: EmotionData, share: float, filler: float = 0.0) -> EmotionData:
    """The same data, where a share of the samples has no text and ``filler`` in its place."""
    return without(data, ("text",), share, filler, seed=9)


def without_images(data: EmotionData, share: float, filler: float = 0.0) -> EmotionData:
    """The same for the image streams, which a sample has together."""
    return without(data, ("context", "body"), share, filler, seed=8)


def without(
    data: EmotionData, streams: tuple[str, ...], share: float, filler: float, seed: int
) -> EmotionData:
    """The same data, where a share of the samples has none of these streams and ``filler`` in their place."""
    there = torch.rand(len(data), generator=torch.Generator().manual_seed(seed)) >= share
    filled = {name: torch.where(there[:, None], data.streams[name], filler) for name in streams}
    return replace(data, streams=data.streams | filled, present=data.present | dict.fromkeys(streams, there))


def retrieval_data(count: int, seed: int, *, shuffled: bool = False, per_image: int = 2) -> RetrievalData:
    """Captions show the hidden numbers of their image; word ``w`` is in it where number ``w`` is positive."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(count, HIDDEN))
    owner = rng.permutation(np.repeat(np.arange(count), per_image))
    seen = hidden[owner]
    captions = [" ".join(w for w, h in zip(WORDS, row, strict=True) if h > 0) or "nothing" for row in seen]
    texts = _view(seen, "text", rng)
    if shuffled:
        owner = rng.permutation(count)[owner]
    return RetrievalData(_view(hidden, "context", rng), texts, torch.from_numpy(owner), captions)


def config(**fields: object) -> TaskTraining:
    return TaskTraining(**({"epochs": 4, "patience": 4, "batch_size": 16, "learning_rate": 5e-3} | fields))


def spec(task: str, family: str, streams: tuple[str, ...] = ("context", "body", "text")) -> ModelSpec:
    emotion = task == "emotion"
    return ModelSpec(
        task=task,
        family=family,
        streams={name: WIDTHS[name] for name in (streams if emotion else ("context", "text"))},
        embedding=8,
        hidden=16,
        dropout=0.2,
        fusion=ARCHITECTURES[family].fusion or "mean",
        heads=1 if emotion else 2,
        labels=tuple("abcd") if emotion else (),
        words=() if emotion else WORDS,
        encoders=EncoderConfig(),
        dataset="toy",
    )


def learner(
    task: str,
    family: str,
    training: TaskTraining,
    *,
    count: int = 50,
    shuffled: bool = False,
    start: int | None = None,
) -> Learner:
    """A fresh learner on a planted problem; ``start`` seeds its weights instead of the training's seed."""
    with initialisation(training.seed if start is None else start):
        model = build_model(spec(task, family))
    if task == "emotion":
        assert isinstance(model, EmotionModel)
        emotions = [emotion_data(count, seed, shuffled=shuffled) for seed in (1, 2)]
        return EmotionLearner(model, *emotions, training)
    assert isinstance(model, RetrievalModel)
    photos = [retrieval_data(count, seed, shuffled=shuffled) for seed in (1, 2)]
    if "contrastive" not in training.model_fields_set:
        training = training.model_copy(update={"contrastive": "grouped_infonce"})
    return RetrievalLearner(model, *photos, training)


def heads_alone(learner: EmotionLearner) -> EmotionLearner:
    """The same without the linear path, and with random heads: what is left is what they learn."""
    for linear in learner.model.linear.values():
        nn.init.zeros_(linear.weight)
    return random_heads(learner)


def random_heads(learner: EmotionLearner) -> EmotionLearner:
    """The same with heads that say something, as they do once they are trained."""
    for module in learner.model.modules():
        if isinstance(module, EmotionHead):
            module.categories.reset_parameters()
    return learner


def same(first: nn.Module, second: nn.Module) -> bool:
    """Equal in every bit of every parameter and buffer."""
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def infonce(image: torch.Tensor, text: torch.Tensor, scale: float) -> torch.Tensor:
    """The formula for a batch in which no image stands twice."""
    logits = scale * image @ text.T
    right = torch.arange(len(image))
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
