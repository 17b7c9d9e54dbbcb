"""Nights that follow each other, on a real Prefect server: what moved is reported, once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect import tags
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from support.prefect_place import prefect_place
from support.receiver import receiver
from support.small_pipeline import created

from flows.deploying import Plan, deploy
from flows.nightly import Night, nightly, print_nightly
from mmer_core.config import (
    EncoderConfig,
    EvaluationConfig,
    IngestConfig,
    NightlyJob,
    ProbeConfig,
    ReportConfig,
    RuntimeConfig,
    TrainingConfig,
)
from mmer_core.errors import DatasetError
from mmer_core.stages import Context
from mmer_core.stages.night import NightSummary, last_night
from mmer_core.stages.report import COMPARISONS_FILE
from mmer_core.statistics.comparison import Comparison, Comparisons
from mmer_core.statistics.multiplicity import holm
from mmer_core.store import ArtifactKey
from tools.watching import Place, shortened

pytestmark = pytest.mark.integration

WORDS = {
    "joy": ("sunny", "laughing", "party"),
    "fear": ("dark", "storm", "falling"),
    "calm": ("lake", "tea", "nap"),
}
FIRST = "this is the first night of nightly, so there is none to compare it with"
SPLITS = {"train": 120, "val": 45, "test": 90}


def write(place: Path, *, wrong: float = 0.0, more: int = 0) -> IngestConfig:
    """Texts with the words of their class, and none of a photo.

    Args:
        wrong: Share of the texts of train that have the words of another class.
        more: Samples of test beside the usual ones.
    """
    rng = np.random.default_rng(3)
    lines = ["id,split,text,label"]
    classes = [*WORDS]
    for split, usual in SPLITS.items():
        for number in range(usual + more * (split == "test")):
            label = classes[number % 3]
            shown = rng.choice(classes) if split == "train" and rng.random() < wrong else label
            words = rng.choice(WORDS[shown], 2)
            lines.append(f"{split}-{number},{split},{words[0]} and {words[1]} number {number},{label}")
    place.write_text("\n".join(lines) + "\n")
    return IngestConfig(dataset="manifest", root=place)


JOB = NightlyJob(
    families=("joint",),
    encoders=EncoderConfig(text="packaged:all-MiniLM-L6-v2"),
    training=TrainingConfig(epochs=3, tries=1),
    evaluation=EvaluationConfig(resamples=20),
    probe=ProbeConfig(strengths=(0.01,)),
    report=ReportConfig(points=50, gallery=1, examples=1),
)


@dataclass(frozen=True)
class Nights:
    """A store, and the texts that its nights are on."""

    folder: Path

    @property
    def context(self) -> Context:
        work = self.folder / "work"
        return Context(RuntimeConfig(store=str(self.folder / "store"), work=work, device="cpu", quiet=True))

    def job(self, **texts: Any) -> NightlyJob:
        dataset = write(self.folder / "texts.csv", **texts)
        return JOB.model_copy(update={"datasets": {"texts": dataset}, "runtime": self.context.runtime})

    def found(self, made: Night) -> NightSummary:
        return self.context.store.manifest(ArtifactKey.parse(made.night)).summary_as(NightSummary)


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def test_a_night_is_compared_with_the_last_that_was_completed(
    nights: Nights, capsys: pytest.CaptureFixture[str]
) -> None:
    first = nightly.fn(nights.job())
    assert nights.found(first).said == (FIRST,)
    with pytest.raises(DatasetError, match=r"gone\.csv"):
        nightly.fn(nights.job().model_copy(update={"datasets": {"texts": missing(nights.folder)}}))

    worse = nightly.fn(nights.job(wrong=1.0))
    moved = nights.found(worse).moved
    assert moved[0].startswith("texts joint, mAP: worse, ")
    questions = one_family(nights, worse)
    assert len(questions) == nights.found(worse).questions
    assert len(moved) == sum(one.decision in ("higher", "lower") for one in questions)
    assert str(nights.context.store.manifest(ArtifactKey.parse(worse.night)).inputs["before"]) == first.night
    capsys.readouterr()
    print_nightly(nights.context, worse)
    assert moved[0] in capsys.readouterr().out

    before = created(nights.context.store)
    same = nightly.fn(nights.job(wrong=1.0))
    assert same.report == worse.report
    assert created(nights.context.store).keys() - before.keys() == {ArtifactKey.parse(same.night)}
    assert nights.found(same).sentence == "every model is that of the night before"
    assert not nights.found(same).moved

    # Mended, and on more samples: the model of the night before is measured on them, too.
    better = nightly.fn(nights.job(more=9))
    assert nights.found(better).moved[0].startswith("texts joint, mAP: better, ")
    assert {one.n for one in one_family(nights, better)} == {SPLITS["test"] + 9}

    other = nightly.fn(nights.job(more=9).model_copy(update={"series": "other"}))
    assert other.report == better.report
    assert nights.found(other).said == (FIRST.replace("nightly", "other"),)


def one_family(nights: Nights, made: Night) -> list[Comparison]:
    """The questions of a night, corrected together."""
    path = nights.context.folder_of(made.night) / COMPARISONS_FILE
    (questions,) = Comparisons.read(path).datasets.values()
    assert {(one.first, one.second) for one in questions} == {("tonight", "the night before")}
    tested = [one for one in questions if one.p is not None]
    assert [one.p_adjusted for one in tested] == pytest.approx(list(holm([one.p for one in tested])))
    assert {one.tests for one in tested} == {len(tested)}
    assert all(one.rule.count("Holm's correction") == 1 for one in tested)
    return list(questions)


def missing(folder: Path) -> IngestConfig:
    return IngestConfig(dataset="manifest", root=folder / "gone.csv")


def test_a_night_whose_study_is_gone_counts_no_more(nights: Nights) -> None:
    first = nightly.fn(nights.job())
    nights.context.store.delete(ArtifactKey.parse(first.report))
    assert last_night(nights.context.store, "nightly") is None
    assert nights.found(nightly.fn(nights.job(wrong=1.0))).said == (FIRST,)


@pytest.mark.parametrize("name", ["", "a b", "é", "../x"])
def test_a_series_has_a_name(name: str, mmer: Callable) -> None:
    answer = mmer("nightly", "--series", name)
    assert answer.code == 1
    assert "is no name of a series: give letters, digits, '-' and '_'" in answer.err


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_what_moved_is_told_once(nights: Nights, tmp_path_factory: pytest.TempPathFactory) -> None:
    """By the automation that is deployed, from events of real runs."""
    folder = tmp_path_factory.mktemp("prefect")
    with (
        receiver() as somebody,
        prefect_place(folder) as (api, _),
        get_client(sync_client=True) as client,
        tags("mmer"),
    ):
        EventsWorker.set_client_override(None)
        deploy(Plan(nights.context.runtime, notify_url=somebody.url))
        nightly(nights.job())
        worse = nightly(nights.job(wrong=1.0))
        moved = nights.found(worse).moved
        notice = somebody.wait_for("beyond their intervals", 60)
        assert notice["title"] == "mmer: nightly has moved"
        assert all(one in notice["message"] for one in moved)
        note = Artifact.get("night")
        assert note is not None
        assert "mAP" in note.data
        nightly(nights.job(wrong=1.0))
        with shortened(Place(client, api, somebody, {}), "mmer missing nights notify", 10):
            nightly(nights.job())
            somebody.wait_for("mAP: better", 60)
            missed = somebody.wait_for("has had no completed night", 90)
        assert missed["message"].startswith("mmer.series.nightly ")
        assert len([one for one in somebody.received if "has moved" in one["title"]]) == 2
