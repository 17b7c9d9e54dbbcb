"""The manifests of docs/manifest.md, grown to a trainable size, from the file to the report."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flows import jobs
from mmer_core.config import AttackConfig, PipelineJob
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.inference import TrainedModel
from mmer_core.stages import Context
from mmer_core.stages.evaluate import load_evaluation
from mmer_core.store import ArtifactKey, Manifest
from mmer_core.task_kinds import kind_of
from mmer_core.task_kinds.kind import AttackedSplit

pytestmark = pytest.mark.long

GUIDE = Path(__file__).parents[2] / "docs" / "manifest.md"
FULL = {"train": 20, "val": 8, "test": 8}


def _example(name: str) -> str:
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", GUIDE.read_text(), re.S)
    assert found
    return found[1]


def _photos(root: Path, count: int) -> list[str]:
    (root / "images").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
    return [f"images/{number}.png" for number in range(count)]


def _grown(rows: list[dict[str, object]], photos: list[str]) -> list[dict[str, object]]:
    """The example's rows, over and over, with ids, splits and images of their own."""
    splits = [split for split, count in FULL.items() for _ in range(count)]
    return [
        rows[place % len(rows)] | {"id": f"s{place}", "split": split, "image": photos[place]}
        for place, split in enumerate(splits)
    ]


def _multi_label(root: Path) -> Path:
    head, *lines = _example("photos.jsonl").splitlines()
    rows = _grown([json.loads(line) for line in lines], _photos(root, sum(FULL.values())))
    (root / "photos.jsonl").write_text("\n".join([head, *(json.dumps(row) for row in rows)]) + "\n")
    return root / "photos.jsonl"


def _single_label(root: Path) -> Path:
    """As a CSV without texts, with splits by mmer's own hand and the label set in a sidecar."""
    rows = list(csv.DictReader(io.StringIO(_example("photos.csv").partition("\n")[2])))
    rows = _grown(rows, _photos(root, sum(FULL.values())))  # type: ignore[arg-type]
    with (root / "photos.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "image", "label"])
        writer.writerows([r["id"], r["image"], str(r["labels"]).partition(";")[0]] for r in rows)
    declared = {"labels": ["wet", "sunny"], "multi_label": False}
    (root / "photos.csv.labels.json").write_text(json.dumps(declared))
    return root / "photos.csv"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> PipelineJob:
    folder = tmp_path_factory.mktemp("manifests")
    small = {"dataset": "manifest", "context_size": 64, "body_size": 64}
    return PipelineJob.model_validate(
        {
            "datasets": {
                "multi": small | {"root": _multi_label(folder / "multi")},
                "single": small | {"root": _single_label(folder / "single")},
            },
            "encoders": {"image": "packaged:efficientnet_lite0", "image_size": 64},
            "training": {"epochs": 2},
            "evaluation": {"resamples": 20},
            "attack": {"pixels": [1], "images": 3, "budget": 20, "de": {"population": 5}},
            "report": {"points": 50, "gallery": 1},
            "runtime": {"store": str(folder / "store"), "work": folder / "work"},
        }
    )


def _check_task(folder: Path, metrics: EvaluationRecord, *, single: bool) -> None:
    """Data with one label a sample get a softmax and metrics of their own."""
    probabilities = np.load(folder / "probabilities.npy")
    assert metrics.task == ("classification" if single else "emotion")
    assert ("accuracy" in metrics.metrics) == single == ("f1_macro" not in metrics.metrics)
    assert sum(map(sum, metrics.confusion)) == (len(probabilities) if single else 0)
    if single:
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        right = sum(metrics.confusion[place][place] for place in range(2))
        assert metrics.metrics["accuracy"].value == pytest.approx(100 * right / metrics.n)


def _check_margins(context: Context, evaluation: Manifest) -> None:
    """An image counts as misclassified where another class is at least as probable as the annotated one."""
    prepared, features, model = (
        context.folder_of(evaluation.inputs[role]) for role in ("prepared", "features", "model")
    )
    split, trained = Prepared.open(prepared).split("test"), TrainedModel.open(model, context.device)
    encoder = context.image_encoder(trained.spec.encoders.image, trained.spec.encoders.image_size)
    rows = np.arange(len(split))
    images = encoder.resize(np.asarray(split.images("context")[rows]))
    attacked = AttackedSplit(trained, encoder, split, Features(features), images, rows, None)
    victim, criterion, _ = kind_of(trained.spec.task).victim(
        attacked, AttackConfig(criterion="misclassified")
    )
    scores = victim.scores(torch.from_numpy(images), torch.from_numpy(rows))
    logs = np.log(np.load(context.folder(evaluation.key) / "probabilities.npy"))
    own = logs[rows, split.labels.argmax(axis=1)]
    other = np.where(split.labels > 0, -np.inf, logs).max(axis=1)
    np.testing.assert_allclose(criterion.margin(scores, torch.from_numpy(rows)), own - other, atol=1e-3)


def test_manifests_run_to_the_report_with_their_own_labels_and_without_ratings(
    config: PipelineJob,
) -> None:
    report = ArtifactKey.parse(jobs.pipeline.fn(config))
    context = Context(config.runtime)
    html = (context.folder(report) / "report.html").read_text()
    assert "sunny" in html
    assert "wet" in html
    assert "Sadness" not in html
    assert "EmotiCon" not in html, "EMOTIC's figures say nothing of another dataset"
    assert "ominance" not in html.partition('id="methods"')[0]
    said = re.sub(r"(?s)<(style|script|pre)\b.*?</\1>", "", html)
    assert not re.findall(r"(?i)emotion|person|people|emotic|.*\bcontext\b.*", said)
    assert "Which model tells the labels apart better?" in said
    assert "Which model finds the labels better?" in said
    assert "test split, 8 photos" in said
    by_labels = {
        Prepared.open(context.folder(manifest.key)).card.labels: manifest
        for manifest in context.store.list("prepared")
    }
    assert set(by_labels) == {("sunny", "windy", "wet"), ("wet", "sunny")}
    streams = {
        labels: Prepared.open(context.folder(one.key)).split("train").streams
        for labels, one in by_labels.items()
    }
    assert set(streams.values()) == {("context",)}
    evaluations = list(context.store.list("evaluation"))
    assert len(evaluations) == 4
    for evaluation in evaluations:
        metrics = load_evaluation(context.folder(evaluation.key))
        texts = evaluation.inputs["prepared"] == str(by_labels["sunny", "windy", "wet"].key)
        assert set(metrics.per_stream) == ({"context", "text"} if texts else {"context"})
        assert metrics.metrics["map"].value > 0
        assert "vad_mae" not in metrics.metrics
        _check_task(context.folder(evaluation.key), metrics, single=not texts)
        if not texts:
            _check_margins(context, evaluation)
        assert metrics.vad == ()
    assert len(list(context.store.list("robustness"))) == 4
