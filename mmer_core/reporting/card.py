"""What a model is, from which data, and how good, gathered from its artifacts.

After Mitchell et al. 2019, *Model Cards for Model Reporting*, https://arxiv.org/abs/1810.03993. Nothing here is
written by hand for a model: every sentence follows from a figure or a field.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from mmer_core.datasets.prepared import DatasetSummary
from mmer_core.encoders.licences import NOT_STATED
from mmer_core.escaping import for_code, for_markdown, without_folders
from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.models import ModelSpec
from mmer_core.record import Interval
from mmer_core.reporting.estimates import Estimate, number
from mmer_core.reporting.labels import metric
from mmer_core.reporting.task_text import TaskText
from mmer_core.store import Manifest

Fields = dict[str, Any]
FEW = 20
"""A category with fewer positives than this is measured too coarsely to say much."""


def card_fields(
    text: TaskText,
    spec: ModelSpec,
    manifest: Manifest,
    data: DatasetSummary,
    evaluation: EvaluationRecord,
    licences: Mapping[str, str],
    absent: str = "",
) -> Fields:
    """Everything that a card says, JSON-able.

    Args:
        text: The words of the model's kind of task.
        manifest: Of the model.
        data: The dataset that it was trained on.
        evaluation: Its analyses are left out.
        licences: By encoder name.
        absent: How many samples have no image, in a sentence.
    """
    return {
        "model": str(manifest.key),
        "title": f"{spec.family.capitalize()} {text.model} model on {data.name}",
        "task": spec.task,
        "family": spec.family,
        "streams": spec.streams,
        "embedding": spec.embedding,
        "labels": spec.labels,
        "dimensions": spec.dimensions,
        "seed": manifest.seed,
        "data": {
            "name": data.name,
            "synthetic": data.synthetic,
            "protocol": data.protocol,
            "inputs": data.inputs,
            "samples": data.counts,
            "texts": data.texts,
            "quarantined": data.quarantined,
            "text_sources": data.text_provenance,
            **({"without_image": absent} if absent else {}),
        },
        "encoders": [{"name": name, "licence": licence} for name, licence in licences.items()],
        "evaluation": evaluation.model_dump(mode="json", exclude={"analyses"}),
        "measured_on": f"the {evaluation.split} split, {text.measured_on(evaluation)}",
        "uses": text.uses(spec, data),
        "limits": limits(text, spec, data, evaluation, licences),
        "config": without_folders(manifest.config),
        "code_version": manifest.code_version,
        "libraries": manifest.libraries,
    }


def limits(
    text: TaskText,
    spec: ModelSpec,
    data: DatasetSummary,
    evaluation: EvaluationRecord,
    licences: Mapping[str, str],
) -> list[str]:
    """What the figures do not carry, most important first."""
    found = []
    if data.synthetic:
        found.append(
            "Trained and measured on images that mmer drew; nothing is known about real photographs."
        )
    else:
        found.append(
            f"Measured on {data.name} only; nothing is known about other sources of images and texts."
        )
    if evaluation.split == "val":
        found.append("The kept epoch and the thresholds were chosen on the split that is measured here, val, "
                     "so the figures are too high by an unknown amount.")  # fmt: skip
    if evaluation.split == "train":
        found.append("Measured on the samples that it was trained on, which shows little about any others.")
    found += _against_chance(text, evaluation)
    found += text.limits(evaluation)
    if data.text_provenance.get("template") and "text" in spec.streams:
        share = 100 * data.text_provenance["template"] / sum(data.text_provenance.values())
        found.append(
            f"{number(share, 0)} % of its texts were templates filled from metadata, not descriptions."
        )
    unstated = [name for name, licence in licences.items() if licence == NOT_STATED]
    if unstated:
        found.append(
            f"No licence is stated with the weights of {', '.join(unstated)}; ask their publisher before use."
        )
    found.append("How easily changed pixels mislead it is not on this card; mmer robustness measures it.")
    return found


def _against_chance(text: TaskText, evaluation: EvaluationRecord) -> list[str]:
    found = []
    reached = Estimate.of(evaluation.metrics.get(text.headline))
    level = evaluation.baselines.get(text.headline)
    if reached and level is not None and reached.low <= level:
        found.append(f"Not clearly better than chance: {reached.sentence(' %')} against {number(level)} %.")
    weak = [
        one.name
        for one in evaluation.per_category
        if (ap := Estimate.of(one.ap)) and ap.low <= one.prevalence
    ]
    if weak:
        found.append(f"Not clearly better than chance at {_listed(weak)}.")
    few = [one.name for one in evaluation.per_category if round(one.prevalence * evaluation.n / 100) < FEW]
    if few:
        found.append(
            f"Fewer than {FEW} {text.samples} measured here show {_listed(few)}; these figures are coarse."
        )
    error = Estimate.of(evaluation.metrics.get("vad_mae"))
    constant = evaluation.baselines.get("vad_mae")
    if error and constant is not None and error.high >= constant:
        found.append(
            f"Its ratings are off by {error.sentence(' points', 3)}, not clearly better than always giving the same "
            f"({number(constant, 3)})."
        )
    return found


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def to_markdown(fields: Fields) -> str:
    """The card as Markdown; the same fields give the same text."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.filters |= {"code": _code, "estimate": _estimate, "number": number}
    environment.globals["metric"] = metric
    source = resources.files("mmer_core.reporting").joinpath("templates/card.md").read_text("utf-8")
    return environment.from_string(source).render(fields)


def _shown(value: object) -> object:
    """Whatever the template prints, as Markdown that shows it; what is Markdown already is marked so."""
    return value if isinstance(value, Markup) else for_markdown(value)


def _code(value: object) -> Markup:
    return Markup(for_code(value))


def _estimate(interval: Mapping[str, float | None], digits: int = 1) -> str:
    estimate = Estimate.of(Interval(**interval))
    return estimate.sentence("", digits) if estimate else number(None)
