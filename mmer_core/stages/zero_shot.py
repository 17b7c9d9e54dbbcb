"""A dual encoder as a model that nobody trained: what every later stage can use like any other."""

from mmer_core import models
from mmer_core.config import EncoderConfig, PromptConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.dual import dual_similarity
from mmer_core.encoders.features import Features
from mmer_core.errors import EncoderError
from mmer_core.models import ModelSpec
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.task_kinds import kind_of
from mmer_core.training.record import ModelSummary


@stage("model", version=2, title="zero-shot {encoders.image}")
def zero_shot(
    context: Context,
    workspace: Workspace,
    prompts: PromptConfig,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
) -> ModelSummary:
    """A model of the family ``zero-shot``; nothing is learned of the dataset but, where it has a
    split val, the calibration of emotions, which leaves every ranking as it is.

    Raises:
        EncoderError: The encoders are not the two towers of one dual encoder.
    """
    dataset, stored = Prepared.open(context.parts(prepared)), Features(context.parts(features))
    towers = (context.encoder_name(name) for name in (encoders.image, encoders.text))
    similarity, kind = dual_similarity(*towers), kind_of(dataset.card.task)
    spec = _spec(dataset, stored, prompts, encoders)
    network = models.build_model(spec)
    network.logit_scale.fill_(similarity.scale).log_()  # type: ignore[operator]
    kind.ask(network, spec, lambda texts: context.text_encoder(encoders.text).encode(texts), similarity.bias)
    val = None
    if dataset.card.counts.get("val"):
        val = kind.data(stored, dataset.split("val")).to(context.device)
    kind.calibrate(network.to(context.device), spec, val, workspace.out)
    models.save_model(network, spec, workspace.out)
    (workspace.out / "history.csv").write_text("epoch\n")
    return ModelSummary(task=spec.task, family=spec.family, dataset=spec.dataset)


def _spec(dataset: Prepared, features: Features, prompts: PromptConfig, encoders: EncoderConfig) -> ModelSpec:
    card = dataset.card
    split = dataset.split(next(name for name, count in card.counts.items() if count))
    widths = features.widths
    if len(set(widths.values())) > 1:
        raise EncoderError(
            f"the towers of {encoders.image} give features of different widths ({widths}); only a dual encoder's "
            "can be compared without training"
        )
    reads = kind_of(card.task).zero_shot_streams(split)
    return ModelSpec(
        task=card.task,
        family="zero-shot",
        streams={name: widths[name] for name in reads},
        sides={name: split.images(name).shape[1] for name in split.streams},
        embedding=widths["context"],
        hidden=0,
        dropout=0.0,
        labels=card.labels,
        dimensions=(),
        prompts=prompts,
        encoders=encoders,
        dataset=card.name,
    )
