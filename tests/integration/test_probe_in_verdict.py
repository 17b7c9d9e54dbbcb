"""A pipeline fits a linear probe on the features of its models, and says whether each model is better."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from support.small_pipeline import Study

from mmer_core.datasets.prepared import Prepared
from mmer_core.reporting.verdict import decisive
from mmer_core.stages.probe import PROBABILITIES_FILE
from mmer_core.stages.report import COMPARISONS_FILE
from mmer_core.statistics.comparison import Comparisons
from mmer_core.store import ArtifactKey


@pytest.mark.long
@pytest.mark.usefixtures("as_it_was")
def test_every_model_with_labels_is_compared_with_it(study: Study, mmer: Callable) -> None:
    model = study.only("model", task="emotion", family="joint")
    probe = study.only("probe")
    assert probe.inputs["features"] == model.inputs["features"]
    prepared = Prepared.open(study.store.fetch(ArtifactKey.parse(model.inputs["prepared"])))
    labels = prepared.split("test").labels
    shown = np.flatnonzero(labels.any(axis=0))

    def mean_ap(key: ArtifactKey) -> float:
        scores = np.load(study.store.fetch(key) / PROBABILITIES_FILE)
        return 100 * float(np.mean([average_precision_score(labels[:, c], scores[:, c]) for c in shown]))

    found = Comparisons.read(study.store.fetch(study.report) / COMPARISONS_FILE).datasets
    beside = [one for one in decisive(found["emotic"]) if one.topic.startswith("probe ")]
    assert [one.topic for one in beside] == ["probe separate", "probe joint"]
    assert {one.tests for one in beside} == {2}, "Holm's correction over the models"
    joint = beside[1]
    assert joint.question == "Is the joint model better than a linear probe on the same features?"
    assert joint.first_value == pytest.approx(mean_ap(study.made_from("evaluation", "model", model).key))
    assert joint.second_value == pytest.approx(mean_ap(probe.key))
    difference = joint.first_value - joint.second_value  # 0 where the model predicts as the probe does
    assert joint.difference.low <= difference <= joint.difference.high
    assert not [one for one in found["flickr8k"] if one.topic.startswith("probe ")]
    said = mmer("report", *study.flags()).out
    assert said.count("better than a linear probe on the same features?") == 2
    page = (study.store.fetch(study.report) / "report.html").read_text()
    assert "Better than a linear probe on the same features, by mAP?" in page
