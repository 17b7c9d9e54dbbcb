"""`mmer runs` and `mmer compare` on the small study."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.small_pipeline import Study

from mmer_core.facade.run import HEADLINES
from mmer_core.store import open_store
from mmer_core.task_kinds import KINDS


def test_every_model_is_listed_with_what_it_reached(study: Study, mmer: Callable, tmp_path: Path) -> None:
    listed = json.loads(mmer("runs", "--json", *study.flags()).out)
    assert [one["model"] for one in listed] == [
        str(one.key) for one in sorted(study.store.list("model"), key=lambda one: one.created)
    ]
    for one in listed:
        measured = json.loads((study.context.folder_of(one["evaluation"]) / "metrics.json").read_text())
        assert one["metrics"] == measured["metrics"]
        assert one["settings"]["training.epochs"] == study.config.training.epochs
    table = mmer("runs", *study.flags()).out
    for one in listed:
        headline = one["metrics"][KINDS[one["task"]].text.headline]
        line = next(line for line in table.splitlines() if one["model"] in line)
        assert f"{headline['value']:.1f} ({headline['low']:.1f}–{headline['high']:.1f})" in line
    page = tmp_path / "runs.html"
    assert mmer("runs", "--html", page, *study.flags()).out.strip() == str(page)
    assert all(one["model"] in page.read_text("utf-8") for one in listed)


def test_every_kind_of_task_has_a_headline():
    assert {kind.text.headline for kind in KINDS.values()} == set(HEADLINES)


@pytest.mark.parametrize(("task", "dataset"), [("emotion", "emotic"), ("retrieval", "flickr8k")])
def test_two_models_are_compared_as_in_the_report(
    study: Study, mmer: Callable, tmp_path: Path, task: str, dataset: str
) -> None:
    joint, separate = (
        str(study.only("model", task=task, family=family).key) for family in ("joint", "separate")
    )
    answer = mmer("compare", joint, separate, "--json", *study.flags())
    assert answer.code == 0, answer.err
    compared = json.loads(answer.out)
    assert compared["settings"] == {"model.family": ["joint", "separate"]}
    assert [compared[name]["model"] for name in ("a", "b")] == [joint, separate]

    reported = json.loads((study.context.folder(study.report) / "comparisons.json").read_text())["datasets"]
    expected = [
        one for one in reported[dataset] if not one["topic"].startswith(("control ", "ablation ", "probe "))
    ]
    assert len(expected) > 3
    names = {"first": "A", "second": "B"}
    assert compared["answers"] == [one | names for one in expected]

    swapped = json.loads(mmer("compare", separate, joint, "--json", *study.flags()).out)
    for one, other in zip(compared["answers"], swapped["answers"], strict=True):
        if one["difference"]["value"] is not None:
            assert one["difference"]["value"] == pytest.approx(-other["difference"]["value"])

    page = tmp_path / "compared.html"
    assert mmer("compare", joint, separate, "--html", page, *study.flags()).code == 0
    for text in (mmer("compare", joint, separate, *study.flags()).out, page.read_text("utf-8")):
        assert joint in text
        assert "model.family" in text
        assert expected[0]["quantity"] in text


@pytest.mark.long
def test_what_cannot_be_compared_names_the_cure(study: Study, mmer: Callable, tmp_path: Path) -> None:
    shutil.copytree(study.config.runtime.store, tmp_path / "store")
    there = ["--store", str(tmp_path / "store"), "--work", str(tmp_path / "work")]
    store = open_store(str(tmp_path / "store"))
    joint, separate, emotion = (
        str(study.only("model", task=task, family=family).key)
        for task, family in (("retrieval", "joint"), ("retrieval", "separate"), ("emotion", "joint"))
    )
    assert "have no figure in common" in mmer("compare", joint, emotion, *there).err
    assert "are one model" in mmer("compare", joint, joint, *there).err

    def cured(*arguments: str) -> dict:
        """Compare after every command that the refusal names."""
        refusal = mmer("compare", joint, separate, *arguments, *there)
        assert refusal.code == 1
        commands = re.findall(r"(?:run|and) mmer (evaluate .+?)(?= and mmer|\n|$)", refusal.err)
        assert commands, refusal.err
        for command in commands:
            made = mmer(*shlex.split(command), *there)
            assert made.code == 0, made.err
        return json.loads(mmer("compare", joint, separate, "--json", *arguments, *there).out)

    # Another split.
    assert cured("--split", "val")["a"]["split"] == "val"
    # The same samples in other sizes compare; those of another dataset do not.
    for key in [one.key for one in store.list("evaluation") if one.inputs["model"] == joint]:
        store.delete(key)
    assert f"{joint} was never measured" in mmer("compare", joint, separate, *there).err
    drawn = ["--model", joint, "--synthetic.images", "30", "--body-size", "64"]
    assert mmer("evaluate", "flickr8k", *drawn, "--context-size", "32", *there).code == 0
    resized = json.loads(mmer("compare", joint, separate, "--json", *there).out)
    assert resized["a"]["prepared"] != resized["b"]["prepared"]
    assert resized["answers"][0]["n"] == 6
    for one in store.list("evaluation"):
        if one.inputs["model"] == joint:
            store.delete(one.key)
    assert mmer("evaluate", "flickr8k", *drawn, "--synthetic.seed", "1", *there).code == 0
    elsewhere = cured()
    assert elsewhere["a"]["prepared"] == elsewhere["b"]["prepared"]
    assert np.isfinite(elsewhere["answers"][0]["difference"]["value"])
