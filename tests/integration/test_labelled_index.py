"""Indexes of labelled data: the joint classifier's space, against vectors worked out from its features by hand."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from support.small_pipeline import Study

from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.models import load_model
from mmer_core.store import Manifest

pytestmark = pytest.mark.usefixtures("as_it_was_before")


@pytest.fixture(scope="module")
def joint(study: Study) -> Manifest:
    return study.only("model", task="emotion", family="joint")


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)


@torch.inference_mode()
def test_people_are_found_by_text_and_by_label(study: Study, joint: Manifest, mmer: Callable) -> None:
    made = mmer("index", "--trained", joint.key, "--index.split", "val", *study.flags())
    assert made.code == 0, made.err
    key = made.out.split()[-1]
    split = Prepared.open(study.context.folder_of(joint.inputs["prepared"])).split("val")
    features = Features(study.context.folder_of(joint.inputs["features"]))
    model, spec = load_model(study.context.folder(joint.key))
    spaces = {
        stream: _unit(model.projections[stream](torch.from_numpy(features.load("val", stream))))
        for stream in (*split.streams, "text")
    }
    assert set(spaces) == {"context", "body", "text"}
    people = _unit((spaces["context"] + spaces["body"]) / 2)

    shares = split.labels.mean(axis=0)
    label = spec.labels[int(np.abs(shares - 0.5).argmin())]
    scores = (people @ spaces["text"][3]).numpy()
    labelled = split.labels[:, spec.labels.index(label)] > 0
    assert 0 < labelled.sum() < len(labelled)
    asked = ["search", split.texts[3], "--index", key, "--k", 3, *study.flags()]
    for flags, allowed in (([], np.ones_like(labelled)), (["--label", label], labelled)):
        found = json.loads(mmer(*asked, *flags, "--json").out)
        best = np.sort(scores[allowed])[::-1][:3]
        # The text is encoded alone here and was encoded in a batch there.
        assert [hit["score"] for hit in found] == pytest.approx(best.tolist(), abs=1e-4)
        assert all(label in hit["labels"] for hit in found) or not flags
    assert label in mmer(*asked, "--label", label).out, "the table shows labels"

    captions = json.loads(mmer(*asked, "--target", "text", "--json").out)
    assert (captions[0]["caption"], captions[0]["score"]) == (split.texts[3], pytest.approx(1, abs=1e-4))


def test_a_model_with_a_space_for_each_stream_is_refused_before_anything_is_made(
    study: Study, mmer: Callable
) -> None:
    separate = study.only("model", task="emotion", family="separate")
    for flags in (["--trained", separate.key], ["emotic", "--root", "nowhere", "--model.family", "separate"]):
        answer = mmer("index", *flags, *study.flags())
        assert answer.code == 1
        assert "has no space that images and texts share" in answer.err
        assert "give a joint model" in answer.err
        assert not answer.out
