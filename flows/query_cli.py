"""The tables that jobs print."""

import statistics
from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.table import Table

from flows.terminal import tables
from mmer_core.stages import Context
from mmer_core.stages.describing import CARD_PAGE
from mmer_core.stages.evaluating import load_metrics
from mmer_core.stages.indexing import index_rows
from mmer_core.stages.poison.merging import PAGE_FILE
from mmer_core.stages.training import HISTORY_FILE
from mmer_core.store import ArtifactKey
from mmer_core.taxonomy import SPLITS


def print_card(context: Context, prepared: ArtifactKey, described: ArtifactKey) -> None:
    """A prepared dataset in figures, the page that shows more, and the folder of its arrays."""
    artifact, page = context.artifact(prepared), context.artifact(described)
    card = artifact.summary
    sources = list(card["text_provenance"])
    table = Table("split", "samples", "texts", *(f"from {source}" for source in sources), box=None)
    for split in SPLITS:
        count = card["counts"][split]
        found = [card["text_coverage"][split].get(source, 0) for source in sources]
        table.add_row(split, str(count), str(card["texts"][split]), *map(str, found))
    console = tables()
    console.print(f"{card['name']}, protocol {card['protocol']}: {card['inputs']} samples found")
    console.print(table)
    for what, reasons in (("samples", card["quarantined"]), ("captions", card["texts_quarantined"])):
        listed = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        console.print(f"{sum(reasons.values())} {what} in quarantine" + (f": {listed}" if listed else ""))
    leaks = page.summary["leaks"]
    listed = ", ".join(f"{count} {kind}" for kind, count in leaks.items())
    console.print(f"in two splits: {listed or 'no image'}")
    print(page.folder / CARD_PAGE)
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
    for side, labels in metrics.get("unmatched_labels", {}).items():
        if labels:
            tables().print(
                f"not evaluated, {side.replace('_', ' the ')} has: {', '.join(labels)}", markup=False
            )


def print_history(context: Context, key: ArtifactKey) -> None:
    """What a training printed by epoch, the kept one marked."""
    artifact = context.artifact(key)
    history = pd.read_csv(artifact.folder / HISTORY_FILE)
    table = Table(*(name.replace("_", " ") for name in history.columns), "", box=None)
    for row in history.to_dict("records"):
        kept = "kept" if row["epoch"] == artifact.summary["best_epoch"] else ""
        table.add_row(str(int(row.pop("epoch"))), *map(_number, row.values()), kept)
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


def print_index(context: Context, key: ArtifactKey) -> None:
    """Both indexes, how well and how fast they find, and what cross-modal retrieval loses through them."""
    summary = context.artifact(key).summary
    rows = index_rows(summary)
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    tables().print(table)
    if "parts" in summary:
        gone = ", ".join(f"{count} {target}s" for target, count in summary["dropped"].items())
        tables().print(
            f"version {summary['version']}: {summary['images']} images and {summary['texts']} texts in "
            f"{len(summary['parts'])} parts, {gone} deleted or replaced"
        )
    else:
        _print_protocol(summary)
    if not summary["images"]:
        print("0 photos: searches find nothing until some are added with mmer update-index")


def _print_protocol(summary: dict[str, Any]) -> None:
    """What cross-modal retrieval loses through an index."""
    recalls = Table("recall, held-out queries", "through the index", "exact", "lost", box=None)
    protocol = summary["protocol"]
    for name, exact in protocol["exact"].items():
        recalls.add_row(name, *map(_number, (protocol["index"][name], exact, protocol["lost"][name])))
    tables().print(recalls)
    for target, one in summary["search"].items():
        if not one["reached"]:
            tables().print(f"mind: the {target} index misses the recall asked for at any {one['parameter']}")


def print_curves(context: Context, robustness: ArtifactKey) -> None:
    """Success of attacks against changed pixels."""
    table = Table("attack", "pixels", "attacked", "fooled %", "95 % interval", "median queries", box=None)
    for row in context.artifact(robustness).summary["curves"]:
        success = row["success"]
        interval = f"{_number(success['low'])} to {_number(success['high'])}"
        cells = (row["attack"], row["pixels"], row["n"], _number(success["value"]), interval)
        table.add_row(*(str(cell) for cell in cells), _number(row["median_queries"]))
    tables().print(table)


def print_poisoning(context: Context, key: ArtifactKey) -> None:
    """Warnings, what poisons did, and the page that shows more."""
    artifact = context.artifact(key)
    console = tables()
    for warning in artifact.summary["warnings"]:
        console.print(f"mind: {warning}", markup=False)
    columns = ("model", "attack", "poisons", "filtered by", "success %", "no poison %", "metric", "lost")
    table = Table(*columns, box=None)
    for row in artifact.summary["means"]:
        figures = (row[name] for name in ("success", "reference", "metric", "metric_loss"))
        names = (row["family"], row["attack"], str(row["count"]), row["filtered"])
        table.add_row(*names, *map(_number, figures))
    console.print(f"{artifact.summary['dataset']}: poisons for {artifact.summary['target']}", markup=False)
    console.print(table)
    print(artifact.folder / PAGE_FILE)


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
