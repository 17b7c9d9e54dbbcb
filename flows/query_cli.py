"""`mmer search` and `mmer predict`, and the tables that jobs print."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.table import Table

from flows.terminal import tables
from mmer_core.config import RuntimeConfig
from mmer_core.queries import predict_photo, search_index
from mmer_core.stages import Context
from mmer_core.stages.evaluating import load_metrics
from mmer_core.store import Artifact, ArtifactKey

Runtime = Annotated[RuntimeConfig, Parameter(name="*")]


def add_to(app: App) -> None:
    """Register the commands."""
    app.command(search)
    app.command(predict)


def search(
    text: str | None = None,
    *,
    image: Path | None = None,
    target: str = "image",
    k: int = 10,
    index: str = "index",
    json_output: Annotated[bool, Parameter(name="--json")] = False,
    runtime: Runtime = RuntimeConfig(),
) -> None:
    """Search a FAISS index by text or by photo.

    Parameters
    ----------
    text:
        What to look for: "two dogs in the snow".
    image:
        A photo to look for, instead of a text.
    target:
        What to find: image or text.
    k:
        How many results.
    index:
        Key of the index; the newest one by default.
    json_output:
        Print JSON instead of a table.
    """
    hits = search_index(Context(runtime), text=text, image=image, target=target, k=k, index=index)
    if json_output:
        print(json.dumps([vars(hit) for hit in hits], indent=2))
        return
    table = Table("", "similarity", "photo", "caption", box=None)
    for place, hit in enumerate(hits, start=1):
        table.add_row(str(place), f"{hit.score:.3f}", hit.id, hit.caption)
    tables().print(table)


def predict(
    photo: Path,
    *,
    box: tuple[int, int, int, int] | None = None,
    text: str | None = None,
    model: str | None = None,
    json_output: Annotated[bool, Parameter(name="--json")] = False,
    runtime: Runtime = RuntimeConfig(),
) -> None:
    """Read the emotion of a person in a photo.

    Parameters
    ----------
    photo:
        The photo.
    box:
        The person: x1 y1 x2 y2 in pixels; the whole photo when not given.
    text:
        A text that goes with the photo; the model does without when not given.
    model:
        Key of an emotion model; the newest one by default.
    json_output:
        Print JSON instead of a table.
    """
    reading = predict_photo(Context(runtime), photo, box=box, text=text, model=model)
    if json_output:
        print(json.dumps(reading.to_dict(), indent=2))
        return
    table = Table("emotion", "probability", "present", box=None)
    for name, probability, present in reading.ranked():
        table.add_row(name, f"{probability:.2f}", "yes" if present else "")
    tables().print(table)
    if reading.ratings:
        print(", ".join(f"{name} {value:.1f}" for name, value in reading.ratings.items()) + " (1 to 10)")


def print_card(artifact: Artifact) -> None:
    """A prepared dataset in figures."""
    card = artifact.summary
    table = Table("split", "samples", "texts", box=None)
    for split, count in card["counts"].items():
        table.add_row(split, str(count), str(card["texts"][split]))
    console = tables()
    console.print(f"{card['name']}, protocol {card['protocol']}: {card['inputs']} samples found")
    console.print(table)
    for what, reasons in (("samples", card["quarantined"]), ("captions", card["texts_quarantined"])):
        listed = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        console.print(f"{sum(reasons.values())} {what} in quarantine" + (f": {listed}" if listed else ""))
    print(artifact.folder)


def print_metrics(context: Context, evaluation: ArtifactKey) -> None:
    """A model's metrics with their intervals, beside chance."""
    artifact = context.artifact(evaluation)
    metrics = load_metrics(artifact.folder)
    baselines = _no_skill(metrics)
    table = Table("metric", "value", "95 % interval", "no skill", box=None)
    for name, estimate in metrics["metrics"].items():
        interval = f"{_number(estimate['low'])} to {_number(estimate['high'])}"
        table.add_row(name, _number(estimate["value"]), interval, _number(baselines.get(name)))
    tables().print(f"{artifact.summary['family']} model on {metrics['split']}")
    tables().print(table)


def print_spread(context: Context, evaluations: Sequence[ArtifactKey]) -> None:
    """Mean and sample standard deviation of every metric over models that differ in their seed only."""
    artifacts = [context.artifact(key) for key in evaluations]
    metrics = [load_metrics(artifact.folder) for artifact in artifacts]
    baselines = _no_skill(metrics[0])
    table = Table("metric", f"mean ± std of {len(metrics)} seeds", "no skill", box=None)
    for name in metrics[0]["metrics"]:
        values = [one["metrics"][name]["value"] for one in metrics]
        table.add_row(name, _spread(values), _number(baselines.get(name)))
    tables().print(f"{artifacts[0].summary['family']} model on {metrics[0]['split']}")
    tables().print(table)


def print_curves(context: Context, robustness: ArtifactKey) -> None:
    """Success of attacks against changed pixels."""
    table = Table("attack", "pixels", "attacked", "fooled %", "95 % interval", "median queries", box=None)
    for row in context.artifact(robustness).summary["curves"]:
        success = row["success"]
        interval = f"{_number(success['low'])} to {_number(success['high'])}"
        cells = (row["attack"], row["pixels"], row["n"], _number(success["value"]), interval)
        table.add_row(*(str(cell) for cell in cells), _number(row["median_queries"]))
    tables().print(table)


def _no_skill(metrics: dict[str, Any]) -> dict[str, float | None]:
    """What chance or the best constant scores, by the name of the metric."""
    baselines: dict[str, float | None] = metrics["baselines"]
    return baselines | {"map": baselines.get("chance_map"), "vad_mae": baselines.get("constant_vad_mae")}


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return _number(None)
    return f"{_number(statistics.mean(known))} ± {_number(statistics.stdev(known))}"


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.2f}"
