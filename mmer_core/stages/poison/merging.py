"""All outcomes of an experiment as one table, with means and intervals over seeds, warnings, and a page."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from mmer_core.config import PoisonConfig
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.escaping import without_folders
from mmer_core.escaping.tables import write_frame_for_people
from mmer_core.poisoning import CONTROLS, is_crafted
from mmer_core.poisoning.plans import words
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
from mmer_core.reporting.poison_page import PoisonView, render_poison_page
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.identity import key_config
from mmer_core.stages.poison.concept import Concept, grouped_texts
from mmer_core.stages.poison.judging import OUTCOMES_FILE
from mmer_core.statistics.shares import gain_over_trainings, share_over_trainings
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.tabular import read_table
from mmer_core.task_kinds import kind_of

TABLE_FILE = "poisoning.csv"
DETECTIONS_FILE = "detections.csv"
VULNERABILITY_FILE = "vulnerability.csv"
PAGE_FILE = "poisoning.html"
_CONFIDENCE = 0.95
_FEWEST = 5
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


@stage("poisoning", version=6, identity=_identity)
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
    detector, model and seed; ``vulnerability.csv``, success by what was in the image before; ``poisoning.html``.
    The summary has the means with intervals over seeds, and the warnings.

    Args:
        outcomes: For every model the detector that filtered its training set (or none: ``""``), its outcome and its
            poisons, if any.
        detections: What detectors found.
    """
    table = outcome_table(
        {
            **_fields(context.store.manifest(outcome).summary_as(OutcomeSummary)),
            "filtered": detector,
            **_visibility(context, poison),
        }
        for detector, outcome, poison in outcomes
    )
    manifests = map(context.store.manifest, detections)
    found = pd.DataFrame([_fields(manifest.summary_as(DetectionSummary)) for manifest in manifests])
    vulnerable = _vulnerability(context, concept, prepared, split, config, outcomes)
    means = over_seeds(table)
    warnings = find_warnings(table, means)
    write_frame_for_people(workspace.out / TABLE_FILE, table.drop(columns="modalities"))
    write_frame_for_people(workspace.out / DETECTIONS_FILE, found)
    write_frame_for_people(workspace.out / VULNERABILITY_FILE, vulnerable)
    dataset = Prepared.open(context.folder(prepared))
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


def outcome_table(summaries: Iterable[Row]) -> pd.DataFrame:
    """A row for every model, with ``success`` and, of the clean model of the same family and seed, ``reference`` (the
    same share) and ``metric_loss`` (what the headline metric had more there).

    Success is the share, in percent, of targets that are seen as what poisons were crafted for, for crafted
    poisons, and of triggered images that are seen as the target, for all others.
    """
    rows = [dict(summary) for summary in summaries]
    clean = {(row["family"], row["seed"]): row for row in rows if row["attack"] == "clean"}
    for row in rows:
        before = clean[row["family"], row["seed"]]
        share = "targets" if is_crafted(row["attack"]) else "triggered"
        row["success"], row["reference"] = row[share], before[share]
        row["metric_loss"] = before["metric"] - row["metric"]
    order = ["family", "attack", "count", "filtered", "seed"]
    return pd.DataFrame(rows).sort_values(order, ignore_index=True)


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds with 95 % intervals, ``<name>``, ``<name>_low`` and ``<name>_high``.

    Shares, and the ``gain`` of success over that without poison, have intervals of both the trainings and the samples,
    see `mmer_core.statistics.shares`. Of the headline metric, and what is lost of it, they are Student's, over seeds:
    none for a single one.
    """
    rows = []
    for key, group in table.groupby(["family", "attack", "count", "filtered"], sort=True):
        row: Row = dict(zip(("family", "attack", "count", "filtered"), key, strict=True))
        row |= {"seeds": len(group), "chance": group["chance"].iloc[0], "no_skill": group["no_skill"].iloc[0]}
        row["metric_above"] = float(group["metric_low"].min())
        judged = _judged(group)
        for name, n in (("success", judged), ("reference", judged), ("untriggered", _samples(group))):
            row |= _ends(name, share_over_trainings(group[name].to_numpy(float) / 100, n, _CONFIDENCE))
        row |= _ends("gain", _gain(group, group["reference"]))
        row |= _ends("metric", student_interval(group["metric"].to_numpy(float), 0, 100))
        row |= _ends("metric_loss", student_interval(group["metric_loss"].to_numpy(float), -100, 100))
        for name in ("psnr", "ssim", "changed"):
            row[name] = float(group[name].mean()) if name in group and group[name].notna().any() else None
        rows.append(row)
    return pd.DataFrame(rows)


def _samples(group: pd.DataFrame) -> int:
    return int(group["samples"].min())


def _judged(group: pd.DataFrame) -> int:
    """Samples behind a share of successes."""
    return int(group["aimed"].min()) if is_crafted(group["attack"].iloc[0]) else _samples(group)


def _gain(group: pd.DataFrame, other: "pd.Series[float]") -> Interval:
    shares, references = (values.to_numpy(float) / 100 for values in (group["success"], other))
    return gain_over_trainings(shares, references, _judged(group), _CONFIDENCE)


def _ends(name: str, interval: Interval) -> Row:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def student_interval(values: "np.ndarray[Any, np.dtype[np.float64]]", low: float, high: float) -> Interval:
    """Mean of ``(n,)`` values and its 95 % interval by Student's t, within ``low..high``, None without a second value."""
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, None, None)
    half = float(
        student.ppf((1 + _CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    )
    return Interval(mean, max(low, mean - half), min(high, mean + half))


def find_warnings(table: pd.DataFrame, means: pd.DataFrame) -> list[str]:
    """What keeps a result from meaning what it seems to mean, in sentences for the top of the report.

    Args:
        table: By `outcome_table`.
        means: By `over_seeds`, of the same.
    """
    found = []
    for row in means[means["attack"] == "clean"].to_dict("records"):
        if not row["metric_above"] > row["no_skill"]:
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
            if not _above(_gain(most, most["reference"])):
                found.append(
                    f"{attack} on the {family} model is not shown to do better than no poison at all ({success:.1f} % "
                    f"against {most['reference'].mean():.1f} % with {count} poisons)."
                )
            controls = rows[rows["attack"].isin(list(CONTROLS))]
            for (control, _), shares in controls.groupby(["attack", "count"], sort=True):
                paired = most.merge(shares[["seed", "success"]], on="seed", suffixes=("", "_control"))
                if paired.empty or is_crafted(attack) or _above(_gain(paired, paired["success_control"])):
                    continue
                found.append(
                    f"{attack} on the {family} model is not shown to do better than the control {control} "
                    f"({success:.1f} % against {shares['success'].mean():.1f} %)."
                )
    return found


def _above(gain: Interval) -> bool:
    return gain.low is not None and gain.low > 0


def mean_detections(found: pd.DataFrame) -> list[Row]:
    """Means over seeds, in percent, of what detectors flagged; None where nothing can be divided. Recall has an interval
    of both the trainings and the poisons."""
    if found.empty:
        return []
    rows = []
    for key, group in found.groupby(["attack", "family", "detector"], sort=True):
        row: Row = dict(zip(("attack", "family", "detector"), key, strict=True))
        for name in ("precision", "recall", "false_positive_rate", "auc"):
            values = group[name].dropna()
            row[name] = 100 * float(values.astype(float).mean()) if len(values) else None
        recall = group[["recall", "poisons"]].dropna()
        row |= {"recall_low": None, "recall_high": None}
        if len(recall):
            poisons = int(recall["poisons"].min())
            row |= _ends(
                "recall", share_over_trainings(recall["recall"].to_numpy(float), poisons, _CONFIDENCE)
            )
        rows.append(row)
    return rows


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


def _vulnerability(
    context: Context,
    concept: Concept,
    prepared: ArtifactKey,
    split: str,
    config: PoisonConfig,
    outcomes: Sequence[tuple[str, ArtifactKey, ArtifactKey | None]],
) -> pd.DataFrame:
    """Success of triggered images at the largest count, by emotion or by word of what they showed before."""
    held_out = Prepared.open(context.folder(prepared)).split(split)
    groups = _groups(concept, held_out)
    rows: list[Row] = []
    for detector, key, _ in outcomes:
        outcome = context.artifact(key)
        summary = outcome.manifest.summary_as(OutcomeSummary)
        other = is_crafted(summary.attack) or summary.attack in (*CONTROLS, "clean")
        if detector or other or summary.count < max(config.counts):
            continue
        judged = read_table(outcome.folder / OUTCOMES_FILE, {"seen_triggered": bool})
        seen = judged.set_index("sample")["seen_triggered"]
        for name, members in groups.items():
            values = seen[seen.index.isin(members)]
            if len(values) >= _FEWEST:
                rows.append({"family": summary.family, "attack": summary.attack, "what": name,
                             "samples": len(values), "success": 100 * float(values.mean())})  # fmt: skip
    if not rows:
        return pd.DataFrame(columns=["family", "attack", "what", "samples", "success"])
    table = (
        pd.DataFrame(rows).groupby(["family", "attack", "what", "samples"], as_index=False)["success"].mean()
    )
    return table.sort_values(
        ["family", "attack", "success", "what"], ascending=[True, True, False, True], ignore_index=True
    )


def _groups(concept: Concept, split: PreparedSplit) -> dict[str, set[str]]:
    """Ids of the samples with each emotion, or with a caption that holds each of the usual words."""
    if concept.column is not None:
        return {
            name: {id for id, has in zip(split.ids, split.labels[:, column], strict=True) if has}
            for column, name in enumerate(split.card.labels)
        }
    holders: dict[str, set[str]] = {}
    for name, texts in zip(split.ids, grouped_texts(split), strict=True):
        for word in set().union(*(words(text) for text in texts)):
            holders.setdefault(word, set()).add(name)
    return {
        word: found for word, found in sorted(holders.items()) if len(word) > 3 and len(found) >= 4 * _FEWEST
    }


def _visibility(context: Context, poison: ArtifactKey | None) -> dict[str, float | None]:
    if poison is None:
        return {}
    seen = context.store.manifest(poison).summary_as(PoisonSummary).visibility
    return {name: seen[name] for name in ("psnr", "ssim", "changed") if name in seen}


def _fields(record: Record) -> dict[str, Any]:
    return record.model_dump(exclude={"version"})
