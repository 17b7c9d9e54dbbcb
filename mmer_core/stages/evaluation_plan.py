"""Which model to evaluate on which data."""

from dataclasses import dataclass

from mmer_core.config import EncoderConfig, EvaluateJob, IngestConfig
from mmer_core.models.spec import SPEC_FILE, ModelSpec
from mmer_core.stages.context import Context
from mmer_core.stages.lineage import find_model, newest_model
from mmer_core.store import ArtifactKey


@dataclass(frozen=True)
class EvaluationPlan:
    """What an evaluation of a trained model needs, and what of it is there.

    Attributes:
        encoders: The encoders that the model was trained on.
        dataset: To prepare, in the sizes that the model was trained with, where ``prepared`` is None.
        own: The prepared arrays that the model was trained on.
        own_features: Features of ``own``, where they hold the split.
    """

    model: ArtifactKey
    encoders: EncoderConfig
    dataset: IngestConfig
    prepared: ArtifactKey | None
    own: ArtifactKey
    own_features: ArtifactKey | None

    def features(self, prepared: ArtifactKey) -> ArtifactKey | None:
        """Features of prepared arrays that need not be made again."""
        return self.own_features if prepared == self.own else None


def plan_evaluation(context: Context, job: EvaluateJob) -> EvaluationPlan:
    """Find the model, and the dataset it was trained on when the job names none.

    Raises:
        StoreError: There is no such model, or none at all.
        ConfigError: The key is not a model's.
    """
    named = "dataset" in job.model_fields_set and bool(job.dataset.model_fields_set)
    if job.model:
        manifest = find_model(context.store, job.model)
    else:
        tasks = job.dataset.format.tasks if named else ()
        manifest = newest_model(context.store, *tasks)
    spec = ModelSpec.model_validate_json((context.folder(manifest.key) / SPEC_FILE).read_text())
    own, features = (ArtifactKey.parse(manifest.inputs[role]) for role in ("prepared", "features"))
    prepared = ArtifactKey.parse(job.prepared) if job.prepared else None if named else own
    # A zero-shot model may have been made from the features of a few splits.
    files = context.store.manifest(features).files
    whole = any(entry.path.startswith(f"{job.evaluation.split}_") for entry in files)
    dataset = _in_its_sizes(job.dataset, spec)
    return EvaluationPlan(manifest.key, spec.encoders, dataset, prepared, own, features if whole else None)


def _in_its_sizes(dataset: IngestConfig, spec: ModelSpec) -> IngestConfig:
    """The dataset with images of the sides that the model was trained on, unless the user said others."""
    sides = {f"{stream}_size": side for stream, side in spec.sides.items()}
    return dataset.model_copy(
        update={name: side for name, side in sides.items() if name not in dataset.model_fields_set}
    )
