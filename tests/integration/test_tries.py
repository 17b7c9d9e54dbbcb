"""Several settings are tried for one model: the same for every family, judged on val and on nothing else."""

import pytest
import torch
from support.small_pipeline import BEFORE_TRAINING, Study, copy_artifact

from mmer_core import stages
from mmer_core.config import ModelConfig, RuntimeConfig, TrainingConfig
from mmer_core.models import load_model
from mmer_core.stages import Context
from mmer_core.store import Artifact, ArtifactKey
from mmer_core.training.record import ModelSummary

SMALL = ModelConfig(embedding=16, hidden=16)


@pytest.fixture(scope="module")
def context(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A store of the study's data, where the split test is empty of sense: its features are not there."""
    folder = tmp_path_factory.mktemp("tries")
    context = Context(RuntimeConfig(store=str(folder / "store"), work=folder / "work"))
    for manifest in study.store.list():
        if manifest.kind in BEFORE_TRAINING:
            copy_artifact(manifest, study.store, context.store)
            if manifest.kind in ("features", "prepared"):
                for file in context.folder(manifest.key).glob("test_*"):
                    file.unlink()
    return context


def trained(context: Context, study: Study, family: str, dataset: str, **fields: object) -> Artifact:
    made = study.only("model", task=dataset, family="joint").inputs
    of_dataset = {role: ArtifactKey.parse(made[role]) for role in ("prepared", "features")}
    model = SMALL.model_copy(update={"family": family, "dropout": fields.pop("dropout", None)})
    job = study.train_job("emotic")
    return stages.train(
        context, model, TrainingConfig(epochs=3, **fields), job.encoders, of_dataset["prepared"], of_dataset["features"]
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("task", ["emotion", "retrieval"])
def test_the_best_of_equal_tries_on_val_is_kept(task: str, study: Study, context: Context) -> None:
    searched = []
    for family in ("separate", "joint"):
        model = trained(context, study, family, task, tries=4, seed=1)
        made = model.manifest.summary_as(ModelSummary)
        searched.append([(one.learning_rate, one.weight_decay, one.dropout) for one in made.tries])
        values = [one.value for one in made.tries]
        best = made.tries[made.chosen]
        assert best.value == max(values)
        assert len({(one.value, one.lead) for one in made.tries}) > 1
        selection = {"emotion": "val_map", "retrieval": "val_mean_recall"}[task]
        assert getattr(made, selection) == pytest.approx(best.value)
        # With its settings alone, the same model comes out.
        settings = {"learning_rate": best.learning_rate, "weight_decay": best.weight_decay}
        alone = trained(context, study, family, task, **settings, dropout=best.dropout, seed=1, tries=1)
        (kept, spec), (other, _) = load_model(model.folder), load_model(alone.folder)
        assert spec.dropout == best.dropout
        assert all(torch.equal(x, y) for x, y in zip(kept.parameters(), other.parameters(), strict=True))
    assert len(searched[0]) == 4
    assert searched[0] == searched[1]
