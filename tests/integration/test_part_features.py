"""Retrieval over regions and tokens, from ingestion to an attack."""

import pytest
import torch
from support.small_pipeline import Study

from flows import jobs
from mmer_core.attacks import write_changes
from mmer_core.config import AttackConfig, RobustnessJob
from mmer_core.datasets.prepared import Prepared
from mmer_core.errors import ConfigError
from mmer_core.inference import TrainedModel
from mmer_core.stages.robustness import load_outcomes
from mmer_core.store import ArtifactKey

pytestmark = [pytest.mark.integration, pytest.mark.long]


def in_parts(study: Study, dataset: str) -> RobustnessJob:
    job = study.train_job(dataset)
    # At 64 pixels the feature map has 2 x 2 places: at 32 all regions would be the same.
    encoders: dict[str, object] = {
        "image": f"regions:{job.encoders.image}",
        "text": "tokens:packaged:all-MiniLM-L6-v2",
        "image_size": 64,
    }
    return RobustnessJob(
        **{name: getattr(job, name) for name in type(job).model_fields}
        | {"encoders": job.encoders.model_copy(update=encoders)},
        attack=AttackConfig(images=2, budget=20, pixels=(4,), attacks=("sparse-rs",)),
    )


def test_a_model_of_parts_is_trained_evaluated_and_attacked(study: Study, as_it_was: None) -> None:
    job = in_parts(study, "flickr8k")
    trained = jobs.train.fn(job)
    context = study.context
    model = TrainedModel.open(context.folder(ArtifactKey.parse(trained.model)), context.device)
    assert model.spec.parts == {"context": 16, "text": 32}
    for head in (*model.model.image.heads, *model.model.text.heads):
        assert head.pool.score.any(), "the attention has learned nothing"

    outcomes = load_outcomes(context.folder(ArtifactKey.parse(jobs.robustness.fn(job))))
    split = Prepared.open(context.folder(trained.artifacts().prepared)).split("test")
    encoder = context.image_encoder(job.encoders.image, job.encoders.image_size)
    texts = context.text_encoder(job.encoders.text).encode(split.texts)
    owner = torch.tensor(split.text_sample)
    with torch.inference_mode():
        said = model.model.embed_text(texts)
        for _, outcome in outcomes.iterrows():
            row = split.ids.index(outcome["sample"])
            image = encoder.resize(split.images("context")[row : row + 1].copy())[0]
            attacked = write_changes(image, outcome["changed"])
            similarity = model.model.embed_image(encoder.encode(attacked[None])) @ said.T
            best = similarity[0, owner == row].max()
            rank = int((similarity[0] > best).sum())
            # A sample that is not found to begin with is not attacked, and its image is the clean one.
            assert (outcome["status"] != "resisted") == (rank >= job.attack.top)


def test_emotion_models_refuse_parts(study: Study, as_it_was: None) -> None:
    with pytest.raises(ConfigError, match="regions: and tokens: are for captioned datasets"):
        jobs.train.fn(in_parts(study, "emotic"))
