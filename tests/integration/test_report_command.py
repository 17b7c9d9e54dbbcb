"""`mmer report` of one dataset, named as for its neighbours, and of models of which some lack what it shows."""

import pytest
from support.small_pipeline import Study, settings_file

from mmer_core.stages.report import COMPARISONS_FILE
from mmer_core.statistics.comparison import Comparisons
from mmer_core.store import ArtifactKey

pytestmark = pytest.mark.usefixtures("as_it_was")
EMOTIC = ("--dataset", "emotic", "--context-size", 64, "--body-size", 64, "--synthetic.images", 40)


def reported(study: Study, before: set[ArtifactKey]) -> tuple[set[str], str]:
    """The datasets of the report that was made since, and its page."""
    (made,) = [one.key for one in study.store.list("report") if one.key not in before]
    folder = study.context.folder(made)
    return set(Comparisons.read(folder / COMPARISONS_FILE).datasets), (folder / "report.html").read_text()


@pytest.mark.long
def test_a_dataset_is_named_as_for_evaluate_and_robustness(study: Study, mmer) -> None:
    before = {one.key for one in study.store.list("report")}
    answer = mmer("report", *EMOTIC, *study.flags())
    assert answer.code == 0, answer.err
    datasets, _ = reported(study, before)
    assert len(datasets) == 1
    prepared = study.only("model", task="retrieval", family="joint").inputs["prepared"]
    assert mmer("report", "--prepared", prepared, *study.flags()).code == 0
    missing = mmer("report", *EMOTIC[:-1], 41, *study.flags())
    assert missing.code == 1
    assert "no arrays prepared from these files with these settings" in missing.err
    both = mmer("report", "--prepared", prepared, "--models", "model", *study.flags())
    assert (both.code, "not both" in both.err) == (1, True)


@pytest.mark.long
def test_a_newer_model_that_was_not_attacked_does_not_hide_the_attacks(study: Study, mmer, tmp_path) -> None:
    job = study.train_job("emotic")
    newer = job.model_copy(update={"training": job.training.model_copy(update={"epochs": 1})})
    assert mmer("train", "--config", settings_file(tmp_path, newer)).code == 0
    before = {one.key for one in study.store.list("report")}
    answer = mmer("report", *EMOTIC, *study.flags())
    assert (
        "is left out: it was not attacked, and an older one was; run mmer robustness --trained" in answer.err
    )
    _, page = reported(study, before)
    assert "The worst case over attacks" in page
    assert "attacked, so nothing can be said" not in page
