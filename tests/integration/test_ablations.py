"""A study of every family: each is trained, equally large, compared with the default, and in the report."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_pipeline import BEFORE_TRAINING, Study, copy_artifact

from flows import jobs
from mmer_core.config import ARCHITECTURES, RobustnessJob, RuntimeConfig
from mmer_core.errors import ConfigError
from mmer_core.prediction.people import open_classifier, read_people
from mmer_core.prediction.photos import PhotoRequest
from mmer_core.stages import Context
from mmer_core.stages.report import COMPARISONS_FILE, REPORT_FILE
from mmer_core.statistics.comparison import Comparisons
from mmer_core.store import ArtifactKey

pytestmark = pytest.mark.long

FURTHER = ("separate-weighted", "joint-late", "image-only", "text-only")


def test_every_family_is_trained_and_compared_with_the_default(study: Study, tmp_path: Path) -> None:
    runtime = RuntimeConfig(store=str(tmp_path / "store"), work=tmp_path / "work")
    context = Context(runtime)
    for manifest in study.store.list():
        if manifest.kind in BEFORE_TRAINING:
            copy_artifact(manifest, study.store, context.store)
    families = tuple(name for name in ARCHITECTURES if name != "zero-shot")
    attack = study.config.attack.model_copy(update={"attacks": ("random",)})
    config = study.config.model_copy(update={"families": families, "runtime": runtime, "attack": attack})
    of_one = {
        name: config.model_copy(update={"datasets": {name: one}}) for name, one in config.datasets.items()
    }
    report = context.artifact(ArtifactKey.parse(jobs.pipeline.fn(of_one["emotic"])))

    models = {made.summary["family"]: made for made in context.store.list("model")}
    assert set(models) == set(families)
    size = models["joint"].summary["parameters"]
    for model in models.values():
        assert model.summary["parameters"] == pytest.approx(size, rel=0.01)
    attacked = {made.inputs["model"] for made in context.store.list("robustness")}
    assert attacked == {str(made.key) for family, made in models.items() if family != "text-only"}

    found = Comparisons.read(report.folder / COMPARISONS_FILE).datasets["emotic"]
    ablated = [one for one in found if one.topic.startswith("ablation ")]
    assert [(one.first, one.second) for one in ablated] == [("joint", other) for other in FURTHER]
    assert all(one.tests == len(FURTHER) and "Holm" in one.rule for one in ablated)
    skill = next(one for one in found if one.topic == "skill")
    assert (skill.first, skill.second) == ("joint", "separate")
    blind = str(models["text-only"].key)
    with pytest.raises(ConfigError, match="reads texts only, so there is no pixel to attack"):
        jobs.robustness.fn(RobustnessJob(trained=blind, attack=attack, runtime=runtime))
    photo = tmp_path / "photo.png"
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(photo)
    (person,) = read_people(context, open_classifier(context, blind)[1], [PhotoRequest("photo", photo)])
    assert person.error == "the model reads texts only, and there is none"
    html = (report.folder / REPORT_FILE).read_text()
    for family, model in models.items():
        assert f">{family}<" in html.replace("\n", "").replace(" ", "")
        assert f"{model.summary['parameters']:,}" in html

    with pytest.raises(ConfigError, match="no dataset has separate-weighted or joint-late"):
        jobs.pipeline.fn(of_one["flickr8k"].model_copy(update={"families": FURTHER}))
