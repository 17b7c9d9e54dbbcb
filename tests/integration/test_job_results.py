"""What commands print of the results of a finished study."""

import pytest
from support.small_pipeline import Study

from flows.job_table import JOBS, Job, load
from flows.jobs import Ingested, Trained

ELSEWHERE = {"defences", "finetune", "nightly", "poison", "probe"}
"""The study has no such artifacts; their own tests run the commands."""


@pytest.fixture(scope="module")
def results(study: Study) -> dict[str, object]:
    """What the flows return, by name."""
    model = study.only("model", task="retrieval", family="joint")
    prepared, features = (model.inputs[role] for role in ("prepared", "features"))
    evaluation, index, robustness = (
        str(study.made_from(kind, "model", model).key) for kind in ("evaluation", "index", "robustness")
    )
    trained = Trained(prepared, features, str(model.key), evaluation)
    (card,) = (one.key for one in study.store.list("dataset-card") if one.inputs["prepared"] == prepared)
    return {
        "pipeline": str(study.report),
        "report": str(study.report),
        "ingest": Ingested(prepared, str(card)),
        "train": trained,
        "seeds": [trained, trained],
        "evaluate": trained.evaluation,
        "index": index,
        "update-index": index,
        "robustness": robustness,
        "transfer": [str(one.key) for one in study.store.list("transfer")],
    }


@pytest.mark.parametrize("job", [job for job in JOBS if job.name not in ELSEWHERE], ids=lambda job: job.name)
def test_results_are_printed(
    job: Job, results: dict[str, object], study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    load(job.show)(study.context, results[job.name])
    assert capsys.readouterr().out.strip()
