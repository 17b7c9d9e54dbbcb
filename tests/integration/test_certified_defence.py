"""`mmer robustness --defence ablation`: a model that decides by many drawings, certified instead of attacked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from support.small_pipeline import Study, training_fields

from flows.defences import defences, print_defences
from mmer_core.attacks.certificates import unseen
from mmer_core.attacks.record import CertifiedSummary
from mmer_core.config import AblationConfig, DefencesJob
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.encoders import load_image_encoder
from mmer_core.encoders.ablation import ablated_features
from mmer_core.encoders.features import Features
from mmer_core.errors import ConfigError, EncoderError
from mmer_core.inference import TrainedModel
from mmer_core.reporting.sections.defences import DefencesSummary
from mmer_core.seeding import random_stream
from mmer_core.stages import newest_model
from mmer_core.stages.certified import certify, load_certified
from mmer_core.stages.robustness import load_outcomes
from mmer_core.store import ArtifactKey, Manifest
from mmer_core.training.data import EmotionData

pytestmark = pytest.mark.long
NAME, KEPT = "ablation:300", 300
DRAWS = AblationConfig(draws=20, guesses=5, confidence=0.9)


def job(study: Study, dataset: str, **attack: object) -> DefencesJob:
    return DefencesJob(
        **training_fields(study.config, dataset),
        attack=study.config.attack.model_copy(update=attack),
        defence=(NAME,),
        ablation=DRAWS,
    )


@pytest.fixture(scope="module", params=["emotic", "flickr8k"])
def compared(request: pytest.FixtureRequest, study: Study, as_it_was_before: None) -> Manifest:
    # Among the 15 captions of the small test split, one of the first 10 is easily own.
    return study.store.manifest(ArtifactKey.parse(defences.fn(job(study, request.param, top=1))))


def keys(compared: Manifest, name: str) -> dict[str, ArtifactKey]:
    found = ((role.rpartition("."), key) for role, key in compared.inputs.items())
    return {role: ArtifactKey.parse(key) for (who, _, role), key in found if who == name}


def decided(
    study: Study, own: dict[str, ArtifactKey], split: PreparedSplit, row: int, seen: torch.Tensor
) -> list[str]:
    """By name, what the model decides about a sample whose image has each of some features."""
    trained = TrainedModel.open(study.context.folder(own["model"]), torch.device("cpu"))
    stored = Features(study.context.folder(own["features"]))
    if trained.spec.labels:
        data = EmotionData.load(stored, split)
        shown = data.rows(torch.full((len(seen),), row))
        output = trained.emotions({**shown.streams, "context": seen}, shown.present)
        return [trained.spec.labels[one] for one in output.probabilities.argmax(axis=1)]
    texts = trained.embed_texts(torch.from_numpy(stored.load(split.split, "text")))
    first = (trained.embed_images({"context": seen}) @ texts.T).argmax(axis=1)
    return [split.ids[split.text_sample[one]] for one in first]


def test_decisions_and_certificates_are_those_of_a_slow_way(study: Study, compared: Manifest) -> None:
    own = keys(compared, NAME)
    manifest = study.store.manifest(own["certified"])
    table = load_certified(study.store.fetch(own["certified"]))
    config = study.config.attack
    split = Prepared.open(study.store.fetch(own["prepared"])).split(config.split)
    plain = load_outcomes(study.store.fetch(keys(compared, "plain")["robustness"]))
    assert sorted(table["sample"]) == sorted(set(plain["sample"]))
    encoder = load_image_encoder("packaged:efficientnet_lite0", 32)
    chances = unseen(32 * 32, KEPT)
    for outcome in table.to_dict("records"):
        row = split.ids.index(outcome["sample"])
        image = encoder.resize(np.asarray(split.images("context")[split.image_rows([row])]))[0]
        generator = random_stream(config.seed, "certify", outcome["sample"])
        seen = ablated_features(encoder, image, KEPT, DRAWS.guesses + DRAWS.draws, generator)
        votes = decided(study, own, split, row, seen.clone())
        guessed = votes[: DRAWS.guesses]
        assert guessed.count(outcome["decision"]) == max(map(guessed.count, guessed))
        assert outcome["hits"] == votes[DRAWS.guesses :].count(outcome["decision"])
        exact = binomtest(outcome["hits"], DRAWS.draws, alternative="greater")
        assert outcome["lower"] == pytest.approx(exact.proportion_ci(DRAWS.confidence).low, abs=1e-9)
        held = [rho for rho in range(20) if outcome["lower"] - (1 - chances[rho]) > 0.5]
        assert outcome["radius"] == max(held, default=-1)
        labels = split.card.labels
        truth = (
            split.labels[row, labels.index(outcome["decision"])] > 0
            if labels
            else outcome["decision"] == outcome["sample"]
        )
        assert outcome["right"] == truth
    summary = manifest.summary_as(CertifiedSummary)
    assert (summary.kept, summary.pixels, summary.n) == (KEPT, 1024, len(table))
    safe = table["radius"].where(table["right"], -1)
    assert [one.pixels for one in summary.points] == [0, 1]
    for point in summary.points:
        assert point.accuracy.value == pytest.approx(100 * (safe >= point.pixels).mean())
    assert summary.abstained.value == pytest.approx(100 * (table["radius"] < 0).mean())
    best = sorted(safe, reverse=True)[(len(safe) - 1) // 2]
    assert summary.median == (best if best >= 0 else None)


def test_it_is_compared_with_what_attacks_leave_without_it(study: Study, compared: Manifest) -> None:
    summary = compared.summary_as(DefencesSummary)
    (row,) = summary.rows
    clean, certified = row.answers
    assert (clean.quantity, certified.quantity) == ("accuracy", "certified accuracy, K = 1")
    assert {(one.first, one.second) for one in row.answers} == {(NAME, "undefended")}
    (found,) = summary.certified
    own = [point.accuracy.value for point in found.found.points]
    assert [clean.first_value, certified.first_value] == pytest.approx(own)
    table = load_outcomes(study.store.fetch(keys(compared, "plain")["robustness"]))
    table = table[table["attack"] == "sparse-rs"]
    curves = study.store.manifest(keys(compared, "plain")["robustness"]).summary["curves"]
    (curve,) = (one for one in curves if one["attack"] == "sparse-rs")
    assert certified.second_value == pytest.approx(curve["robust_accuracy"]["value"])
    assert clean.second_value == pytest.approx(100 * curve["right"] / len(table))
    assert found.seconds > 0
    assert row.time > 0
    plain = keys(compared, "plain")["model"]
    task = study.store.manifest(plain).summary["task"]
    assert newest_model(study.store, task).key != keys(compared, NAME)["model"]


def test_it_is_printed_and_in_the_report(
    study: Study, compared: Manifest, mmer: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    print_defences(study.context, str(compared.key))
    said = capsys.readouterr().out
    assert f"{NAME}: certified accuracy, K = 1" in said
    assert "What is certified of the joint model; a certificate holds with a chance of 0.9" in said
    page = Path(mmer("report", *study.flags()).out.splitlines()[-1]).read_text()
    assert "300 of 1,024 pixels kept, 20 draws" in page
    assert "decides by many drawings" in page


def test_votes_are_the_same_after_a_stop(
    study: Study, compared: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run that died had done is found, and the votes are the same as without a stop."""
    own = keys(compared, NAME)
    before = load_certified(study.store.fetch(own["certified"]))
    config = study.config.attack.model_copy(update={"top": 1})
    made_of = own["prepared"], own["features"], own["model"]
    gallery = study.store.manifest(own["certified"]).inputs.get("gallery")
    given = (config, DRAWS, *made_of, gallery and ArtifactKey.parse(gallery))
    assert certify.key(study.context, *given) == own["certified"]
    study.store.delete(own["certified"])
    # One image at a time, and each kept.
    monkeypatch.setattr("mmer_core.stages.certified._TOGETHER", 1)
    monkeypatch.setattr("mmer_core.encoders.steps.SECONDS", 0.0)
    drawn = []

    def dying(*args: object) -> torch.Tensor:
        drawn.append(args)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return ablated_features(*args)

    monkeypatch.setattr("mmer_core.stages.certified.ablated_features", dying)
    with pytest.raises(KeyboardInterrupt):
        certify(study.context, *given)
    again = certify(study.context, *given)
    assert len(drawn) == 1 + len(before)
    assert load_certified(again.folder).equals(before)


@pytest.mark.parametrize(
    ("dataset", "attack", "said"),
    [
        (
            "emotic",
            {"criterion": "labels"},
            "certifies the highest label, not labels; give --attack.criterion",
        ),
        ("flickr8k", {}, "recall at 1; give --attack.match-criterion image-to-text and --attack.top 1"),
    ],
)
def test_what_is_no_decision_is_refused_before_any_training(
    study: Study, as_it_was: None, dataset: str, attack: dict[str, object], said: str
) -> None:
    models = len([*study.store.list("model")])
    with pytest.raises(ConfigError, match=said):
        defences.fn(job(study, dataset, **attack))
    whole = job(study, dataset, top=1).model_copy(update={"defence": ("ablation",)})
    with pytest.raises(EncoderError, match="no fewer than all 1,024 pixels"):
        defences.fn(whole)
    assert len([*study.store.list("model")]) == models
