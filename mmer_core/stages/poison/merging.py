"""All outcomes of an experiment as one table, with means and intervals over seeds, warnings, and a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mmer_core.config import PoisonConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.escaping import without_folders
from mmer_core.escaping.tables import write_frame_for_people
from mmer_core.heavy import pd
from mmer_core.poisoning import CONTROLS, is_crafted
from mmer_core.poisoning.record import (
    DetectionSummary,
    MeanDetection,
    MeanOutcome,
    OutcomeSummary,
    PoisoningSummary,
    PoisonSummary,
)
from mmer_core.record import Interval, Record
from mmer_core.reporting.page import write_page
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.identity import key_config
from mmer_core.stages.poison.concept import Concept
from mmer_core.stages.poison.judging import OUTCOMES_FILE
from mmer_core.stages.poison.similarities import (
    SIMILARITY_FILE,
    WORD_COLUMNS,
    Change,
    distances,
    pairs_of,
    recall_changes,
    word_drops,
)
from mmer_core.stages.poison.vulnerability import Hits, Photos, by_training, groups, vulnerability
from mmer_core.statistics.trainings import (
    gain_over_trainings,
    over_trainings,
    paired_interval_over_trainings,
    share_over_trainings,
)
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.tabular import read_table
from mmer_core.task_kinds import kind_of

TABLE_FILE = "poisoning.csv"
DETECTIONS_FILE = "detections.csv"
VULNERABILITY_FILE = "vulnerability.csv"
WORDS_FILE = "words.csv"
PAGE_FILE = "poisoning.html"
_CONFIDENCE = 0.95
_NOT_WRITTEN = ["modalities", "recalls", "judged", "hits", "reference_hits"]
Row = dict[str, Any]


def _identity(
    outcomes: Sequence[tuple[str, ArtifactKey, ArtifactKey | None]], detections: Sequence[ArtifactKey]
) -> dict[str, Any]:
    keys = {}
    for number, (_, outcome, poison) in enumerate(outcomes):
        keys[f"outcome{number:04d}"] = outcome
        if poison is not None:
            keys[f"poison{number:04d}"] = poison
    keys |= {f"detection{number:04d}": key for number, key in enumerate(detections)}
    return {"outcomes": keys, "detections": None, "filtered": [detector for detector, _, _ in outcomes]}


@stage("poisoning", version=10, identity=_identity)
def merge_poisoning(
    context: Context,
    workspace: Workspace,
    config: PoisonConfig,
    concept: Concept,
    prepared: ArtifactKey,
    split: str,
    outcomes: Sequence[tuple[str, ArtifactKey, ArtifactKey | None]],
    detections: Sequence[ArtifactKey],
) -> PoisoningSummary:
    """The experiment's result.

    Files: ``poisoning.csv``, a row for every family, training set and seed; ``detections.csv``, one for every
    detector, model and seed; ``vulnerability.csv``, success by what was in the image before; ``words.csv``, how far similarities
    fell by word; ``poisoning.html``.
    The summary has the means with intervals over seeds, and the warnings.

    Args:
        outcomes: For every model the detector that filtered its training set (or none: ``""``), its outcome and its
            poisons, if any.
        detections: What detectors found.
    """
    table = outcome_table(
        {**_outcome(context, outcome), "filtered": detector, **_visibility(context, poison)}
        for detector, outcome, poison in outcomes
    )
    workspace.use({"config": {"target": concept.name}})
    for key in sorted({poison for _, _, poison in outcomes if poison}):
        workspace.use({"config": context.store.manifest(key).used.get("config", {})})
    manifests = map(context.store.manifest, detections)
    found = pd.DataFrame([_fields(manifest.summary_as(DetectionSummary)) for manifest in manifests])
    dataset = Prepared.open(context.parts(prepared))
    judged = dataset.split(split)
    photos = dict(zip(judged.ids, judged.clusters.tolist(), strict=True))
    vulnerable = vulnerability(_triggered(context, config, outcomes), groups(concept, judged), photos)
    means = over_seeds(table, photos)
    warnings = find_warnings(table, means, photos)
    write_frame_for_people(workspace.out / TABLE_FILE, table.drop(columns=_NOT_WRITTEN))
    write_frame_for_people(workspace.out / DETECTIONS_FILE, found)
    write_frame_for_people(workspace.out / VULNERABILITY_FILE, vulnerable)
    changes = similarity_changes(context, outcomes)
    dropped = word_drops(changes, *pairs_of(judged), _CONFIDENCE)
    write_frame_for_people(workspace.out / WORDS_FILE, pd.DataFrame(dropped, columns=WORD_COLUMNS))
    from mmer_core.reporting.poison_page import PoisonView, render_poison_page  # draws with matplotlib

    view = PoisonView(
        dataset=dataset.card.name,
        text=kind_of(dataset.card.task).text_for(dataset.split(split)),
        synthetic=dataset.card.synthetic,
        split=split,
        target=concept.name,
        training_samples=len(dataset.split("train")),
        seeds=config.seeds,
        config=without_folders(key_config(config)),
        warnings=warnings,
        means=means.to_dict("records"),
        detections=mean_detections(found),
        vulnerability=vulnerable.to_dict("records"),
        modalities=modality_shifts(table),
        recalls=recall_changes(_with_intervals(table)),
        words=dropped,
        distances=distances(changes),
    )
    write_page(render_poison_page(view), workspace.out / PAGE_FILE)
    return PoisoningSummary(
        dataset=dataset.card.name,
        target=concept.name,
        split=split,
        warnings=tuple(warnings),
        means=tuple(MeanOutcome(**row) for row in means.to_dict("records")),
        detections=tuple(MeanDetection(**row) for row in mean_detections(found)),
    )


def similarity_changes(
    context: Context, outcomes: Sequence[tuple[str, ArtifactKey, ArtifactKey | None]]
) -> list[Change]:
    """Of the largest count of every attack, without filters, the similarities of all seeds beside those of the clean models."""
    found: dict[tuple[str, str, int], dict[int, np.ndarray[Any, Any]]] = {}
    for detector, key, _ in outcomes:
        file = context.folder(key) / SIMILARITY_FILE
        if detector or not file.exists():
            continue
        summary = context.store.manifest(key).summary_as(OutcomeSummary)
        own = found.setdefault((summary.family, summary.attack, summary.count), {})
        own[summary.seed] = np.load(file, allow_pickle=False)
    changes = []
    for (family, attack, count), poisoned in sorted(found.items()):
        most = max(one[2] for one in found if one[:2] == (family, attack))
        clean = found.get((family, "clean", 0), {})
        seeds = sorted(poisoned.keys() & clean.keys())
        if attack != "clean" and count == most and seeds:
            pairs = (np.stack([one[seed] for seed in seeds]) for one in (clean, poisoned))
            changes.append(Change(family, attack, count, *pairs))
    return changes


def _with_intervals(table: pd.DataFrame) -> list[Row]:
    """Rows without filters, the recalls as intervals again."""
    rows = table[table["filtered"] == ""].to_dict("records")
    return [
        row | {"recalls": {name: Interval(**one) for name, one in row["recalls"].items()}} for row in rows
    ]


def outcome_table(summaries: Iterable[Row]) -> pd.DataFrame:
    """A row for every model, with ``success`` and, of the clean model of the same family and seed, ``reference`` (the
    same share) and ``metric_loss`` (what the headline metric had more there).

    Success is the share, in percent, of targets that are seen as what poisons were crafted for, for crafted
    poisons, and of triggered images that are seen as the target, for all others: ``hits`` and ``reference_hits``, by
    sample.

    Args:
        summaries: Of every model its `OutcomeSummary`, and what was ``judged``: its ``outcomes.csv``, by sample.
    """
    rows = [dict(summary) for summary in summaries]
    clean = {(row["family"], row["seed"]): row for row in rows if row["attack"] == "clean"}
    for row in rows:
        before = clean[row["family"], row["seed"]]
        share = "targets" if is_crafted(row["attack"]) else "triggered"
        row["success"], row["reference"] = row[share], before[share]
        row["hits"], row["reference_hits"] = (_hits(one["judged"], row["attack"]) for one in (row, before))
        row["metric_loss"] = before["metric"] - row["metric"]
    order = ["family", "attack", "count", "filtered", "seed"]
    return pd.DataFrame(rows).sort_values(order, ignore_index=True)


def _hits(judged: pd.DataFrame, attack: str) -> pd.Series[bool]:
    return judged.loc[judged["aimed"], "seen"] if is_crafted(attack) else judged["seen_triggered"]


def over_seeds(table: pd.DataFrame, photos: Photos) -> pd.DataFrame:
    """Means over seeds with 95 % intervals, ``<name>``, ``<name>_low`` and ``<name>_high``.

    They are of both the trainings and the samples, see `mmer_core.statistics.trainings`; of a single seed they are of the
    samples. What is lost of the headline metric has an interval of the trainings: none for a single one. What the clean model
    gains or loses beside itself is 0, without an interval.
    """
    rows = []
    for key, group in table.groupby(["family", "attack", "count", "filtered"], sort=True):
        row: Row = dict(zip(("family", "attack", "count", "filtered"), key, strict=True))
        row |= {"seeds": len(group), "chance": group["chance"].iloc[0], "no_skill": group["no_skill"].iloc[0]}
        for name, hits in (
            ("success", group["hits"]),
            ("reference", group["reference_hits"]),
            ("untriggered", [judged["seen"] for judged in group["judged"]]),
        ):
            flags, clusters = by_training(hits, photos)
            row |= _ends(name, share_over_trainings(flags, _CONFIDENCE, clusters))
        itself = (
            row["attack"] == "clean"
        )  # has no difference from itself, of which there would be an interval
        gain = Interval(0.0, None, None) if itself else _gain(group["hits"], group["reference_hits"], photos)
        row |= _ends("gain", gain)
        metrics = [Interval(*one) for one in group[["metric", "metric_low", "metric_high"]].to_numpy()]
        row |= _ends("metric", over_trainings(metrics, _CONFIDENCE).interval)
        loss = paired_interval_over_trainings(group["metric_loss"], _CONFIDENCE)
        row |= _ends("metric_loss", Interval(loss.value, None, None) if itself else loss)
        for name in ("psnr", "ssim", "changed"):
            row[name] = float(group[name].mean()) if name in group and group[name].notna().any() else None
        rows.append(row)
    return pd.DataFrame(rows)


def _gain(hits: Hits, others: Hits, photos: Photos) -> Interval:
    """Trainings of one seed begin alike and see the same batches, so they are pairs."""
    (first, clusters), (second, _) = by_training(hits, photos), by_training(others, photos)
    return gain_over_trainings(first, second, _CONFIDENCE, clusters)


def _ends(name: str, interval: Interval) -> Row:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def find_warnings(table: pd.DataFrame, means: pd.DataFrame, photos: Photos) -> list[str]:
    """What keeps a result from meaning what it seems to mean, in sentences for the top of the report.

    Args:
        table: By `outcome_table`.
        means: By `over_seeds`, of the same.
        photos: The photo, or group, of every sample.
    """
    found = []
    if means["seeds"].min() < 2:
        found.append(
            "Everything was trained once, so nothing is known of the variance between trainings: intervals are of the "
            "images alone. Give --poison.seeds 3 or more."
        )
    for row in means[means["attack"] == "clean"].to_dict("records"):
        if not _above(row["metric_low"], row["no_skill"]):
            found.append(
                f"The clean {row['family']} model is not clearly above chance ({row['metric']:.1f} against "
                f"{row['no_skill']:.1f}): what poisons do to it means nothing."
            )
    largest = table[(table["filtered"] == "") & (table["count"] > 0)]
    for family, rows in largest.groupby("family", sort=True):
        attacks = rows[~rows["attack"].isin(list(CONTROLS))]
        for attack, points in attacks.groupby("attack", sort=True):
            most = points[points["count"] == points["count"].max()].sort_values("seed")
            success, count = most["success"].mean(), int(most["count"].iloc[0])
            if not _above(_gain(most["hits"], most["reference_hits"], photos).low):
                found.append(
                    f"{attack} on the {family} model is not shown to do better than no poison at all ({success:.1f} % "
                    f"against {most['reference'].mean():.1f} % with {count} poisons)."
                )
            controls = rows[rows["attack"].isin(list(CONTROLS))]
            for (control, _), shares in controls.groupby(["attack", "count"], sort=True):
                paired = most.merge(shares[["seed", "hits"]], on="seed", suffixes=("", "_control"))
                if paired.empty or is_crafted(attack):
                    continue
                if _above(_gain(paired["hits"], paired["hits_control"], photos).low):
                    continue
                found.append(
                    f"{attack} on the {family} model is not shown to do better than the control {control} "
                    f"({success:.1f} % against {shares['success'].mean():.1f} %)."
                )
    return found


def _above(low: float | None, level: float = 0.0) -> bool:
    return low is not None and low > level


def mean_detections(found: pd.DataFrame) -> list[Row]:
    """Means over seeds, in percent, of what detectors flagged; None where nothing can be divided. Recall has an interval
    of the trainings, each with poisons of its own."""
    if found.empty:
        return []
    rows = []
    for key, group in found.groupby(["attack", "family", "detector"], sort=True):
        row: Row = dict(zip(("attack", "family", "detector"), key, strict=True))
        for name in ("precision", "recall", "false_positive_rate", "auc"):
            values = group[name].dropna()
            row[name] = 100 * float(values.astype(float).mean()) if len(values) else None
        flags = _own_poisons(group[["recall", "poisons"]].dropna())
        row |= _ends("recall", share_over_trainings(flags, _CONFIDENCE))
        rows.append(row)
    return rows


def _own_poisons(found: pd.DataFrame) -> np.ndarray[Any, Any]:
    """``(S, N)`` which poisons of all seeds were flagged: each seed has its own."""
    counts = found["poisons"].astype(int).tolist()
    flags = np.full((len(counts), sum(counts)), np.nan)
    start = 0
    for row, (count, recall) in enumerate(zip(counts, found["recall"], strict=True)):
        flags[row, start : start + count] = np.arange(count) < round(recall * count)
        start += count
    return flags


def modality_shifts(table: pd.DataFrame) -> list[Row]:
    """How far each distance between modalities, and each contribution, is from the clean model's; means over seeds,
    for the largest count of every attack."""
    clean = {
        (row["family"], row["seed"]): row["modalities"]
        for row in table[table["attack"] == "clean"].to_dict("records")
    }
    poisoned = table[(table["attack"] != "clean") & (table["filtered"] == "")]
    rows = []
    for (family, attack), group in poisoned.groupby(["family", "attack"], sort=True):
        largest = group[group["count"] == group["count"].max()].to_dict("records")
        for name in largest[0]["modalities"]:
            before = [clean[family, row["seed"]].get(name) for row in largest]
            after = [row["modalities"].get(name) for row in largest]
            if None in before or None in after:
                continue
            rows.append({
                "family": family, "attack": attack, "count": int(largest[0]["count"]), "what": name,
                "clean": float(np.mean(before)), "poisoned": float(np.mean(after)),
            })  # fmt: skip
    return rows


def _triggered(
    context: Context, config: PoisonConfig, outcomes: Sequence[tuple[str, ArtifactKey, ArtifactKey | None]]
) -> dict[tuple[str, str], list[pd.Series[bool]]]:
    """By family and backdoor what every seed's model saw in triggered images, at the largest count."""
    found: dict[tuple[str, str], list[pd.Series[bool]]] = {}
    for detector, key, _ in outcomes:
        summary = context.store.manifest(key).summary_as(OutcomeSummary)
        other = is_crafted(summary.attack) or summary.attack in (*CONTROLS, "clean")
        if not (detector or other or summary.count < max(config.counts)):
            seen = _judged(context, key)["seen_triggered"]
            found.setdefault((summary.family, summary.attack), []).append(seen)
    return found


def _visibility(context: Context, poison: ArtifactKey | None) -> dict[str, float | None]:
    if poison is None:
        return {}
    seen = context.store.manifest(poison).summary_as(PoisonSummary).visibility
    return {name: seen[name] for name in ("psnr", "ssim", "changed") if name in seen}


def _outcome(context: Context, key: ArtifactKey) -> Row:
    """What is known of one model: its summary, and every sample that was ``judged``."""
    summary = context.store.manifest(key).summary_as(OutcomeSummary)
    return {**_fields(summary), **_ends("metric", summary.metric), "judged": _judged(context, key)}


def _judged(context: Context, key: ArtifactKey) -> pd.DataFrame:
    flags = dict.fromkeys(("seen", "seen_triggered", "aimed"), bool)
    return read_table(context.folder(key) / OUTCOMES_FILE, flags).set_index("sample")


def _fields(record: Record) -> dict[str, Any]:
    return record.model_dump(exclude={"version"})
