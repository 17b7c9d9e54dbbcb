"""How near pairs of image and text lie in a clean model's space and in a poisoned one's: all of them, and by word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.datasets.vocabulary import words
from mmer_core.evaluation.embeddings import compared
from mmer_core.heavy import stats
from mmer_core.models import ModelSpec
from mmer_core.record import Interval
from mmer_core.statistics.trainings import mean_over_trainings, over_trainings

SIMILARITY_FILE = "similarity.npy"
LEAST_TEXTS = 10
LEAST_PHOTOS = 5
"""A word counts if so many texts, of so many photos or groups, hold it: the spread of fewer is not known."""
MOST_WORDS = 500
WORD_COLUMNS = ["family", "attack", "count", "word", "texts", "drop", "drop_low", "drop_high"]
GRID = 200
"""Points at which densities are drawn."""

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """Similarities ``(S, P)`` of ``P`` pairs to the clean and the poisoned models of ``S`` seeds, NaN where there is no pair."""

    family: str
    attack: str
    count: int
    clean: Floats
    poisoned: Floats


def pair_similarity(folder: Path, spec: ModelSpec, split: PreparedSplit) -> npt.NDArray[np.float32] | None:
    """Cosines of texts with their own images, to an evaluated model.

    Args:
        folder: Of the evaluation.

    Returns:
        Of a captioned dataset ``(T,)``, of each text. Of labelled samples in a shared space ``(N,)``, of each sample's text
        with the mean of its images, NaN where it lacks one. None where images and texts have no common space.
    """
    if spec.task == "retrieval":
        images, texts = (np.load(folder / f"embedding_{name}.npy") for name in ("image", "text"))
        return _cosines(images[split.text_sample], texts)
    pictured = [name for name in spec.streams if name != "text"]
    if spec.network == "separate" or "text" not in spec.streams or not pictured or not split.texts:
        return None
    streams = [np.load(folder / f"embedding_{name}.npy") for name in pictured]
    return _cosines(np.mean(streams, axis=0), np.load(folder / "embedding_text.npy"))


def _cosines(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products = (first * second).sum(axis=1)
    return np.divide(products, lengths, out=np.full_like(products, np.nan), where=lengths > 0)


def pairs_of(split: PreparedSplit) -> tuple[list[str], npt.NDArray[np.int64]]:
    """``P`` texts, and the photo or group of each, in the order of `pair_similarity`."""
    if not split.card.labels:
        return split.texts, split.clusters[split.text_sample]
    own: list[list[str]] = [[] for _ in range(len(split))]
    for text, sample in zip(split.texts, split.text_sample.tolist(), strict=True):
        own[sample].append(text)
    return ["\n".join(texts) for texts in own], split.clusters


def word_drops(
    changes: Sequence[Change], texts: Sequence[str], clusters: npt.ArrayLike, confidence: float = 0.95
) -> list[Row]:
    """How much lower the similarity of pairs with each word is to the poisoned models than to the clean ones.

    The means are over all pairs that hold the word and over seeds, with intervals of both photos and trainings; of a single
    seed they are of the photos. Of many words, a share of 1 - confidence has an interval beside what is true by chance.

    Args:
        changes: Of every model.
        texts: ``P``.
        clusters: ``(P,)`` photo, or group, of each pair.

    Returns:
        ``family``, ``attack``, ``count``, ``word``, ``texts`` and the drop with its ends, by model and falling drop.
    """
    held = [set(words(text)) for text in texts]
    counts = Counter(word for one in held for word in one)
    usual = sorted(counts, key=lambda word: (-counts[word], word))
    chosen = [word for word in usual if counts[word] >= LEAST_TEXTS][:MOST_WORDS]
    holders: dict[str, list[int]] = {word: [] for word in chosen}
    for place, one in enumerate(held):
        for word in one & holders.keys():
            holders[word].append(place)
    own = np.asarray(clusters)
    rows: list[Row] = []
    for change in changes:
        dropped = change.clean - change.poisoned  # (S, P)
        there = np.count_nonzero(np.isnan(dropped), axis=0) == 0
        for word, places in holders.items():
            sound = np.array(places)[there[places]]
            if len(sound) < LEAST_TEXTS or len(np.unique(own[sound])) < LEAST_PHOTOS:
                continue
            drop = mean_over_trainings(dropped[:, sound], confidence, own[sound])
            rows.append({
                "family": change.family, "attack": change.attack, "count": change.count, "word": word,
                "texts": len(sound), "drop": drop.value, "drop_low": drop.low, "drop_high": drop.high,
            })  # fmt: skip
    return sorted(rows, key=lambda row: (row["family"], row["attack"], -row["drop"], row["word"]))


def distances(changes: Sequence[Change]) -> list[Row]:
    """Distributions of the distance between image and text, 1 less the cosine, of every clean and poisoned model.

    Each has quartiles and the ends of whiskers (the outermost pairs within 1.5 interquartile ranges of the box, Tukey 1977),
    and a density by Gaussian kernels of Scott's bandwidth at `GRID` points ``x``. The pairs of all seeds count; of more than
    `MOST_COMPARED`, so many are drawn.
    """
    rows: list[Row] = []
    seen = set[str]()
    for change in changes:
        for attack, similarity in (("clean", change.clean), (change.attack, change.poisoned)):
            if attack == "clean" and change.family in seen:
                continue
            seen.add(change.family)
            values = 1 - similarity[~np.isnan(similarity)].astype(np.float64)
            total = len(values)
            if total < 2 or values.min() == values.max():
                continue
            values = values[compared(total)]
            rows.append({"family": change.family, "attack": attack, "pairs": total, "drawn": len(values),
                         **box(values), **density(values)})  # fmt: skip
    return rows


def box(values: Floats) -> Row:
    """Median, quartiles, whiskers and mean of ``values (n,)``."""
    first, median, third = np.quantile(values, [0.25, 0.5, 0.75])
    inside = values[(values >= first - 1.5 * (third - first)) & (values <= third + 1.5 * (third - first))]
    return {
        "median": float(median), "first": float(first), "third": float(third),
        "low": float(inside.min()), "high": float(inside.max()), "mean": float(values.mean()),
    }  # fmt: skip


def density(values: Floats) -> Row:
    """``x`` and ``density``, `GRID` points each, of ``values (n,)``, which are not all equal."""
    margin = 0.1 * float(np.ptp(values))
    x = np.linspace(values.min() - margin, values.max() + margin, GRID)
    return {"x": x.tolist(), "density": stats.gaussian_kde(values)(x).tolist()}


def recall_changes(table: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Recalls of the largest count of every attack beside those of the clean model, with intervals of photos and trainings."""
    found: dict[tuple[str, str, int], dict[str, list[Interval]]] = {}
    for row in table:
        own = found.setdefault((row["family"], row["attack"], row["count"]), {})
        for name, recall in row["recalls"].items():
            own.setdefault(name, []).append(recall)
    most: dict[tuple[str, str], int] = {}
    for family, attack, count in found:
        most[family, attack] = max(count, most.get((family, attack), 0))
    return [
        {"family": family, "attack": attack, "count": count,
         "recalls": {name: over_trainings(each).interval for name, each in recalls.items()}}
        for (family, attack, count), recalls in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] != "clean", *item[0][1:]))
        if recalls and count == most[family, attack]
    ]  # fmt: skip
