"""The library from Python: what its docstrings and its guide say, on the small study, and against the commands."""

import doctest
import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.small_pipeline import Study, copy_artifact

import mmer_core as mmer
from flows.run import run
from mmer_core.datasets.prepared import Prepared
from mmer_core.errors import AttackError, ConfigError, DatasetError
from mmer_core.store import open_store

ROOT = Path(__file__).parents[2]
MODULES = (
    "mmer_core.facade.attacking",
    "mmer_core.facade.comparing",
    "mmer_core.facade.loading",
    "mmer_core.facade.tabulating",
    "flows.run",
)


class Brightest(torch.nn.Module):
    """Two classes: photos without and with a bright pixel."""

    def forward(self, images):
        bright = images.amax(dim=(1, 2, 3)) - 0.6
        return torch.stack([-bright, bright], dim=1)


@pytest.fixture
def here(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_it_was: None) -> Path:
    """A folder with two photos, where the study is in the usual place."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".mmer").symlink_to(Path(study.config.runtime.store).parent)
    for seed, name in enumerate(("photo.jpg", "other.jpg")):
        pixels = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((120, 90), Image.Resampling.BILINEAR).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def mmer_command(request: pytest.FixtureRequest) -> Callable:
    """The fixture of this name, which is the library's here."""
    return request.getfixturevalue("mmer")


@pytest.fixture
def given(study: Study) -> dict[str, object]:
    """What docstrings and the guide take as given."""
    images = np.random.default_rng(0).integers(0, 100, (3, 32, 32, 3), dtype=np.uint8)
    keys = {
        task: str(study.only("model", task=task, family="joint").key) for task in ("emotion", "retrieval")
    }
    return keys | {
        "photo": "photo.jpg",
        "job": study.train_job("flickr8k"),
        "network": Brightest(),
        "images": images,
        "labels": np.zeros(3, int),
    }


@pytest.mark.long
@pytest.mark.parametrize("module", MODULES)
def test_docstrings_say_what_happens(module: str, here: Path, given: dict[str, object]) -> None:
    found = doctest.testmod(import_module(module), extraglobs=given, optionflags=doctest.ELLIPSIS)
    assert found.attempted
    assert not found.failed


def test_the_guide_runs(here: Path, given: dict[str, object]) -> None:
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "docs" / "python.md").read_text("utf-8"), re.M | re.S
    )
    space = dict(given)
    for block in blocks:
        exec(compile(block, "python.md", "exec"), space)
    assert space["cosines"].shape == (2, 1)
    assert space["attacked"].fooled.all()
    assert space["made"].open().split == "val"


def test_a_model_predicts_as_its_command_does(
    here: Path, study: Study, mmer_command: Callable, given: dict[str, object]
) -> None:
    flags = ["--model", given["emotion"], "--text", "a man", "--box", 10, 5, 60, 70, "--json"]
    printed = json.loads(mmer_command("predict", "photo.jpg", *flags).out)
    expected = {f"probability {name}": value for name, value in printed["probabilities"].items()}
    model = mmer.load(given["emotion"])
    box, picture = (10, 5, 60, 70), Image.open("photo.jpg")
    for photo in ("photo.jpg", picture, np.asarray(picture)):
        row = model.predict(photo, "a man", boxes=box).iloc[0]
        assert row[list(expected)].to_dict() == pytest.approx(expected, abs=1e-6)
        assert row[list(printed["ratings"])].to_dict() == pytest.approx(printed["ratings"], abs=1e-5)
    several = model.predict(["photo.jpg", "nowhere.jpg"], ["a man", None], boxes=[box, None])
    assert several.loc[0, list(expected)].to_dict() == pytest.approx(expected, abs=1e-5)
    assert "nowhere.jpg" in several.error[1]
    with pytest.raises(DatasetError, match=r"nowhere\.jpg"):
        model.predict("nowhere.jpg")
    with pytest.raises(ConfigError, match="2 photos have 1 texts"):
        model.predict(["photo.jpg", "other.jpg"], ["a man"])


def test_vectors_are_those_that_were_evaluated(here: Path, study: Study, given: dict[str, object]) -> None:
    """The prepared photos, embedded once more."""
    for task, names in (("retrieval", ("image", "text")), ("emotion", ("text",))):
        manifest = study.only("model", task=task, family="joint")
        evaluation = study.made_from("evaluation", "model", manifest)
        stored = {
            name: np.load(study.context.folder(evaluation.key) / f"embedding_{name}.npy") for name in names
        }
        split = Prepared.open(study.context.folder_of(manifest.inputs["prepared"])).split("test")
        model = mmer.load(str(manifest.key))
        if "image" in names:
            assert model.embed(list(split.images("context"))) == pytest.approx(stored["image"], abs=2e-5)
            with pytest.raises(ConfigError, match="give one of the two"):
                model.embed()
        has_text = np.abs(stored["text"]).sum(axis=1) > 0
        texts = model.embed(texts=list(split.texts))
        if task == "retrieval":
            assert texts == pytest.approx(stored["text"], abs=2e-5)
        else:
            assert np.linalg.norm(texts, axis=1) == pytest.approx(1, abs=1e-5)
            assert has_text.any()
    separate = str(study.only("model", task="emotion", family="separate").key)
    with pytest.raises(ConfigError, match="no space that images and texts share"):
        mmer.load(separate).embed("photo.jpg")


def test_a_model_is_loaded_from_anywhere(
    here: Path, study: Study, given: dict[str, object], tmp_path: Path
) -> None:
    manifest = study.only("model", task="emotion", family="joint")
    expected = mmer.load(str(manifest.key)).predict("photo.jpg")
    folder = mmer.load(study.context.folder(manifest.key), store="nowhere")
    assert folder.predict("photo.jpg").equals(expected)
    assert folder.attack("photo.jpg", budget=5).outcome.queries <= 5
    address = (tmp_path / "elsewhere").as_uri()
    copy_artifact(manifest, study.store, open_store(address))
    assert mmer.load("model", store=address).predict("photo.jpg").equals(expected)
    assert str(manifest.key) in mmer.load("model", store=address)._repr_html_()


@pytest.mark.integration
def test_a_model_is_loaded_from_s3(here: Path, study: Study, given: dict[str, object], s3_url: str) -> None:
    manifest = study.only("model", task="emotion", family="joint")
    copy_artifact(manifest, study.store, open_store(s3_url))
    assert mmer.load("model", store=s3_url).key == given["emotion"]
    assert list(mmer.runs(s3_url).model) == [given["emotion"]]


def test_a_job_opens_what_it_made(here: Path, study: Study, given: dict[str, object]) -> None:
    made = run(study.train_job("emotic"))
    trained = mmer.load(str(made.artifacts["model"].key))
    assert made.open("model").predict("photo.jpg").equals(trained.predict("photo.jpg"))
    assert len(made.open("prepared").split("test")) == made.open("evaluation").n
    assert all(artifact.reused for artifact in made.artifacts.values())
    assert str(made.artifacts["evaluation"].key) in made._repr_html_()
    with pytest.raises(ConfigError, match="open one of prepared, features, model, evaluation"):
        made.open()
    with pytest.raises(ConfigError, match="configuration of no job"):
        run(study.config.runtime)
    assert run(study.config).open() == study.context.folder(study.report) / "report.html"


def test_an_attack_on_a_network_is_counted_as_the_network_sees_it(given: dict[str, object]) -> None:
    network, images = given["network"], given["images"]
    labels = np.array([0, 0, 1])  # the last one is wrong as it is
    found = mmer.attack(network, images, labels, pixels=2, budget=40)
    floats = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    assert (
        mmer.attack(network, floats, torch.from_numpy(labels), pixels=2, budget=40).outcomes == found.outcomes
    )

    with torch.no_grad():
        after = network(torch.from_numpy(found.images).permute(0, 3, 1, 2) / 255).argmax(dim=1).numpy()
    assert (found.images != images).any(axis=3).sum(axis=(1, 2)).max() <= 2
    assert found.fooled.tolist() == ((after != labels) & (labels == 0)).tolist() == [True, True, False]
    row = found.table.set_index("attack").loc["sparse-rs"]
    assert (row.attacked, row.fooled, row.robust) == (2, 100, 0)
    assert found.beside_control is not None
    assert found.beside_control.n == 2
    assert "robust accuracy" in found._repr_html_()
    for wrong, message in (
        ({"images": images[:, :, :, 0]}, "give uint8"),
        ({"images": floats * 255}, r"pixels in 0\.\.1"),
        ({"labels": labels[:2]}, "one for each of 3 images"),
        ({"attack": "magic"}, "no attack 'magic'"),
    ):
        with pytest.raises(AttackError, match=message):
            mmer.attack(**{"network": network, "images": images, "labels": labels} | wrong)
