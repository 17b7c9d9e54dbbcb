"""What commands print of the results of a finished study."""

import pytest
from small_pipeline import Study

from flows.job_table import JOBS, Job, load
from flows.jobs import Ingested, Trained

ELSEWHERE = {"finetune", "poison"}
"""The study has no such artifacts; their own tests run the commands."""


@pytest.fixture(scope="module")
def results(study: Study) -> dict[str, object]:
    """What the flows return, by name."""
    evaluation = study.only("evaluation", task="retrieval", family="joint")
    inputs = evaluation.inputs
    trained = Trained(inputs["prepared"], inputs["features"], inputs["model"], str(evaluation.key))
    card = next(
        one for one in study.store.list("dataset-card") if one.inputs["prepared"] == inputs["prepared"]
    )
    model = study.store.manifest(study.store.find(inputs["model"]))
    index, robustness = (str(study.made_from(kind, "model", model).key) for kind in ("index", "robustness"))
    return {
        "pipeline": str(study.report),
        "report": str(study.report),
        "ingest": Ingested(inputs["prepared"], str(card.key)),
        "train": trained,
        "seeds": [trained, trained],
        "evaluate": trained.evaluation,
        "index": index,
        "update-index": index,
        "robustness": robustness,
    }


@pytest.mark.parametrize("job", [job for job in JOBS if job.name not in ELSEWHERE], ids=lambda job: job.name)
def test_results_are_printed(
    job: Job, results: dict[str, object], study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    load(job.show)(study.context, results[job.name])
    assert capsys.readouterr().out.strip()
