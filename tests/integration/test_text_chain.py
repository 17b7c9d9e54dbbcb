"""Awkward ids, captions and labels through the whole study: what every step knows is what the manifest says."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.awkward_text import AWKWARD, SUFFIXES, TEXTS, write_manifest
from support.hf_folders import build

from flows import jobs
from mmer_core.config import (
    AttackConfig,
    EncoderConfig,
    EvaluationConfig,
    IndexConfig,
    IndexJob,
    IngestConfig,
    ModelConfig,
    RobustnessJob,
    RuntimeConfig,
    TrainingConfig,
    TrainJob,
    UpdateIndexJob,
)
from mmer_core.datasets.prepared import QUARANTINE_FILE, Prepared
from mmer_core.escaping.tables import read_for_people
from mmer_core.exporting.export import DESCRIPTION_FILE, description
from mmer_core.inference import TrainedModel
from mmer_core.querying import Searcher, read_queries, search_all
from mmer_core.stages import Context
from mmer_core.stages.fragility import fragility
from mmer_core.stages.ingest import ingest
from mmer_core.stages.robustness import load_outcomes
from mmer_core.stages.views import open_measured
from mmer_core.store import ArtifactKey
from mmer_core.tabular import write_table
from mmer_core.taxonomy import SPLITS

pytestmark = [pytest.mark.integration, pytest.mark.long]

ORDINARY = "a dog runs in the snow"
CORNERS: dict[str, Callable[[int], Any]] = {
    name: lambda _, value=value: value for name, value in {"x1": 2, "y1": 2, "x2": 30, "y2": 30}.items()
}


def _rows(
    root: Path, seed: int, ids: Sequence[str] = AWKWARD, **cells: Callable[[int], Any]
) -> list[dict[str, Any]]:
    """A photo of its own for every id, and further cells by the number of the id."""
    generator = np.random.default_rng(seed)
    (root / "p").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, id in enumerate(ids):
        name = f"p/{seed}-{number}.png"
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / name)
        row = {"id": id, "split": SPLITS[number % 3], "image": name, "group": ids[-number]}
        rows.append(row | {cell: value(number) for cell, value in cells.items()})
    return rows


def _caption(number: int) -> list[str]:
    return [AWKWARD[-1 - number], ORDINARY]


def _job(place: Path, manifest: Path) -> dict[str, Any]:
    return {
        "dataset": IngestConfig(dataset="manifest", root=manifest, context_size=32, body_size=32),
        "encoders": EncoderConfig(image="packaged:efficientnet_lite0", image_size=32),
        "model": ModelConfig(embedding=16, hidden=16),
        "training": TrainingConfig(epochs=1),
        "evaluation": EvaluationConfig(resamples=10),
        "runtime": RuntimeConfig(store=str(place / "store"), work=place / "work", checkpoint_seconds=0),
    }


def _prepared_alike(job: dict[str, Any], manifests: list[Path]) -> Prepared:
    """The dataset, which every format prepares to the same arrays and tables."""
    runtime, read = job["runtime"], []
    for manifest in manifests:
        dataset = job["dataset"].model_copy(update={"root": manifest})
        read.append(Prepared.open(ingest(Context(runtime), dataset).folder))
    assert not read[0].card.quarantined
    for other in read[1:]:
        assert other.card == read[0].card
        for split in SPLITS:
            assert (
                other.split(split)
                .table.drop(columns="Manifest_Row")
                .equals(read[0].split(split).table.drop(columns="Manifest_Row"))
            )
            assert other.split(split).texts == read[0].split(split).texts
            if read[0].card.labels:
                np.testing.assert_array_equal(other.split(split).labels, read[0].split(split).labels)
    return read[0]


def _holds(searcher: Searcher, expected: dict[str, list[str]], place: Path) -> None:
    """Every id is found by itself, with its captions, and no other id is there."""
    assert sorted(searcher.index.ids()) == sorted(expected)
    for id, captions in expected.items():
        assert searcher.photo(id).captions == tuple(captions)
    lines = [json.dumps({"id": id}) + "\n" for id in expected]
    (place / "ids.jsonl").write_text("".join(lines))
    write_table(place / "ids.csv", ["text", "id"], [("", id) for id in expected])
    for queries in (read_queries(place / "ids.jsonl"), read_queries(place / "ids.csv")):
        found = search_all(searcher, queries, "image", 1)
        assert [answer.query.id for answer in found] == list(expected)
        assert [answer.error for answer in found] == [None] * len(expected)
        assert [(hit.id, hit.caption) for answer in found for hit in answer.hits] == [
            (id, captions[0]) for id, captions in expected.items()
        ]


def test_captions_and_ids_in_an_index_that_is_changed(tmp_path: Path, mmer: Callable[..., Any]) -> None:
    rows = _rows(tmp_path, 0, text=_caption)
    manifests = [write_manifest(tmp_path / f"m{suffix}", rows) for suffix in SUFFIXES]
    job = _job(tmp_path, manifests[0])
    prepared = _prepared_alike(job, manifests)
    split = prepared.split("test")
    assert split.ids == [row["id"] for row in rows if row["split"] == "test"]
    assert split.table["Group"].tolist() == [row["group"] for row in rows if row["split"] == "test"]

    runtime = job["runtime"]
    flags = ["--store", runtime.store, "--work", runtime.work]
    model = jobs.train.fn(TrainJob(**job)).model
    key = jobs.index.fn(IndexJob(trained=model, index=IndexConfig(split="all"), runtime=runtime))
    expected = {row["id"]: row["text"] for row in rows}
    _holds(Searcher.open(Context(runtime), key), expected, tmp_path)
    for id in ("003", "a\r\nb", "--id"):
        (hit,) = json.loads(mmer("search", f"--id={id}", "--k", 1, "--json", *flags).out)
        assert (hit["id"], hit["caption"]) == (id, expected[id][0])

    # Half of the photos change, listed in another format; no id is taken for another one.
    other = [row | {"text": [row["id"]]} for row in _rows(tmp_path, 1)[::2]]
    changed = job["dataset"].model_copy(update={"root": write_manifest(tmp_path / "new.parquet", other)})
    update = UpdateIndexJob(index=key, dataset=changed, compact="no", runtime=runtime)
    key = jobs.update_index.fn(update)
    expected |= {row["id"]: row["text"] for row in other}
    _holds(Searcher.open(Context(runtime), key), expected, tmp_path)

    gone = list(AWKWARD[::3])
    spoken = [id for id in gone if not id.startswith(("[", "{"))][:20]
    (tmp_path / "gone.jsonl").write_text("".join(json.dumps(id) + "\n" for id in gone if id not in spoken))
    flagged = [f"--delete={id}" for id in spoken]
    answer = mmer(
        "update-index", *flagged, "--delete-from", tmp_path / "gone.jsonl", "--compact", "yes", *flags
    )
    assert answer.code == 0, answer.err
    key = answer.out.splitlines()[-1]
    _holds(
        Searcher.open(Context(runtime), key),
        {id: t for id, t in expected.items() if id not in gone},
        tmp_path,
    )
    refused = mmer("update-index", "--delete= 003", "--index", key, *flags)
    assert "holds no photo with the id ' 003'" in refused.err


def test_labels_and_ids_in_a_model_that_is_attacked_and_exported(
    tmp_path: Path, mmer: Callable[..., Any]
) -> None:
    rows = _rows(tmp_path, 0, text=_caption, labels=lambda number: [AWKWARD[number]], **CORNERS)
    declared = {"labels": list(AWKWARD)}
    manifests = [write_manifest(tmp_path / f"m{suffix}", rows, declared) for suffix in reversed(SUFFIXES)]
    job = _job(tmp_path, manifests[0])
    prepared = _prepared_alike(job, manifests)
    assert prepared.card.labels == AWKWARD
    runtime = job["runtime"]
    flags = ["--store", runtime.store, "--work", runtime.work]
    trained = jobs.train.fn(TrainJob(**job))

    attack = AttackConfig(attacks=("sparse-rs",), pixels=(1,), images=8, budget=2, split="test")
    key = ArtifactKey.parse(
        jobs.robustness.fn(RobustnessJob(trained=trained.model, attack=attack, runtime=runtime))
    )
    context = Context(runtime)
    outcomes = load_outcomes(context.folder(key))
    assert len(outcomes) == 8
    assert set(outcomes["sample"]) <= {row["id"] for row in rows if row["split"] == "test"}
    fragile = fragility(context, open_measured(context, replace(trained.artifacts(), robustness=key)))
    assert fragile is not None
    assert {one.group for one in fragile.emotions} <= set(AWKWARD)

    listing = tmp_path / "list.csv"
    write_table(listing, ["photo", "text"], [(row["image"], row["id"]) for row in rows])
    for out in ("people.csv", "people.json"):
        answer = mmer("predict", listing, "--out", tmp_path / out, *flags)
        assert answer.code == 0, answer.err
    table = read_for_people(tmp_path / "people.csv")
    assert table["text"].tolist() == list(AWKWARD)
    assert [n.removeprefix("probability ") for n in table.columns if n.startswith("probability ")] == list(
        AWKWARD
    )
    people = json.loads((tmp_path / "people.json").read_text())
    assert [person["text"] for person in people] == list(AWKWARD)
    assert {name for person in people for name in person["present"]} <= set(AWKWARD)

    tiny = {
        "image": f"hf:{build('vit', tmp_path / 'vit')}",
        "text": f"hf:{build('sentence_bert', tmp_path / 'bert')}",
    }
    trained = jobs.train.fn(TrainJob(**job | {"encoders": EncoderConfig(**tiny)}))
    assert mmer("export", trained.model, "--to", tmp_path / "exported", *flags).code == 0
    written = (tmp_path / "exported" / DESCRIPTION_FILE).read_text("utf-8")
    assert json.loads(written)["labels"] == list(AWKWARD)


@settings(max_examples=2, phases=[Phase.generate])  # to make a failing example smaller would take minutes
@given(
    ids=st.lists(TEXTS, min_size=9, max_size=9, unique=True),
    texts=st.lists(TEXTS, min_size=9, max_size=9),
    labels=st.lists(TEXTS, min_size=2, max_size=4, unique=True),
    suffixes=st.permutations(SUFFIXES),
)
def test_random_texts_through_the_whole_chain(
    tmp_path_factory: pytest.TempPathFactory,
    ids: list[str],
    texts: list[str],
    labels: list[str],
    suffixes: list[str],
) -> None:
    """Ingest, index, search by id, replace, delete, attack, export: every text stays as it was, every id its own."""
    root = tmp_path_factory.mktemp("chain")
    encoder = EncoderConfig(image=f"hf:{build('vit', tmp_path_factory.getbasetemp() / 'vit')}")
    rows = _rows(root, 0, ids, text=lambda number: [texts[number], ORDINARY])
    job = _job(root, root / f"m{suffixes[0]}") | {"encoders": encoder}
    runtime, dataset = job["runtime"], job["dataset"]
    write_manifest(dataset.root, [*rows, rows[0]])
    trained = jobs.train.fn(TrainJob(**job))
    context = Context(runtime)
    prepared = Prepared.open(context.folder(ArtifactKey.parse(trained.prepared)))
    refused = read_for_people(prepared.files.path(QUARANTINE_FILE))
    assert refused.loc[refused["Reason"] == "duplicate_id", "Id"].tolist() == [ids[0]]

    key = jobs.index.fn(IndexJob(trained=trained.model, index=IndexConfig(split="all"), runtime=runtime))
    expected = {row["id"]: row["text"] for row in rows}
    _holds(Searcher.open(context, key), expected, root)
    other = [row | {"text": [texts[-1 - number]]} for number, row in enumerate(_rows(root, 1, ids))][::2]
    changed = dataset.model_copy(update={"root": write_manifest(root / f"new{suffixes[1]}", other)})
    gone = ids[1:4:2]  # none that is replaced
    update = UpdateIndexJob(index=key, dataset=changed, delete=gone, compact="no", runtime=runtime)
    key = jobs.update_index.fn(update)
    expected |= {row["id"]: row["text"] for row in other}
    left = {id: captions for id, captions in expected.items() if id not in gone}
    _holds(Searcher.open(context, key), left, root)
    _attacked_and_described(context, trained.model, prepared)

    rows = _rows(
        root,
        2,
        ids,
        text=lambda number: [texts[number]],
        labels=lambda number: [labels[number // 3 % len(labels)]],
        **CORNERS,
    )
    declared = {"labels": labels}
    labelled = dataset.model_copy(update={"root": write_manifest(root / f"l{suffixes[2]}", rows, declared)})
    trained = jobs.train.fn(TrainJob(**job | {"dataset": labelled}))
    prepared = Prepared.open(context.folder(ArtifactKey.parse(trained.prepared)))
    for split in SPLITS:
        given_rows = [row for row in rows if row["split"] == split]
        assert prepared.split(split).texts == [text for row in given_rows for text in row["text"]]
        assert [
            [labels[column] for column in np.flatnonzero(has)] for has in prepared.split(split).labels
        ] == [row["labels"] for row in given_rows]
    assert _attacked_and_described(context, trained.model, prepared)["labels"] == labels


def _attacked_and_described(context: Context, model: str, prepared: Prepared) -> dict[str, Any]:
    """Attack every image of the test split, under its own id; return what the export of the model says of it."""
    attack = AttackConfig(attacks=("random",), pixels=(1,), budget=2, top=1, split="test")
    job = RobustnessJob(trained=model, attack=attack, runtime=context.runtime)
    outcomes = load_outcomes(context.folder(ArtifactKey.parse(jobs.robustness.fn(job))))
    assert set(outcomes["sample"]) == set(prepared.split("test").ids)
    key = ArtifactKey.parse(model)
    trained = TrainedModel.open(context.folder(key), context.device)
    encoders = trained.spec.encoders
    # The ONNX files beside it hold no text, and take long to write.
    image = context.image_encoder(encoders.image, encoders.image_size)
    return dict(json.loads(json.dumps(description(key, trained, [], image, None, 0))))


def test_duplicates_are_told_at_ingest(tmp_path: Path, mmer: Callable[..., Any]) -> None:
    rows = _rows(tmp_path, 0, text=_caption)
    again = [row | {"id": id} for row, id in zip(rows, ("003", "NA", "a", " a"), strict=False)]
    manifest = write_manifest(tmp_path / "m.csv", [*rows, *again])
    place = ["--store", tmp_path / "store", "--work", tmp_path / "work"]
    answer = mmer(
        "ingest",
        "--dataset",
        "manifest",
        "--root",
        manifest,
        "--context-size",
        32,
        "--card.samples",
        0,
        *place,
    )
    assert "4 samples in quarantine: 4 duplicate_id" in answer.out
    reported = read_for_people(Path(answer.out.splitlines()[-1]) / QUARANTINE_FILE)
    assert reported.loc[reported["Reason"] == "duplicate_id", "Id"].tolist() == ["003", "NA", "a", " a"]
    # A row stands where it begins, also behind cells of several lines.
    assert "occurs in line 3 already" in reported["Detail"].iloc[0]
