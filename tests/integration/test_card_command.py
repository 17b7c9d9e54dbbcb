"""`mmer card` on the small study."""

import json
from collections.abc import Callable
from pathlib import Path

from support.small_pipeline import Study, created


def test_training_left_a_card_and_the_command_prints_it(study: Study, mmer: Callable, tmp_path: Path) -> None:
    before = created(study.store)
    for model in study.store.list("model"):
        answer = mmer("card", model.key, *study.flags())
        assert answer.code == 0, answer.err
        evaluation = study.made_from("evaluation", "model", model)
        metrics = json.loads((study.context.folder(evaluation.key) / "metrics.json").read_text())
        headline = metrics["metrics"]["map" if metrics["task"] == "emotion" else "mean_recall"]
        assert f"{headline['value']:.1f}" in answer.out
        assert str(model.key) in answer.out
        assert "Synthetic data" in answer.out
        assert "apache-2.0" in answer.out
    assert created(study.store) == before

    to = tmp_path / "cards" / "card.json"
    assert mmer("card", model.key, "--to", to, *study.flags()).out.strip() == str(to)
    fields = json.loads(to.read_text())
    assert fields["data"]["samples"] == dict(fields["data"]["samples"])
    assert fields["seed"] == model.seed
    assert fields["evaluation"]["metrics"] == metrics["metrics"]


def test_what_has_no_card(study: Study, mmer: Callable, tmp_path: Path) -> None:
    for arguments, message in (
        (("report",), "is no model"),
        (("model/0123",), "model/0123"),
        (("model", "--to", tmp_path / "card.pdf"), ".md or .json"),
    ):
        answer = mmer("card", *arguments, *study.flags())
        assert answer.code == 1
        assert message in answer.err
    assert list(tmp_path.iterdir()) == []
