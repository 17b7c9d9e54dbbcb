"""A model and its evaluation -> a model card."""

from typing import Any, Literal

from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.licences import weights_licence
from mmer_core.escaping import json_text, without_folders
from mmer_core.models.spec import SPEC_FILE, ModelSpec
from mmer_core.record import Record
from mmer_core.reporting.absence import without_images
from mmer_core.reporting.card import card_fields, to_markdown
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.evaluate import open_evaluation
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.task_kinds import kind_of

CARD_FILE = "card.md"
FIELDS_FILE = "card.json"


class ModelCardSummary(Record):
    """Of which model a card is, and how many limits it states."""

    version: Literal[1] = 1
    task: str
    family: str
    dataset: str
    limits: int


def _licences(context: Context, model: ArtifactKey) -> dict[str, Any]:
    """What is stated about weights depends on the machine, so it is part of the card's key."""
    spec = ModelSpec.model_validate_json((context.folder(model) / SPEC_FILE).read_text())
    names = [spec.encoders.image] * bool(spec.sides) + [spec.encoders.text] * ("text" in spec.streams)
    return {"licences": {name: weights_licence(context.encoder_name(name)) for name in names}}


@stage("model-card", version=5, identity=_licences)
def model_card(
    context: Context,
    workspace: Workspace,
    prepared: ArtifactKey,
    model: ArtifactKey,
    evaluation: ArtifactKey,
) -> ModelCardSummary:
    """A model card: ``card.md`` for people and ``card.json`` with the same for programs."""
    trained = context.artifact(model)
    spec = ModelSpec.model_validate_json((trained.folder / SPEC_FILE).read_text())
    data = Prepared.open(context.parts(prepared))
    measured = open_evaluation(context, evaluation)
    words = kind_of(spec.task).text_for(data.split(measured.split))
    licences = without_folders(_licences(context, model)["licences"])
    fields = card_fields(words, spec, trained.manifest, data.card, measured, licences, without_images(data))
    text = json_text(fields) + "\n"
    (workspace.out / FIELDS_FILE).write_text(text, "utf-8")
    (workspace.out / CARD_FILE).write_text(to_markdown(fields), "utf-8")
    return ModelCardSummary(
        task=spec.task, family=spec.family, dataset=spec.dataset, limits=len(fields["limits"])
    )
