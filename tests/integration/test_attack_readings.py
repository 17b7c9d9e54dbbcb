"""What attack shards keep of clean and attacked images is what the model says of them, computed from the pixels again."""

import numpy as np
import pytest
import torch
from support.small_pipeline import Study, attack_elsewhere

from flows import jobs
from mmer_core.attacks.candidates import write_changes
from mmer_core.config import AttackConfig, RobustnessJob
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.evaluation.retrieval_metrics import similarity_ranks
from mmer_core.inference import TrainedModel
from mmer_core.stages import Context
from mmer_core.stages.robustness import load_outcomes
from mmer_core.store import ArtifactKey
from mmer_core.task_kinds import kind_of

pytestmark = pytest.mark.long

ATTACK = AttackConfig(
    attacks=("sparse-rs", "random"), pixels=(3,), images=4, budget=20, match_criterion="both", top=2
)


def opened(study: Study, task: str):
    found = study.only("model", task=task, family="joint")
    trained = TrainedModel.open(study.context.folder(found.key), "cpu")
    split = Prepared.open(study.context.folder(ArtifactKey.parse(found.inputs["prepared"]))).split("test")
    features = Features(study.context.folder(ArtifactKey.parse(found.inputs["features"])))
    encoder = study.context.image_encoder(trained.spec.encoders.image, trained.spec.encoders.image_size)
    return trained, split, features, encoder


def attacked_features(split, encoder, outcome) -> torch.Tensor:
    image = encoder.resize(np.asarray(split.images("context")[[split.ids.index(outcome["sample"])]]))[0]
    return encoder.encode(torch.from_numpy(write_changes(image, outcome["changed"]))[None])


def test_emotion_models_keep_the_scores_of_all_categories(study: Study, tmp_path) -> None:
    job = attack_elsewhere(study, ATTACK, tmp_path)
    run = Context(job.runtime).artifact(ArtifactKey.parse(jobs.robustness.fn(job)))
    trained, split, features, encoder = opened(study, "emotion")
    data = kind_of("emotion").data(features, split)
    outcomes = load_outcomes(run.folder).to_dict("records")
    for outcome in outcomes:
        row = split.ids.index(outcome["sample"])
        shown = data.rows(torch.tensor([row]))
        for reading, changed in (("clean_reading", []), ("final_reading", outcome["changed"])):
            seen = attacked_features(split, encoder, outcome | {"changed": changed})
            scores = trained.calibrated_logits(shown.streams | {"context": seen}, shown.present)
            np.testing.assert_allclose(outcome[reading], scores[0].detach(), rtol=1e-3, atol=1e-3)
    assert {outcome["attack"] for outcome in outcomes} == {"sparse-rs", "random"}
    assert any(outcome["clean_reading"] != outcome["final_reading"] for outcome in outcomes)


@pytest.mark.usefixtures("as_it_was")
def test_retrieval_models_keep_ranks_among_all_captions_and_all_other_images(study: Study) -> None:
    trained, split, features, encoder = opened(study, "retrieval")
    key = str(study.only("model", task="retrieval", family="joint").key)
    run = jobs.robustness.fn(RobustnessJob(trained=key, attack=ATTACK, runtime=study.config.runtime))
    data = kind_of("retrieval").data(features, split)
    images, texts = trained.embed_images({"context": data.images}), trained.embed_texts(data.texts)
    most = int(np.bincount(split.text_sample).max())
    for outcome in load_outcomes(study.context.folder(ArtifactKey.parse(run))).to_dict("records"):
        row = split.ids.index(outcome["sample"])
        for reading, changed in (("clean_reading", []), ("final_reading", outcome["changed"])):
            # The usual protocol, with one image replaced by the attacked one.
            among = images.copy()
            among[row] = trained.embed_images(
                {"context": attacked_features(split, encoder, outcome | {"changed": changed})}
            )[0]
            ranks = similarity_ranks(among, texts, split.text_sample)
            own = ranks.t2i[split.text_sample == row].tolist()
            expected = [ranks.i2t[row], *own, *[np.nan] * (most - len(own))]
            np.testing.assert_array_equal(outcome[reading], expected)
