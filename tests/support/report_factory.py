"""Made-up views for the report's tests: every figure is invented, only its shape is real."""

from itertools import permutations

import numpy as np
import numpy.typing as npt

from mmer_core.attacks.record import CurvePoint, GroupSuccess, MarginPoint, RegionChanges, Step, WorstCase
from mmer_core.datasets.prepared import DatasetSummary
from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.record import Interval
from mmer_core.reporting.poison_page import PoisonView
from mmer_core.reporting.view import (
    AttackedImage,
    DatasetView,
    EmbeddingSpace,
    FamilyView,
    Fragility,
    QueryCurve,
    ReportView,
    RetrievalExample,
    SimilarityMatrix,
    StreamComparison,
    Transfer,
)
from mmer_core.stages.poison.similarities import Change, distances, word_drops
from mmer_core.statistics.comparison import Comparison, Question, Rule, compare_metrics
from mmer_core.statistics.resampling import Resampled
from mmer_core.task_kinds import kind_of
from mmer_core.taxonomy import EMOTIC_CATEGORIES, VAD


def estimate(value: float, half: float = 2.0) -> Interval:
    return Interval(value, value - half, value + half)


def record(evaluation: dict) -> EvaluationRecord:
    return EvaluationRecord.model_validate(evaluation)


def picture(seed: int, side: int = 64) -> npt.NDArray[np.uint8]:
    """A sky, a ground and a disc: enough to see whether a picture stands the right way up."""
    rng = np.random.default_rng(seed)
    image = np.empty((side, side, 3), np.uint8)
    image[: side // 2] = rng.integers(120, 255, 3)
    image[side // 2 :] = rng.integers(20, 130, 3)
    rows, columns = np.mgrid[:side, :side]
    centre = rng.integers(side // 4, 3 * side // 4, 2)
    image[(rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < (side // 6) ** 2] = rng.integers(0, 255, 3)
    return image


def attacked(seed: int, family: str, count: int = 1, side: int = 64) -> AttackedImage:
    rng = np.random.default_rng(seed)
    clean = picture(seed, side)
    changed, after = [], clean.copy()
    for place in rng.choice(side * side, count, replace=False):
        y, x = divmod(int(place), side)
        colour = rng.integers(0, 256, 3)
        after[y, x] = colour
        changed.append((y, x, *(int(channel) for channel in colour)))
    return AttackedImage(
        family,
        "de",
        count,
        clean,
        after,
        changed,
        "Happiness 71 %",
        "Anticipation 43 %",
        183 + seed,
        f"person-{seed}",
    )


def comparison(
    topic: str, first: float, second: float, error: float = 2.0, better: str = "higher"
) -> Comparison:
    """Two invented figures in percent, with the standard error of their difference."""
    question = Question(topic, f"Which model, in {topic}?", topic, "joint", "separate", better)  # type: ignore[arg-type]
    found = Resampled(np.array([first - second]), np.zeros(1), np.array([error]), 1000)
    return compare_metrics([question], [[first], [second]], found, 400, Rule())[0]


def comparisons(
    separate: float, joint: float, robust: tuple[float, float] = (50.0, 40.0)
) -> list[Comparison]:
    return [
        comparison("skill", joint, separate),
        comparison("category Anger", 30.0, 20.0),
        *(comparison(f"robust accuracy K={k}", robust[1], robust[0]) for k in (1, 3, 5)),
        *(
            comparison(f"control {family} de K={k}", 30.0, 9.0)
            for family in ("separate", "joint")
            for k in (1, 3, 5)
        ),
    ]


def curves(strength: float) -> list[CurvePoint]:
    return [
        CurvePoint(
            attack=attack,
            pixels=k,
            n=88,
            already=12,
            success=estimate(share * strength, 3.5),
            right=61,
            robust_accuracy=estimate(61 - share * strength / 2, 3.7),
            median_queries=151.0 + k,
        )
        for attack, shares in (("de", (11.0, 23.0, 37.0)), ("random", (4.0, 6.0, 9.0)))
        for k, share in zip((1, 3, 5), shares, strict=True)
    ]


def transfers(families: list[FamilyView]) -> list[Transfer]:
    return [
        Transfer(
            source.family,
            target.family,
            [
                one.model_copy(update={"n": 41 + one.pixels, "success": estimate(17.1 + one.pixels)})
                for one in source.curves
            ],
        )
        for source, target in permutations(families, 2)
    ]


def fragile(strength: float) -> Fragility:
    emotions = [
        GroupSuccess(group=name, n=7 + place, success=estimate(strength * (41.3 - 5 * place)))
        for place, name in enumerate(EMOTIC_CATEGORIES[:5])
    ]
    places = (("head", 31.4, 6.2), ("background", 68.6, 93.8))
    regions = [
        RegionChanges(region=name, pixels=1234, changed=changed, area=area) for name, changed, area in places
    ]
    return Fragility(emotions, regions)


def by_queries(strength: float) -> list[QueryCurve]:
    grid = list(range(50, 401, 50))
    return [
        QueryCurve(one.attack, one.pixels, grid, [one.success.value * (1 - np.exp(-query / 120)) for query in grid])
        for one in curves(strength)
    ]  # fmt: skip


def history(epochs: int, metric: str) -> list[dict]:
    return [
        {
            "epoch": epoch,
            "train_loss": 0.9 * 0.8**epoch + 0.2,
            "train_bce": 0.5 * 0.8**epoch,
            "train_smooth_l1": 0.4 * 0.85**epoch,
            "val_loss": 0.8 * 0.85**epoch + 0.29,
            f"val_{metric}": 40 - 20 * 0.7**epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


def space(name: str, groups: list[str], seed: int) -> EmbeddingSpace:
    rng = np.random.default_rng(seed)
    kinds = {group: rng.normal(size=2) * 6 for group in dict.fromkeys(groups)}
    points = np.stack([kinds[group] + rng.normal(size=2) for group in groups])
    variance = np.cumsum(0.8 ** np.arange(30) * (0.2 + seed / 100))
    half = len(points) // 2
    pairs = [(row, half + row) for row in range(half)] if "shared" in name else []
    return EmbeddingSpace(name, points, groups, variance / variance[-1], pairs)


def similar(first: str, second: str, size: int = 40) -> SimilarityMatrix:
    """Pairs that are nearer than others, some below 0."""
    noise = np.random.default_rng(size).normal(0, 0.2, (size, size))
    return SimilarityMatrix(first, second, np.clip(noise + 0.5 * np.eye(size), -1, 1), "in some order", 1234)


def space_record(name: str, dimensions: int) -> dict:
    return {
        "name": name,
        "n": 321,
        "compared": 321,
        "dimensions": 2 * dimensions,
        "effective_dimensionality": dimensions,
        "variance": 0.876,
        "mean_similarity": 0.123,
        "uniformity": -2.718,
        "top_dimensions": [{"dimension": 3 * place, "share": 0.11 - 0.01 * place} for place in range(10)],
        "diversity": 0.4321,
        "rotated_diversity": 0.9123,
    }


def pair_record(first: str, second: str) -> dict:
    return {
        "first": first,
        "second": second,
        "cka": 0.345,
        "paired_similarity": 0.5678,
        "alignment": 0.8644,
        "modality_gap": 0.4321,
        "compared": 642,
        "own_neighbours": 0.8123,
        "own_neighbours_mixed": 0.499,
    }


def words(count: int) -> list[dict]:
    """Differences fall from clearly above zero to clearly below."""
    return [
        {"word": f"word{place}", "texts": 40 - place, "mean": 0.3 - place / 100, "rest": 0.2,
         "difference": estimate(0.1 - place / 100, 0.03), "p": 0.2 if 6 < place < 14 else 0.001}
        for place in range(count)
    ]  # fmt: skip


def emotion_analyses(score: float, streams: tuple[str, ...] = ("context", "body", "text")) -> dict:
    return {
        "spaces": [
            space_record(name, 17 + place) | {"knn_map": estimate(score - 10)}
            for place, name in enumerate(streams)
        ],
        "pairs": [{"first": "context", "second": "body", "cka": 0.0456}, pair_record("context", "text")],
        "contribution": {
            "all": estimate(score),
            "none": estimate(17.0, 0.5),
            "streams": [
                {"name": name, "alone": estimate(score - 3 - place), "left_out": estimate(1.25 * place - 0.9, 0.7),
                 "shapley": estimate((score - 17) / len(streams), 1)}
                for place, name in enumerate(streams)
            ],
            "leaders": [
                {"name": name, "best": streams[place % 2], "second": "text", "lead": estimate(place - 5.0, 3),
                 "p": 0.001 if place > 8 else 0.2}
                for place, name in enumerate(EMOTIC_CATEGORIES)
            ],
        },
        "agreement": [
            {"first": "context", "second": "text", "spearman": 0.321, "kappa": None,
             "per_category": [{"name": name, "spearman": 0.217, "kappa": None} for name in EMOTIC_CATEGORIES]}
        ],
        "words": words(40),
        "matching": {
            "people": 1234, "texts": 987,
            "metrics": {f"{way}_r{k}": estimate(score / 2 + k) for way in ("i2t", "t2i") for k in (1, 5, 10)},
            "baselines": {f"{way}_r{k}": 0.123 * k for way in ("i2t", "t2i") for k in (1, 5, 10)},
        },
    }  # fmt: skip


def retrieval_analyses() -> dict:
    spaces = [space_record("image", 31), space_record("text", 37)]
    captions = {
        "all": estimate(61.5), "none": estimate(0.77, 0), "leaders": [],
        "streams": [{"name": name, "alone": estimate(44.4), "left_out": estimate(7.7), "shapley": estimate(30.1)}
                    for name in ("image", "text")],
    }  # fmt: skip
    return {
        "spaces": spaces,
        "pairs": [pair_record("image", "text")],
        "words": words(5),
        "caption_contribution": captions,
    }


def calibration(error: float, brier: float) -> dict:
    bins = [{"n": 7, "probability": share, "share": share - error} for share in (0.2, 0.5, 0.8)]
    return {"error": error, "brier": brier, "bins": bins}


def emotion_evaluation(score: float, half: float = 2.0) -> dict:
    rng = np.random.default_rng(int(score))
    return {
        "version": 3,
        "task": "emotion",
        "split": "test",
        "n": 1234,
        "clusters": 1011,
        "metrics": {
            "map": estimate(score, half),
            "vad_mae": Interval(0.912, 0.887, 0.934),
            "f1_macro": estimate(33.3),
            "precision_macro": estimate(29.9),
            "recall_macro": estimate(51.7),
        },
        "baselines": {"map": 16.98, "vad_mae": 1.009},
        "per_category": [
            {"name": name, "ap": estimate(float(rng.uniform(10, 80)), 4), "precision": 31.5, "recall": 62.4,
             "f1": 41.8, "accuracy": 71.3, "threshold": 0.27, "prevalence": 2.1 + 1.3 * place}
            for place, name in enumerate(EMOTIC_CATEGORIES)
        ],
        "vad": [{"name": name, "mae": estimate(0.876, 0.02), "constant": 1.013, "constant_rating": 5.0} for name in VAD],
        "per_stream": {
            stream: {"map": estimate(score - 3), "ap": [float(one) for one in rng.uniform(8, 70, 26)]}
            for stream in ("context", "body", "text")
        },
        "calibration": {"before": calibration(0.1234, 0.2345), "after": calibration(0.0321, 0.1987), "fitted_on": "val"},
        "analyses": emotion_analyses(score),
    }  # fmt: skip


def retrieval_evaluation(score: float) -> dict:
    names = [f"{way}_{metric}" for way in ("i2t", "t2i") for metric in ("r1", "r5", "r10")]
    figures = {name: estimate(score + place) for place, name in enumerate(names)}
    figures |= {"i2t_median_rank": estimate(7.0, 1.0), "t2i_median_rank": estimate(9.0, 1.0)}
    figures["mean_recall"] = estimate(score + 2.5)
    baselines = dict.fromkeys(names, 0.5) | {
        "mean_recall": 0.53,
        "i2t_median_rank": 501,
        "t2i_median_rank": 501,
    }
    return {"version": 3, "task": "retrieval", "split": "test", "n": 1000, "clusters": 1000, "n_texts": 5000, "metrics": figures,
            "baselines": baselines, "analyses": retrieval_analyses()}  # fmt: skip


def family(
    name: str, evaluation: dict, strength: float = 1.0, *, attacks: bool = True, points: int = 120
) -> FamilyView:
    moods = [EMOTIC_CATEGORIES[place * place % 11] for place in range(points)]
    modal = ["image", "text"] * (points // 2)
    names = ("shared: image + text",) if name == "joint" else ("context", "body")
    return FamilyView(
        name,  # type: ignore[arg-type]
        record(evaluation),
        history(12, "map" if evaluation["task"] == "emotion" else "mean_recall"),
        best_epoch=9,
        curves=curves(strength) if attacks else [],
        by_queries=by_queries(strength) if attacks else [],
        margins=[
            MarginPoint(pixels=k, n=100, clean=estimate(1.87, 0.2), left=estimate(strength / k, 0.03))
            for k in ((1, 3, 5) if attacks else ())
        ],
        worst=[
            WorstCase(
                pixels=k,
                n=100,
                figure=name,
                label=label,
                clean=estimate(80.0, 4.0),
                robust=estimate(80 - strength / k, 5.0),
                steps=(Step(attack="sparse-rs", value=75.0), Step(attack="de", value=70.0)),
            )
            for k in ((1, 3, 5) if attacks else ())
            for name, label in (("map", "mAP"), ("accuracy", "accuracy"))
        ],
        spaces=[space(one, modal if "shared" in one else moods, place) for place, one in enumerate(names)],
        similarities=[similar("image", "text")]
        if name == "joint" or evaluation["task"] == "retrieval"
        else [],
        fragility=fragile(strength) if attacks and evaluation["task"] == "emotion" else None,
    )


def card(task: str, synthetic: bool = True) -> DatasetSummary:
    return DatasetSummary(
        name="drawn", task=task, labels=EMOTIC_CATEGORIES if task == "emotion" else (),  # type: ignore[arg-type]
        counts={"train": 7001, "val": 1002, "test": 2003}, texts={"train": 7004, "val": 1005, "test": 2006},
        quarantined={"empty_box": 17, "vad_nan": 3}, inputs=10026, protocol="corrected", synthetic=synthetic,
        text_provenance={"sidecar": 10011, "template": 4},
    )  # fmt: skip


def emotion_dataset(
    families: list[FamilyView] | None = None, *, synthetic: bool = True, gallery: int = 4
) -> DatasetView:
    if families is None:
        families = [
            family("separate", emotion_evaluation(31.0)),
            family("joint", emotion_evaluation(42.0), 1.6),
        ]
    return DatasetView(
        "emotic", kind_of("emotion").text, card("emotion", synthetic), families,
        gallery=[attacked(place, families[place % len(families)].family, 1 + 4 * (place % 2)) for place in range(gallery)],
        streams=StreamComparison(
            EMOTIC_CATEGORIES,
            {one.family: {stream: by.ap for stream, by in one.evaluation.per_stream.items()} for one in families},
        ),
        transfers=transfers(families),
        comparisons=comparisons(*(one.evaluation.metrics["map"].value for one in families))
        if len(families) == 2
        else (),
    )  # fmt: skip


def retrieval_dataset(families: list[FamilyView] | None = None, *, synthetic: bool = True) -> DatasetView:
    if families is None:
        families = [
            family("separate", retrieval_evaluation(20.0)),
            family("joint", retrieval_evaluation(21.0)),
        ]
    examples = []
    for one in families:
        images = [(picture(place), 0.61 - place / 10, place == 1) for place in range(5)]
        examples.append(
            RetrievalExample(one.family, query_text="A dog & a <script>alert(1)</script>", results=images)
        )
        captions = [(f"A girl in weather {place}", 0.515 - place / 10, place == 0) for place in range(5)]
        examples.append(RetrievalExample(one.family, query_image=picture(8), results=captions))
    return DatasetView("flickr8k", kind_of("retrieval").text, card("retrieval", synthetic), families, examples,
                       gallery=[attacked(30 + place, one.family, 3) for place, one in enumerate(families)],
                       comparisons=[comparison("skill", 23.5, 22.5)])  # fmt: skip


def report(*datasets: DatasetView, synthetic: bool = True) -> ReportView:
    return ReportView(
        "How well, and how safely?", "2025-01-02 03:04 UTC", synthetic, "report/0123abcd", "s3://bucket/prefix",
        [("prepared emotic", "prepared-0a1b2c"), ("joint model", "model-3d4e5f")], datasets,
        '{\n  "seed": 7\n}', {"torch": "2.14.0", "numpy": "2.3.1"},
    )  # fmt: skip


def detection() -> dict:
    """What a detector found, in percent."""
    return {"attack": "backdoor", "family": "joint", "detector": "spectral", "precision": 80.0, "recall": 70.0,
            "recall_low": 60.0, "recall_high": 80.0, "false_positive_rate": 1.0, "auc": 95.0}  # fmt: skip


def poison_view(*detections: dict) -> PoisonView:
    """An experiment on captions with two families and two attacks."""
    rng = np.random.default_rng(0)
    models = [(family, attack) for family in ("separate", "joint") for attack in ("backdoor", "collision")]
    changes = [
        Change(family, attack, 60, clean := rng.normal(0.5, 0.15, (2, 400)), clean - rng.normal(0.05, 0.1, (2, 400)))
        for family, attack in models
    ]  # fmt: skip
    texts = [" ".join(rng.choice([f"word{place}" for place in range(40)], 6)) for _ in range(400)]
    means = [
        {"family": family, "attack": attack, "count": count, "filtered": "", "seeds": 2, "chance": 1.0, "no_skill": 0.5,
         "psnr": 35.0, "ssim": 0.98, "changed": 0.1}
        | {f"{name}{end}": base + count / 4 + shift
           for name, base in (("success", 20.0), ("reference", 2.0), ("gain", 18.0), ("untriggered", 2.0), ("metric", 30.0),
                              ("metric_loss", 1.0))
           for end, shift in (("", 0), ("_low", -1), ("_high", 1))}
        for family, attack in models for count in (20, 60)
    ]  # fmt: skip
    recalls = [
        {"family": family, "attack": attack, "count": count,
         "recalls": {f"{way}_r{k}": estimate(20.0 + k) for way in ("i2t", "t2i") for k in (1, 5, 10)}}
        for family in ("separate", "joint") for attack, count in (("clean", 0), ("backdoor", 60), ("collision", 60))
    ]  # fmt: skip
    modalities = [
        {"family": "joint", "attack": "backdoor", "count": 60, "what": f"contribution {name}", "clean": 30.1, "poisoned": 28.4}
        for name in ("image", "text")
    ]  # fmt: skip
    return PoisonView(
        dataset="flickr8k", text=kind_of("retrieval").text, synthetic=True, split="val", target="dog", training_samples=6000,
        seeds=2, config={"top": 10, "flagged": 0.05}, warnings=["It is made up."], means=means, detections=detections,
        vulnerability=[], modalities=modalities, recalls=recalls,
        words=word_drops(changes, texts, np.arange(400) // 5), distances=distances(changes),
    )  # fmt: skip
