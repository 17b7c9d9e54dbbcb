"""`mmer robustness --defence`: every defended model beside the one without, under the same attacks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.small_pipeline import Study, training_fields

from flows.defences import defences, print_defences
from mmer_core.attacks.candidates import write_changes
from mmer_core.config import DefencesJob
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders import load_image_encoder
from mmer_core.encoders.features import Features
from mmer_core.poisoning.poison_set import PoisonSet
from mmer_core.reporting.sections.defences import DefencesSummary
from mmer_core.stages import newest_model
from mmer_core.stages.evaluate import load_evaluation
from mmer_core.stages.robustness import load_outcomes
from mmer_core.stages.train import training_data
from mmer_core.store import ArtifactKey, Manifest

pytestmark = pytest.mark.long
DEFENCES = ("median", "adversarial")


@pytest.fixture(scope="module")
def compared(study: Study, as_it_was_before: None) -> Manifest:
    job = DefencesJob(
        **training_fields(study.config, "emotic"),
        attack=study.config.attack,
        defence=DEFENCES,
        adversarial={"images": 12, "budget": 20},
    )
    return study.store.manifest(ArtifactKey.parse(defences.fn(job)))


def keys(compared: Manifest, name: str) -> dict[str, ArtifactKey]:
    """Of a defended model, or of ``plain``, by role."""
    found = ((role.rpartition("."), key) for role, key in compared.inputs.items())
    return {role: ArtifactKey.parse(key) for (who, _, role), key in found if who == name}


def test_nobody_who_asks_for_some_model_gets_a_defended_one(study: Study, compared: Manifest) -> None:
    plain = keys(compared, "plain")["model"]
    assert str(plain) in study.store.manifest(study.report).inputs.values()
    for name in DEFENCES:
        assert newest_model(study.store, "emotion").key != keys(compared, name)["model"]


def test_figures_are_those_of_each_model(study: Study, compared: Manifest) -> None:
    summary = compared.summary_as(DefencesSummary)
    assert tuple(row.defence for row in summary.rows) == DEFENCES
    without = keys(compared, "plain")
    split = Prepared.open(study.store.fetch(without["prepared"])).split("test")
    labels, row_of = split.labels, {sample: row for row, sample in enumerate(split.ids)}
    for row in summary.rows:
        own = keys(compared, row.defence)
        assert row.model == str(own["model"])
        clean = row.answers[0]
        assert (clean.first, clean.second, clean.quantity) == (row.defence, "undefended", "mAP")
        metric = [
            load_evaluation(study.store.fetch(one["evaluation"])).metrics["map"].value
            for one in (own, without)
        ]
        assert [clean.first_value, clean.second_value] == pytest.approx(metric)
        (robust,) = [one for one in row.answers if one.quantity == "robust accuracy, K = 1"]
        shares = []
        for one in (own, without):
            table = load_outcomes(study.store.fetch(one["robustness"]))
            table = table[table["attack"] == "sparse-rs"]
            right = [
                labels[row_of[each], top]
                for each, top in zip(table["sample"], table["clean_top"], strict=True)
            ]
            shares.append(100 * np.mean((table["status"] == "resisted") & np.array(right, bool)))
        assert [robust.first_value, robust.second_value] == pytest.approx(shares)
        assert row.time > 0


def test_adversarial_training_learns_from_what_the_attacks_made(study: Study, compared: Manifest) -> None:
    own = keys(compared, "adversarial")
    attacked = ArtifactKey.parse(study.store.manifest(own["model"]).inputs["attacked"])
    manifest = study.store.manifest(attacked)
    outcomes = load_outcomes(study.store.fetch(ArtifactKey.parse(manifest.inputs["outcomes"])))
    prepared = Prepared.open(study.store.fetch(own["prepared"]))
    split = prepared.split("train")
    made = PoisonSet.read(study.store.fetch(attacked))
    worst = outcomes[outcomes["status"] != "already"].groupby("sample")["final_margin"].min()
    assert sorted(made.ids) == sorted(worst.index)
    assert len(made.ids) > 3
    encoder = load_image_encoder("packaged:efficientnet_lite0", 32)
    for sample, row, features in zip(made.ids, made.plan.rows, made.image_features, strict=True):
        assert split.ids[row] == sample
        of_sample = outcomes[outcomes["sample"] == sample]
        chosen = of_sample.sort_values("final_margin").iloc[0]
        assert chosen["final_margin"] == worst[sample]
        image = encoder.resize(np.asarray(split.images("context"))[split.image_rows(np.array([row]))])[0]
        found = encoder.encode(write_changes(image, chosen["changed"])[None]).numpy()[0]
        assert np.allclose(features, found, atol=1e-4)
    stored = Features(study.context.parts(own["features"]))
    data = training_data(study.context, prepared, stored, attacked)
    count = len(split)
    assert len(data) == count + len(made.ids)
    assert np.allclose(data.streams["context"][count:].numpy(), made.image_features)
    assert np.array_equal(data.streams["body"][count:], data.streams["body"][made.plan.rows])
    assert np.array_equal(data.labels[count:], data.labels[made.plan.rows])


def test_they_are_printed_and_in_the_report(
    study: Study, compared: Manifest, mmer: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    print_defences(study.context, str(compared.key))
    said = capsys.readouterr().out
    assert "Does a defence help the joint model? Defended less undefended" in said
    for name in DEFENCES:
        assert f"{name}: robust accuracy, K = 1" in said
    page = Path(mmer("report", *study.flags()).out.splitlines()[-1]).read_text()
    assert page.count("Does a defence help the joint model?") == 1
