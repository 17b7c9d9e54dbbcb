"""Every job on a CUDA device, a simulated one or with MMER_GPU=1 a real one: nothing is on the wrong side, and no pass of
candidates waits, or copies, more often than is written here."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.captioner_folders import build as build_captioner
from support.detector_file import detector_file
from support.drawn_index import client
from support.hf_folders import build
from support.on_device import CUDA, REAL, on_device
from support.poison_toys import photos, toy_encoder
from support.simulated_cuda import Counts, simulated_cuda
from support.single_thread import one_thread
from torch import nn

import mmer_core as mmer
from flows import jobs
from flows.jobs import Trained
from flows.poisoning import poison
from flows.probe import probe
from mmer_core.attacks import ATTACKS, Candidates, ClassifierVictim, apply
from mmer_core.captioning import load_captioner
from mmer_core.config import (
    AttackConfig,
    EncoderConfig,
    EvaluateJob,
    EvaluationConfig,
    FinetuneConfig,
    FinetuneJob,
    IndexConfig,
    IndexJob,
    IngestConfig,
    ModelConfig,
    PoisonConfig,
    PoisonJob,
    ProbeJob,
    RuntimeConfig,
    TrainingConfig,
    TrainJob,
)
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders import load_image_encoder
from mmer_core.errors import ConfigError
from mmer_core.poisoning import BullseyePolytope, CraftedAttack, FeatureCollision
from mmer_core.prediction.attacking import photo_target
from mmer_core.prediction.detector import PersonDetector
from mmer_core.prediction.people import open_classifier, read_people
from mmer_core.prediction.photos import PhotoRequest
from mmer_core.querying import Query, Searcher
from mmer_core.runtimes import Runtime, compile_network
from mmer_core.serving import IndexSnapshot
from mmer_core.stages import Context
from mmer_core.stages.attacked_gallery import embed_gallery
from mmer_core.stages.robustness import attack_shard, plan_attack
from mmer_core.store import ArtifactKey
from mmer_core.training import linear_probe

__all__ = ["one_thread"]


@pytest.fixture(autouse=True, scope="module")
def short_probes() -> Iterator[None]:
    """Where the linear probes end does not matter here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_probe, "_STEPS", 3)
        yield


@dataclass(frozen=True)
class Made:
    """What was made of one dataset."""

    job: TrainJob
    trained: Trained

    @property
    def context(self) -> Context:
        return Context(self.job.runtime)

    @property
    def keys(self) -> tuple[ArtifactKey, ArtifactKey, ArtifactKey]:
        """Of prepared arrays, features and model."""
        made = self.trained.artifacts()
        return made.prepared, made.features, made.model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("devices")


@pytest.fixture(scope="module")
def bert(folder: Path) -> str:
    return f"hf:{build('bert', folder / 'bert')}"


@pytest.fixture(scope="module")
def detector(folder: Path) -> str:
    return detector_file(folder / "detector.safetensors")


@pytest.fixture(scope="module")
def captioner(folder: Path) -> str:
    return f"hf:{build_captioner('vit_gpt2', folder / 'captioner')}"


def _single_label(root: Path) -> Path:
    """Photos of one of two colours."""
    root.mkdir()
    rng = np.random.default_rng(0)
    with (root / "photos.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "image", "label", "text", "split"])
        for number in range(24):
            red = number % 2
            pixels = rng.integers(0, 128, (32, 32, 3), dtype=np.uint8)
            pixels[..., 0 if red else 2] += 100
            Image.fromarray(pixels).save(root / f"{number}.png")
            split = ("train", "train", "val", "test")[number // 2 % 4]
            rows.writerow([number, f"{number}.png", ("blue", "red")[red], f"a photo, number {number}", split])
    (root / "photos.csv.labels.json").write_text(
        json.dumps({"labels": ["blue", "red"], "multi_label": False})
    )
    return root / "photos.csv"


@pytest.fixture(scope="module")
def made(folder: Path, bert: str) -> dict[str, Made]:
    """By kind of task, a trained model with all that comes before it."""
    sizes = {"context_size": 32, "body_size": 32}
    datasets = {
        "emotion": {"dataset": "emotic", "synthetic": {"images": 30}},
        "classification": {"dataset": "manifest", "root": _single_label(folder / "single")},
        "retrieval": {"dataset": "flickr8k", "synthetic": {"images": 30}},
    }
    with on_device():
        found = {}
        for task, dataset in datasets.items():
            job = TrainJob(
                dataset=IngestConfig.model_validate(dataset | sizes),
                encoders=EncoderConfig(image="packaged:efficientnet_lite0", image_size=32, text=bert),
                model=ModelConfig(family="joint", embedding=16, hidden=16),
                training=TrainingConfig(epochs=1, tries=1, batch_size=8),
                evaluation=EvaluationConfig(resamples=20),
                runtime=RuntimeConfig(
                    store=str(folder / "store"), work=folder / "work", device="cuda", workers=1, quiet=True
                ),
            )
            found[task] = Made(job, jobs.train.fn(job))
    return found


def shard_of(made: Made, **attack: object) -> int:
    """How many queries an attack on two images asked."""
    asked = AttackConfig.model_validate({"images": 2, "budget": 6, "de": {"population": 5}, **attack})
    (shard,) = plan_attack(made.context, asked, *made.keys)
    captioned = made.job.dataset.format.captioned
    among = embed_gallery(made.context, asked, *made.keys).key if captioned else None
    return attack_shard(made.context, asked, *made.keys, shard, gallery=among).summary["queries"]


LABEL_CRITERIA = ("dominant", "target", "top", "labels", "suppress", "appear", "shift")
MATCH_CRITERIA = ("image-to-text", "text-to-image", "both", "caption-rises", "image-rises")
CRITERIA = (
    *(("emotion", {"criterion": name}) for name in LABEL_CRITERIA),
    ("classification", {"criterion": "misclassified"}),
    *(("retrieval", {"match_criterion": name, "top": 1}) for name in MATCH_CRITERIA),
)
ONE_PIXEL = {"exhaustive"}


WAITS, COPIES = 7, 4
"""Of a pass of candidates: times that an attack may wait for the device, and copies to it."""
PASSES = 4
"""Of 100 queries of Sparse-RS on one image, which are proposed ahead as far as a pass of 64 goes."""


@pytest.mark.long
@pytest.mark.skipif(REAL, reason="a real device is not counted")
@pytest.mark.parametrize("pixels", [1, 20])
def test_a_pass_of_candidates_has_a_budget(made: dict[str, Made], counts: Counts, pixels: int) -> None:
    spent = []
    for budget in (4, 30, 130):  # the first plans
        before = counts.copy()
        asked = {"attacks": ("sparse-rs",), "images": 1, "pixels": (pixels,), "budget": budget}
        # No rating moves so far, so that the whole budget is spent.
        assert shard_of(made["emotion"], **asked, criterion="shift", tau=9.0) == budget
        spent.append(counts.since(before))
    more = spent[2].since(spent[1])  # of 100 more queries
    assert more.waits <= PASSES * WAITS, more.places
    assert more.to_device <= PASSES * COPIES, more.places


def combinations() -> Iterator[object]:
    """Every attack by every criterion with each K; most are long, but for each attack, each criterion and each K once."""
    for name in ATTACKS:
        for task, criterion in CRITERIA:
            for pixels in (1, 5, 20):
                if name in ONE_PIXEL and pixels > 1:
                    continue
                every_k = name in ("sparse-rs", "sigma-zero", *ONE_PIXEL)
                short = (criterion == CRITERIA[0][1] and (pixels == 5 or every_k)) or (
                    pixels == 5 and name == "sparse-rs"
                )
                yield pytest.param(
                    *(name, task, criterion, pixels),
                    id=f"{name}-{next(iter(criterion.values()))}-{pixels}",
                    marks=[] if short else pytest.mark.long,
                )


@pytest.mark.parametrize(("name", "task", "criterion", "pixels"), [*combinations()])
def test_attacks(
    made: dict[str, Made], counts: Counts, name: str, task: str, criterion: dict, pixels: int
) -> None:
    one = made[task]
    split = Prepared.open(one.context.folder(one.keys[0])).split("test")
    if criterion.get("criterion") in ("target", "suppress", "appear"):
        criterion = criterion | {"category": split.card.labels[0]}
    if criterion.get("match_criterion") in ("caption-rises", "image-rises"):
        criterion = criterion | {"target": split.ids[0]}
    assert shard_of(one, attacks=(name,), pixels=(pixels,), **criterion) >= 0


@pytest.mark.long
@pytest.mark.parametrize("stream", ["body", "photo"])
def test_other_streams_are_attacked(made: dict[str, Made], counts: Counts, stream: str) -> None:
    one = made["emotion"]
    job = jobs.RobustnessJob(
        trained=one.trained.model,
        dataset=one.job.dataset if stream == "photo" else IngestConfig(),
        attack=AttackConfig(
            attacks=("sparse-rs", "sigma-zero"), pixels=(1, 5), images=2, budget=6, stream=stream
        ),
        runtime=one.job.runtime,
    )
    assert jobs.robustness.fn(job)


@pytest.mark.parametrize("pixels", [1, 5, 20])
def test_windows_are_computed_on_the_device(counts: Counts, pixels: int) -> None:
    """And those of several pixels of one candidate meet there."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.ReLU())
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 64, 3)).to("cuda")
    victim = ClassifierVictim(network, (0.5,) * 3, (0.25,) * 3, (16, 16), method="incremental")
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8))
    images = images.to("cuda")
    places = torch.from_numpy(rng.integers(0, 16 * 16, (20, pixels))).to("cuda")
    colours = torch.from_numpy(rng.integers(0, 256, (20, pixels, 3), dtype=np.uint8)).to("cuda")
    candidates = Candidates(places, colours)
    rows = torch.arange(20) % 2
    found = victim.candidate_scores(images, rows, candidates)
    whole = victim.scores(apply(images[rows], candidates), rows)
    assert found.device == CUDA
    torch.testing.assert_close(found.cpu(), whole.cpu(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pixels", [1, 5, 20])
def test_the_facade_attacks_a_network_of_the_device(counts: Counts, pixels: int) -> None:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU())
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).to("cuda")
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    labels = network(torch.from_numpy(images).to("cuda").permute(0, 3, 1, 2) / 255).argmax(1)
    for given in (images, torch.from_numpy(images).to("cuda")):
        found = mmer.attack(network, given, labels, pixels=pixels, budget=20)
        assert (found.table["attacked"] == 3).all()


@pytest.mark.skipif(REAL, reason="a real device has float64")
@pytest.mark.parametrize("attack", ["sparse-rs", "sigma-zero"])
def test_an_attack_needs_no_double_precision(attack: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with simulated_cuda(float64=False):
        found = mmer.attack(
            network.to("cuda"), np.zeros((1, 16, 16, 3), np.uint8), [0], attack=attack, budget=6
        )
    assert len(found.outcomes) == 1


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_runtime_of_the_cpu_is_refused_in_words(counts: Counts, runtime: Runtime) -> None:
    with pytest.raises(
        ConfigError, match=r"computes on the CPU, and the network is on cuda:0; choose the runtime torch"
    ):
        compile_network(nn.Flatten().to("cuda"), torch.zeros(1, 3, 4, 4, device="cuda"), runtime)


@pytest.mark.parametrize("task", ["emotion", "classification", "retrieval"])
def test_models_are_trained_and_measured(made: dict[str, Made], counts: Counts, task: str) -> None:
    """The joint ones are what the fixture made; here the separate ones, their index, and another split."""
    one = made[task]
    separate = one.job.model_copy(update={"model": one.job.model.model_copy(update={"family": "separate"})})
    trained = jobs.train.fn(separate)
    again = EvaluateJob(
        model=trained.model, evaluation=EvaluationConfig(split="val", resamples=20), runtime=one.job.runtime
    )
    assert jobs.evaluate.fn(again)
    if task != "retrieval":
        assert probe.fn(
            ProbeJob(prepared=trained.prepared, encoders=one.job.encoders, runtime=one.job.runtime)
        )


@pytest.mark.parametrize(("dataset", "which"), [("emotion", "two"), ("retrieval", "pair")])
def test_encoders_are_tuned(
    made: dict[str, Made], folder: Path, bert: str, counts: Counts, dataset: str, which: str
) -> None:
    clip, vit = (f"hf:{build(name, folder / f'{name}-{dataset}')}" for name in ("clip", "vit"))
    image, text = (vit, bert) if which == "two" else (clip, clip)
    one = made[dataset]
    job = FinetuneJob(
        prepared=one.trained.prepared,
        encoders=EncoderConfig(image=image, text=text, image_size=32),
        finetune=FinetuneConfig(epochs=1, rank=2, batch_size=16),
        runtime=one.job.runtime,
    )
    adapter = jobs.finetune.fn(job)
    encoder = one.context.image_encoder(f"adapted:{adapter}", 32)
    assert encoder.encode(torch.zeros(1, 32, 32, 3, dtype=torch.uint8)).device == CUDA


@pytest.mark.parametrize("attack", [FeatureCollision(iterations=2), BullseyePolytope(iterations=2)], ids=repr)
def test_poisons_are_crafted(counts: Counts, attack: CraftedAttack) -> None:
    encoder = toy_encoder().to(CUDA)
    crafted = attack.craft([encoder], photos(3), photos(1, seed=1), ["a", "b", "c"], target_of=[0, 0, 0])
    assert crafted.images.shape == photos(3).shape


@pytest.mark.long
@pytest.mark.parametrize("attacks", [("bullseye",), ("backdoor", "clean-label", "collision")], ids="-".join)
def test_poisons(made: dict[str, Made], counts: Counts, attacks: tuple[str, ...]) -> None:
    one = made["retrieval"]
    fields = dict(one.job) | {
        "poison": PoisonConfig(
            target="dog",
            top=3,
            attacks=attacks,
            controls=(),
            detectors=("deep-knn",),
            counts=(1,),
            seeds=1,
            targets=1,
            collision={"iterations": 1},
            bullseye={"iterations": 1},
        ),
    }
    assert poison.fn(PoisonJob(**fields))


def test_an_index_is_made_and_asked(made: dict[str, Made], counts: Counts) -> None:
    one = made["retrieval"]
    key = jobs.index.fn(IndexJob(trained=one.trained.model, index=IndexConfig(), runtime=one.job.runtime))
    searcher = Searcher.open(one.context, key)
    assert len(searcher.search(searcher.vector_of(Query(text="two dogs")), "image", 3)[0]) == 3


def test_an_index_is_served(made: dict[str, Made], counts: Counts) -> None:
    """By the embedding thread of the service, which the device is asked from."""
    one = made["retrieval"]
    key = jobs.index.fn(IndexJob(trained=one.trained.model, index=IndexConfig(), runtime=one.job.runtime))
    picture = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(picture, "png")
    with client(IndexSnapshot(Searcher.open(one.context, key))) as ask:
        answers = [
            ask.get("/api/search", params={"text": "two dogs", "target": "image", "k": 3}),
            ask.post(
                "/api/search",
                params={"target": "text", "k": 3},
                content=picture.getvalue(),
                headers={"content-type": "image/png"},
            ),
        ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["results"][0]["hits"]) == 3


def test_photos_are_read_by_a_detector_and_a_classifier(
    made: dict[str, Made], detector: str, counts: Counts
) -> None:
    one = made["emotion"]
    _, trained = open_classifier(one.context, one.trained.model)
    people = PersonDetector.load(detector, 0.3, CUDA)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    found = read_people(one.context, trained, [PhotoRequest("noise", picture=picture, text="a dog")], people)
    assert found
    assert not any(person.error for person in found)
    search = AttackConfig(attacks=("sparse-rs", "sigma-zero"), pixels=(1, 5), budget=6)
    target = photo_target(one.context, people_request(picture), search, model=one.trained.model)
    assert len(list(target.attacks(search, 16))) == 4
    assert target.one_pixel_map(16, 64, lambda *_: None) is not None


def people_request(picture: Image.Image) -> PhotoRequest:
    return PhotoRequest("noise", picture=picture, box=(5, 5, 40, 50), text="a dog")


def test_photos_are_described(captioner: str, counts: Counts) -> None:
    described = load_captioner(captioner, None, 4, CUDA).describe([Image.new("RGB", (40, 30), "red")] * 2)
    assert len(described) == 2


@pytest.mark.parametrize("name", ["median", "median:5", "jpeg"])
def test_filters_of_images_are_on_the_device(counts: Counts, name: str) -> None:
    encoder = load_image_encoder(f"{name}:packaged:efficientnet_lite0", 32)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    expected = encoder.encode(images)
    found = encoder.to(CUDA).encode(images)
    assert found.device == CUDA
    assert torch.allclose(found.cpu(), expected, atol=1e-3)
