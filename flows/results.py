"""What the command of each job prints."""

import statistics
from collections.abc import Sequence
from shlex import quote
from typing import Any

from flows.jobs import Ingested, Trained
from flows.output import say
from flows.terminal import say_table
from mmer_core.attacks.record import CurvesSummary
from mmer_core.config import RuntimeConfig
from mmer_core.datasets.prepared import DatasetSummary, Prepared
from mmer_core.evaluation.record import EvaluationSummary
from mmer_core.evaluation.retrieval_metrics import RECALLS
from mmer_core.poisoning.record import PoisoningSummary
from mmer_core.record import Interval
from mmer_core.reporting.absence import without_images
from mmer_core.reporting.verdict import QUESTION, verdict_rows
from mmer_core.retrieval.record import IndexSummary, Protocol
from mmer_core.stages import Context
from mmer_core.stages.dataset_card import CARD_PAGE, DatasetCardSummary
from mmer_core.stages.evaluate import load_evaluation
from mmer_core.stages.index import index_rows
from mmer_core.stages.photos import attacked_pixels
from mmer_core.stages.poison.merging import PAGE_FILE
from mmer_core.stages.report import COMPARISONS_FILE, REPORT_FILE
from mmer_core.stages.train import load_history
from mmer_core.statistics.comparison import Comparisons
from mmer_core.store import ArtifactKey
from mmer_core.taxonomy import SPLITS
from mmer_core.training import ranks
from mmer_core.training.record import AdapterSummary


def print_report(context: Context, key: str) -> None:
    """The verdict on every dataset, a row a question, how to search where there is an index, and the path of the report."""
    folder = context.folder(ArtifactKey.parse(key))
    for name, comparisons in Comparisons.read(folder / COMPARISONS_FILE).datasets.items():
        if rows := verdict_rows(comparisons):
            say(f"{name}: the verdict")
            say_table(QUESTION, rows)
    if any(key.kind == "index" for key in context.store.keys()):  # noqa: SIM118
        usual = RuntimeConfig().store
        flags = "" if context.runtime.store == usual else f" --store {quote(context.runtime.store)}"
        say(f"to search: mmer serve{flags}, then http://127.0.0.1:8008/ in a browser")
    say(folder / REPORT_FILE)


def print_ingest(context: Context, made: Ingested) -> None:
    """A prepared dataset in figures, the page that shows more, and the folder of its arrays."""
    artifact, page = (context.artifact(ArtifactKey.parse(key)) for key in made)
    card = artifact.manifest.summary_as(DatasetSummary)
    sources = list(card.text_provenance)
    rows = []
    for split in SPLITS:
        count = card.counts[split]
        found = [card.text_coverage[split].get(source, 0) for source in sources]
        rows.append((split, count, card.texts[split], *found))
    say(f"{card.name}, protocol {card.protocol}: {card.inputs} samples found")
    say_table(("split", "samples", "texts", *(f"from {source}" for source in sources)), rows)
    for what, reasons in (("samples", card.quarantined), ("captions", card.texts_quarantined)):
        listed = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        say(f"{sum(reasons.values())} {what} in quarantine" + (f": {listed}" if listed else ""))
    if absent := without_images(Prepared.open(artifact.folder)):
        say(absent)
    leaks = page.manifest.summary_as(DatasetCardSummary).leaks
    listed = ", ".join(f"{count} {kind}" for kind, count in leaks.items())
    say(f"in two splits: {listed or ('nothing' if absent else 'no image')}")
    say(page.folder / CARD_PAGE, artifact.folder)


def print_train(context: Context, made: Trained) -> None:
    """A model's metrics and its key."""
    _print_metrics(context, made.evaluation)
    say(f"model {made.model}")


def print_evaluate(context: Context, key: str) -> None:
    """A model's metrics and their key."""
    _print_metrics(context, key)
    say(key)


def _print_metrics(context: Context, evaluation: str) -> None:
    """A model's metrics with their intervals, beside chance."""
    artifact = context.artifact(ArtifactKey.parse(evaluation))
    record = load_evaluation(artifact.folder)
    rows = [
        (
            name,
            _number(one.value),
            f"{_number(one.low)} to {_number(one.high)}",
            _number(record.baselines.get(name)),
        )
        for name, one in record.metrics.items()
    ]
    say(f"{artifact.manifest.summary_as(EvaluationSummary).family} model on {record.split}")
    say_table(("metric", "value", "95 % interval", "no skill"), rows)
    for side, labels in record.unmatched_labels:
        if labels:
            say(f"not evaluated, {side.replace('_', ' the ')} has: {', '.join(labels)}")


def print_finetune(context: Context, key: str) -> None:
    """The figures of every epoch, the kept one marked, and the encoders' name; once, however many processes made them."""
    launched = ranks.launched()
    if launched and launched.rank:
        return
    artifact = context.artifact(ArtifactKey.parse(key))
    history = load_history(artifact.folder)
    kept_epoch = artifact.manifest.summary_as(AdapterSummary).best_epoch
    rows = []
    for row in history.to_dict("records"):
        kept = "kept" if row["epoch"] == kept_epoch else ""
        rows.append((int(row.pop("epoch")), *map(_number, row.values()), kept))
    say_table((*(name.replace("_", " ") for name in history.columns), ""), rows)
    say(f"adapted:{key}")


def print_seeds(context: Context, made: Sequence[Trained]) -> None:
    """Mean and sample standard deviation of every metric over the seeds, and the keys of the models."""
    artifacts = [context.artifact(ArtifactKey.parse(one.evaluation)) for one in made]
    records = [load_evaluation(artifact.folder) for artifact in artifacts]
    rows = []
    for name in records[0].metrics:
        values = [one.metrics[name].value for one in records]
        rows.append((name, _spread(values), _number(records[0].baselines.get(name))))
    say(f"{artifacts[0].manifest.summary_as(EvaluationSummary).family} model on {records[0].split}")
    say_table(("metric", f"mean ± std of {len(records)} seeds", "no skill"), rows)
    say(*(f"model {one.model}" for one in made))


def print_index(context: Context, key: str) -> None:
    """Recall and speed of both indexes, what cross-modal retrieval loses through them, and their key."""
    summary = context.artifact(ArtifactKey.parse(key)).manifest.summary_as(IndexSummary)
    rows = index_rows(summary)
    rows = [row for row in rows if row["vectors"]] or rows
    say(
        f"{summary.dataset}, {summary.family} model: {summary.images} images and {summary.texts} texts of {summary.split}"
    )
    say_table(
        rows[0],
        [[f"{value:.3f}" if isinstance(value, float) else value for value in row.values()] for row in rows],
    )
    if summary.parts:
        gone = ", ".join(f"{count} {target}s" for target, count in summary.dropped.items())
        say(f"version {summary.revision} in {len(summary.parts)} parts, {gone} deleted or replaced")
    if summary.protocol is not None and summary.protocol.exact:
        _print_protocol(summary.protocol)
        for target, one in summary.search.items():
            if not one.reached:
                say(f"warning: the {target} index misses the requested recall at every {one.parameter}")
    if not summary.images:
        say("0 photos: searches find nothing until some are added with mmer update-index")
    say(key)


def _print_protocol(protocol: Protocol) -> None:
    """What cross-modal retrieval loses through an index."""
    names = [f"{direction}_r{k}" for direction in ("i2t", "t2i") for k in RECALLS] + ["mean_recall"]
    rows = [
        (name, *(_number(part[name]) for part in (protocol.index, protocol.exact, protocol.lost)))
        for name in names
        if name in protocol.exact
    ]
    say_table(("recall, held-out queries", "through the index", "exact", "lost"), rows)


def print_robustness(context: Context, key: str) -> None:
    """Success of attacks by the number of changed pixels; of those that one pixel can fool, and by seed, where known."""
    rows, manifest = [], context.artifact(ArtifactKey.parse(key)).manifest
    curves = manifest.summary_as(CurvesSummary).curves
    for point in curves:
        cells = (point.attack, point.pixels, point.n, *_share(point.success))
        robust = point.robust_accuracy.value if point.robust_accuracy else None
        rows.append((*cells, _number(point.median_queries), _number(robust)))
    say(f"attacked: {attacked_pixels(context, manifest)}")
    columns = ("attack", "pixels", "attacked", "fooled %", "95 % interval", "median queries")
    say_table((*columns, "robust accuracy %"), rows)
    if strength := [(one.attack, one.foolable, *_share(one.found)) for one in curves if one.foolable]:
        say_table(("attack", "one pixel can fool", "found %", "95 % interval"), strength)
    if seeds := [(one.attack, one.pixels, *map(_number, one.by_seed)) for one in curves if one.by_seed]:
        say_table(("attack", "pixels", *(f"seed {n}, fooled %" for n in range(1, len(seeds[0]) - 1))), seeds)


def print_poison(context: Context, key: str) -> None:
    """Warnings, what poisons did, and the page that shows more."""
    artifact = context.artifact(ArtifactKey.parse(key))
    summary = artifact.manifest.summary_as(PoisoningSummary)
    say(*(f"warning: {warning}" for warning in summary.warnings))
    columns = ("model", "attack", "poisons", "filtered by", "success %", "no poison %", "metric", "lost")
    rows = []
    for row in summary.means:
        figures = (row.success, row.reference, row.metric, row.metric_loss)
        rows.append((row.family, row.attack, row.count, row.filtered, *map(_number, figures)))
    say(f"{summary.dataset}: poisons for {summary.target}")
    say_table(columns, rows)
    say(artifact.folder / PAGE_FILE)


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return _number(None)
    return f"{_number(statistics.mean(known))} ± {_number(statistics.stdev(known))}"


def _share(found: Interval) -> tuple[str, str]:
    return _number(found.value), f"{_number(found.low)} to {_number(found.high)}"


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.2f}"
