"""Tuning encoders on drawn photos: what is learned, what stays as it was, and what a kill changes (nothing)."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from support.hf_folders import build
from support.tuned import Killed, context, small

from mmer_core.config import EncoderConfig, FinetuneConfig, IngestConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders import load_image_encoder, load_text_encoder
from mmer_core.encoders.adapters import AdapterSpec, adapt
from mmer_core.errors import ConfigError, DatasetError
from mmer_core.stages import Context, finetune, ingest
from mmer_core.store import Artifact, ArtifactKey
from mmer_core.training.tuning import CaptionTuner

TUNING = FinetuneConfig(epochs=3, rank=4, batch_size=8, learning_rate=2e-3)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> dict[str, EncoderConfig]:
    names = ("clip", "vit", "bert")
    folder = {name: f"hf:{build(name, tmp_path_factory.mktemp(name))}" for name in names}
    return {
        "pair": EncoderConfig(image=folder["clip"], text=folder["clip"], image_size=32),
        "two": EncoderConfig(image=folder["vit"], text=folder["bert"], image_size=32),
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[Path, dict[str, ArtifactKey]]:
    """A store with both drawn datasets."""
    folder = tmp_path_factory.mktemp("prepared")
    return folder, {name: ingest(context(folder), small(name)).key for name in ("emotic", "flickr8k")}


def history(artifact: Artifact) -> pd.DataFrame:
    return pd.read_csv(artifact.folder / "history.csv")


def digests(artifact: Artifact) -> dict[str, str]:
    return {entry.path: entry.sha256 for entry in artifact.manifest.files}


@pytest.mark.long
@pytest.mark.parametrize("method", ["lora", "last"])
@pytest.mark.parametrize(("dataset", "which"), [("flickr8k", "pair"), ("flickr8k", "two"), ("emotic", "two")])
def test_the_loss_falls_and_only_the_adapter_has_changed(prepared, encoders, dataset, which, method):
    folder, keys = prepared
    config = TUNING.model_copy(update={"method": method, "epochs": 4, "learning_rate": 5e-3})
    artifact = finetune(context(folder), config, encoders[which], keys[dataset])
    losses = history(artifact)["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]
    metric = "val_map" if dataset == "emotic" else "val_mean_recall"
    kept = history(artifact).set_index("epoch").loc[artifact.summary["best_epoch"]]
    assert (
        artifact.summary[metric]
        == pytest.approx(kept[metric])
        == pytest.approx(history(artifact)[metric].max())
    )
    spec = AdapterSpec.read(artifact.folder)
    assert set(spec.parts) == {"image", "text"}
    for modality, load in (("image", load_image_encoder), ("text", load_text_encoder)):
        before = load(getattr(encoders[which], modality)).module.state_dict()
        after = load(f"adapted:{artifact.folder}").module.state_dict()
        frozen = {
            name.replace(".base_layer", ""): value for name, value in after.items() if ".lora_" not in name
        }
        changed = {name for name, value in before.items() if not torch.equal(value, frozen[name])}
        assert frozen.keys() == before.keys()
        # Everything that is tuned has moved, and nothing else has by a bit.
        assert changed == (set() if method == "lora" else set(spec.parts[modality]))


def test_adapted_features_are_others(prepared, encoders):
    folder, keys = prepared
    artifact = finetune(context(folder), TUNING, encoders["pair"], keys["flickr8k"])
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    own, base = (
        load_image_encoder(name).encode(images)
        for name in (f"adapted:{artifact.folder}", encoders["pair"].image)
    )
    assert not torch.allclose(own, base, atol=1e-3)
    again = context(folder).image_encoder(f"adapted:{artifact.key}", 32).encode(images)
    assert torch.equal(again, own)


@pytest.mark.parametrize(("dataset", "which"), [("flickr8k", "pair"), ("emotic", "two")])
def test_a_tuning_killed_after_every_epoch_ends_with_the_same_bytes(
    prepared, encoders, tmp_path, dataset, which
):
    folder, keys = prepared
    config = TUNING.model_copy(update={"seed": 7})

    def killer(done: int, total: int, note: str = "") -> None:
        raise Killed

    runtime = context(folder).runtime
    for _ in range(config.epochs):
        with pytest.raises(Killed):
            finetune(Context(runtime, progress=killer), config, encoders[which], keys[dataset])
    resumed = finetune(context(folder), config, encoders[which], keys[dataset])
    assert not resumed.reused
    elsewhere = tmp_path
    assert ingest(context(elsewhere), small(dataset)).key == keys[dataset]
    whole = finetune(context(elsewhere), config, encoders[which], keys[dataset])
    assert not whole.reused
    assert digests(resumed) == digests(whole)
    assert len(history(whole)) == config.epochs


def test_one_tower_can_stay_as_it_is(prepared, encoders):
    folder, keys = prepared
    config = TUNING.model_copy(update={"towers": "text", "epochs": 1})
    artifact = finetune(context(folder), config, encoders["two"], keys["flickr8k"])
    assert set(AdapterSpec.read(artifact.folder).parts) == {"text"}
    assert {entry.path for entry in artifact.manifest.files} == {
        "adapter.json",
        "history.csv",
        "text.safetensors",
    }


def test_the_key_follows_settings_and_weights(prepared, encoders, tmp_path):
    folder, keys = prepared
    config = TUNING.model_copy(update={"epochs": 1})
    clip = build("clip", tmp_path / "clip")
    own = EncoderConfig(image=f"hf:{clip}", text=f"hf:{clip}", image_size=32)
    first = finetune(context(folder), config, own, keys["flickr8k"]).key
    assert finetune(context(folder), config, own, keys["flickr8k"]).reused
    assert (
        finetune(context(folder), config.model_copy(update={"alpha": 4.0}), own, keys["flickr8k"]).key
        != first
    )
    build("clip", clip, seed=3)
    assert finetune(context(folder), config, own, keys["flickr8k"]).key != first


def test_what_cannot_be_tuned_is_refused(prepared, encoders, tmp_path):
    folder, keys = prepared
    adapted = EncoderConfig(image="adapted:x", text="adapted:x")
    with pytest.raises(ConfigError, match="not adapted again"):
        finetune(context(folder), TUNING, adapted, keys["flickr8k"])
    rows = ["id,split,image,labels"]
    for number in range(8):
        Image.new("RGB", (40, 40), (30 * number, 0, 0)).save(tmp_path / f"{number}.png")
        rows.append(
            f"s{number},{'train' if number < 5 else 'val'},{number}.png,{'wet' if number % 2 else 'dry'}"
        )
    (tmp_path / "photos.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "photos.csv.labels.json").write_text('["wet", "dry"]')
    wordless = IngestConfig(dataset="manifest", root=tmp_path / "photos.csv", context_size=32)
    key = ingest(context(folder), wordless).key
    with pytest.raises(
        DatasetError, match=r"5 of the 5 samples in train have no text.*finetune\.towers image"
    ):
        finetune(context(folder), TUNING, encoders["two"], key)
    image = TUNING.model_copy(update={"towers": "image", "epochs": 1})
    assert finetune(context(folder), image, encoders["two"], key).summary["towers"] == ["image"]


class Broken:
    """Pictures of which one cannot be read."""

    def __init__(self, pictures: np.ndarray) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        if 3 in rows:
            raise OSError("the disk does not answer")
        return self.pictures[rows]


def test_an_error_names_the_samples_of_its_batch(prepared, encoders):
    folder, keys = prepared
    train = Prepared.open(context(folder).folder(keys["flickr8k"])).split("train")
    image = load_image_encoder(encoders["two"].image, 32)
    text = load_text_encoder(encoders["two"].text)
    adapt(image, TUNING)
    tuner = CaptionTuner(image, text, train, train, None)
    tuner._train[0].items = Broken(train.images("context"))
    tuner.losses(torch.tensor([0, 1]))
    with pytest.raises(OSError) as error:
        tuner.losses(torch.tensor([2, 3]))
    assert error.value.__notes__ == [f"samples {train.ids[2]!r} and {train.ids[3]!r} of train"]
