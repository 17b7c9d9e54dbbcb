"""From a raw EMOTIC to texts in prepared arrays, in shards, by the stages and by the command line."""

import csv
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from support.captioner_folders import build

from flows import jobs
from flows.cli import main
from mmer_core import stages
from mmer_core.captioning import load_captioner
from mmer_core.config import CaptionConfig, IngestConfig, IngestJob, RuntimeConfig, SyntheticConfig
from mmer_core.datasets.formats.emotic import read_emotic
from mmer_core.datasets.pixels import read_rgb
from mmer_core.datasets.prepared import Prepared
from mmer_core.datasets.sample import Text
from mmer_core.datasets.synthetic import write_emotic
from mmer_core.errors import DatasetError
from mmer_core.stages import CAPTIONING, Context
from mmer_core.stages.captions import CAPTIONS_FILE, load_captions
from mmer_core.store import ArtifactKey
from tasks.stages import task_of

IMAGES = 36
TOKENS = 8
MODEL = "model:tiny-blip"


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("blip", tmp_path_factory.mktemp("models") / "tiny-blip")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn EMOTIC with its traps, as if downloaded: without any captions."""
    root = write_emotic(tmp_path_factory.mktemp("emotic"), SyntheticConfig(images=IMAGES))
    (root / "captions.csv").unlink()
    return root


def dataset(root: Path, model: Path, shard_size: int = 10, **fields: object) -> IngestConfig:
    caption = CaptionConfig(max_tokens=TOKENS, shard_size=shard_size)
    sizes = {"context_size": 16, "body_size": 16}
    return IngestConfig(root=root, captioner=f"hf:{model}", caption=caption, **sizes, **fields)


def runtime(folder: Path, workers: int = 1) -> RuntimeConfig:
    return RuntimeConfig(store=str(folder / "store"), work=folder / "work", device="cpu", workers=workers)


def captions_of(context: Context) -> dict[str, str]:
    """The captions in a store that holds one set of them."""
    (key,) = context.store.keys("captions")
    return {name: text.text for name, text in load_captions(context, key).items()}


def texts_of(context: Context, prepared: str) -> pd.DataFrame:
    """Every text of a prepared dataset with its person and provenance."""
    folder = context.folder(ArtifactKey.parse(prepared))
    card = Prepared.open(folder).card
    tables = []
    for split in card.counts:
        ids = pd.read_csv(folder / f"{split}.csv", keep_default_na=False)["Id"]
        texts = pd.read_csv(folder / f"{split}_texts.csv", keep_default_na=False)
        tables.append(texts.assign(Id=ids.to_numpy()[texts["Sample"]], Split=split))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def study(tree: Path, blip: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, str]:
    """The tree, captioned and ingested, and the key of its arrays."""
    where = runtime(tmp_path_factory.mktemp("study"))
    return Context(where), jobs.ingest.fn(IngestJob(dataset=dataset(tree, blip), runtime=where)).prepared


def test_everybody_gets_what_the_model_says_of_their_photo(study, tree, blip):
    context, prepared = study
    texts = texts_of(context, prepared)
    captioner = load_captioner(f"hf:{blip}", None, TOKENS)
    photos = {identity.partition("#")[0] for identity in texts["Id"]}
    said = {photo: captioner.describe([read_rgb(tree / "emotic" / photo)])[0] for photo in photos}
    assert len(set(said.values())) > 10
    assert "" in said.values(), "a model that says nothing is part of this test"
    for row in texts.to_dict("records"):
        expected = said[row["Id"].partition("#")[0]]
        if expected:
            assert (row["Text"], row["Provenance"]) == (expected, MODEL)
        else:
            assert row["Provenance"] == "template"
            assert row["Text"].startswith("a photo of")


def test_the_captions_can_be_given_back_as_a_sidecar(study, tree):
    context, prepared = study
    (key,) = context.store.keys("captions")
    raw = read_emotic(tree, captions=context.folder(key) / CAPTIONS_FILE, protocol="corrected")
    assert not [row for row in raw.quarantined if row.reason == "caption_unmatched"]
    texts = texts_of(context, prepared)
    written = texts[texts["Provenance"] == MODEL].set_index("Id")["Text"]
    given = {sample.id: sample.texts for sample in raw.samples}
    assert {identity: (Text(text, "sidecar"),) for identity, text in written.items()} == {
        identity: given[identity] for identity in written.index
    }


def test_the_card_covers_every_split_by_provenance(study):
    context, prepared = study
    card = context.artifact(ArtifactKey.parse(prepared)).summary
    texts = texts_of(context, prepared)
    counted = {split: dict(Counter(texts[texts["Split"] == split]["Provenance"])) for split in card["counts"]}
    assert card["text_coverage"] == counted
    assert set(card["text_provenance"]) == {MODEL, "template"}
    assert card["texts"] == card["counts"], "one text a person"


def test_an_unreadable_photo_is_counted_and_stops_nothing(study):
    context, prepared = study
    (key,) = context.store.keys("captions")
    figures = context.artifact(key).summary
    broken = context.artifact(ArtifactKey.parse(prepared)).summary["quarantined"]["unreadable_image"]
    assert figures["unreadable"] > 0
    assert broken >= figures["unreadable"]
    assert figures["photos"] == figures["captions"] + figures["unreadable"] + figures["empty"]
    assert figures["captions"] == len(captions_of(context))
    shards = [context.artifact(shard).summary for shard in context.store.keys("caption-shard")]
    assert sum(shard["photos"] for shard in shards) == figures["photos"]
    assert len(shards) == -(-figures["photos"] // 10)


@pytest.mark.long
@pytest.mark.parametrize(("shard_size", "workers"), [(3, 2), (1000, 1)])
def test_neither_shards_nor_workers_change_anything(study, tree, blip, tmp_path, shard_size, workers):
    context, prepared = study
    other = Context(runtime(tmp_path, workers))
    job = IngestJob(dataset=dataset(tree, blip, shard_size), runtime=other.runtime)
    assert jobs.ingest.fn(job).prepared == prepared, "the key of what is made from the captions"
    assert captions_of(other) == captions_of(context)
    key = ArtifactKey.parse(prepared)
    assert other.artifact(key).manifest.files == context.artifact(key).manifest.files


def test_only_missing_shards_are_captioned_again(study, tree, blip, tmp_path, monkeypatch):
    """The memory gives out at the third shard; a second run does not make the first two again."""
    context, prepared = study
    where = runtime(tmp_path)
    job = IngestJob(dataset=dataset(tree, blip), runtime=where)
    real = CAPTIONING.work.build

    def dying(context, workspace, config, plan, shard):
        if shard.start >= 20:
            raise MemoryError("out of memory")
        return real(context, workspace, config, plan, shard)

    with monkeypatch.context() as patch:
        patch.setattr(CAPTIONING.work, "build", dying)
        with pytest.raises(MemoryError):
            jobs.ingest.fn(job)
    store = Context(where).store
    survived = {key: store.manifest(key).created for key in store.keys("caption-shard")}
    assert len(survived) == 2
    assert not list(store.keys("captions"))
    assert jobs.ingest.fn(job).prepared == prepared
    assert captions_of(Context(where)) == captions_of(context)
    made = {key: store.manifest(key).created for key in store.keys("caption-shard")}
    assert survived.items() < made.items()


def test_labels_never_reach_the_text(study, blip, tmp_path):
    """The same photos with everybody's labels shuffled get the same captions."""
    context, prepared = study
    shuffled = write_emotic(tmp_path / "tree", SyntheticConfig(images=IMAGES, shuffle_labels=True))
    (shuffled / "captions.csv").unlink()
    other = Context(runtime(tmp_path))
    again = jobs.ingest.fn(IngestJob(dataset=dataset(shuffled, blip), runtime=other.runtime)).prepared
    assert again != prepared
    true, false = (texts_of(*one).set_index("Id") for one in ((context, prepared), (other, again)))
    both = true.index.intersection(false.index)
    assert len(both) > 0.9 * len(true)
    assert true.loc[both, ["Text", "Provenance"]].equals(false.loc[both, ["Text", "Provenance"]])


def test_an_archive_and_a_moved_folder_give_the_same_captions(study, tree, blip, tmp_path):
    context, _ = study
    archive = shutil.make_archive(str(tmp_path / "emotic"), "zip", tree)
    other = Context(runtime(tmp_path))
    jobs.ingest.fn(IngestJob(dataset=dataset(Path(archive), blip), runtime=other.runtime))
    assert captions_of(other) == captions_of(context)
    (plan,) = other.store.keys("caption-plan")
    assert other.artifact(plan).summary["stored"]
    before = {key: context.store.manifest(key).created for key in context.store.keys()}
    moved = shutil.copytree(tree, tmp_path / "moved")
    jobs.ingest.fn(IngestJob(dataset=dataset(moved, blip), runtime=context.runtime))
    assert {key: context.store.manifest(key).created for key in context.store.keys()} == before


@pytest.mark.long
def test_who_is_described_already_is_not_captioned(study, tree, blip, tmp_path):
    """A sidecar for some people, by hand; then one for everybody, and nothing is asked of the model."""
    context, prepared = study
    texts = texts_of(context, prepared)
    some, everybody = tmp_path / "some.csv", tmp_path / "everybody.csv"
    people = list(texts["Id"].unique())
    _sidecar(some, people[::3])
    _sidecar(everybody, [*people, *_unreadable(context, prepared)])

    other = Context(runtime(tmp_path))
    job = IngestJob(dataset=dataset(tree, blip, captions=some), runtime=other.runtime)
    found = texts_of(other, jobs.ingest.fn(job).prepared).set_index("Id")
    before = texts.set_index("Id")
    assert set(found.loc[people[::3], "Provenance"]) == {"sidecar"}
    rest = [person for person in people if person not in people[::3]]
    assert found.loc[rest].equals(before.loc[rest])
    described = {person.partition("#")[0] for person in people[::3]}
    alone = described - {person.partition("#")[0] for person in rest}
    assert alone, "somebody described is alone in a photo"
    assert not alone & captions_of(other).keys()

    last = Context(runtime(tmp_path / "last"))
    job = IngestJob(dataset=dataset(tree, blip, captions=everybody), runtime=last.runtime)
    prepared = jobs.ingest.fn(job).prepared
    assert set(texts_of(last, prepared)["Provenance"]) == {"sidecar"}
    assert not list(last.store.keys("caption-shard"))
    plain = job.model_copy(update={"dataset": job.dataset.model_copy(update={"captioner": None})})
    assert jobs.ingest.fn(plain).prepared == prepared, "a captioner that was not needed changes no key"


def _sidecar(path: Path, people: Sequence[str]) -> None:
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("folder", "filename", "person", "caption"))
        for person in people:
            photo, _, number = person.partition("#")
            writer.writerow((*photo.rsplit("/", 1), number, f"Caption of {person}"))


def _unreadable(context: Context, prepared: str) -> list[str]:
    table = pd.read_csv(context.folder(ArtifactKey.parse(prepared)) / "quarantine.csv")
    return list(table[table["Reason"].isin(["unreadable_image", "empty_box"])]["Id"])


def test_a_manifest_without_texts_gets_captions(blip, tmp_path):
    rows = ["id,split,image,text,labels"]
    for number in range(12):
        Image.new("RGB", (40, 30), (20 * number, 255 - 20 * number, 90)).save(tmp_path / f"{number}.png")
        split = ("train", "val", "test")[number % 3]
        text = "My own words" if number == 0 else ""
        rows.append(f"i{number},{split},{number}.png,{text},sunny")
    (tmp_path / "photos.csv").write_text("\n".join(rows) + "\n")
    context = Context(runtime(tmp_path / "run"))
    config = dataset(tmp_path / "photos.csv", blip).model_copy(update={"dataset": "manifest"})
    texts = texts_of(context, jobs.ingest.fn(IngestJob(dataset=config, runtime=context.runtime)).prepared)
    captions = captions_of(context)
    assert captions
    assert "0.png" not in captions
    expected = {f"i{name.removesuffix('.png')}": text for name, text in captions.items()}
    assert dict(zip(texts["Id"], texts["Text"], strict=True)) == {"i0": "My own words"} | expected


def test_a_worker_without_the_dataset_says_so(tree, blip, tmp_path):
    root = shutil.copytree(tree, tmp_path / "here")
    context, config = Context(runtime(tmp_path)), dataset(root, blip)
    plan = stages.plan_captions(context, config).key
    shard = CAPTIONING.plan(context, config, plan)[0]
    shutil.rmtree(root)
    with pytest.raises(DatasetError, match="here is not on this machine"):
        CAPTIONING.work(context, config, plan, shard)
    assert not list(context.store.keys("caption-shard"))


def test_captions_are_work_for_the_gpu():
    assert "gpu" in task_of(CAPTIONING.work).prefect.tags


def test_the_command_line_captions_and_prints_the_table_of_coverage(
    study, tree, blip, tmp_path, capsys, monkeypatch
):
    context, prepared = study
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    flags = ["--caption.max-tokens", TOKENS, "--context-size", 16, "--body-size", 16, "--device", "cpu"]
    where = ["--store", tmp_path / "store", "--work", tmp_path / "work", "--workers", 1]
    command = ["ingest", "--dataset", "emotic", "--root", tree, "--captioner", f"hf:{blip}", *flags, *where]
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in command])
    assert not end.value.code
    printed = capsys.readouterr().out
    card = context.artifact(ArtifactKey.parse(prepared)).summary
    lines = [line.split() for line in printed.splitlines()]
    assert ["split", "samples", "texts", "from", MODEL, "from", "template"] in lines
    for split, count in card["counts"].items():
        sources = (card["text_coverage"][split].get(name, 0) for name in (MODEL, "template"))
        assert [split, str(count), str(card["texts"][split]), *map(str, sources)] in lines
    other = Context(runtime(tmp_path))
    assert other.store.has(ArtifactKey.parse(prepared)), "the same work has the same key"
    (key,) = other.store.keys("captions")
    assert (
        (other.folder(key) / CAPTIONS_FILE).read_bytes().startswith(b"folder,filename,caption,provenance\n")
    )
