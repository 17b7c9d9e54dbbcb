"""Every family of every kind of task has as many parameters, whatever the features are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmer_core.config import ARCHITECTURES, EncoderConfig
from mmer_core.models import ModelSpec, build_model
from mmer_core.models.capacity import capacity, with_capacity
from mmer_core.task_kinds import KINDS

FEATURES = [
    {"context": 1280, "body": 1280, "text": 768},
    {"context": 4096, "body": 2048, "text": 384},
    {"context": 768, "text": 1536},
]


def specification(kind: str, family: str, streams: dict[str, int], **fields: object) -> ModelSpec:
    captioned = kind == "retrieval"
    reads = ARCHITECTURES[family].reads or streams
    return ModelSpec(
        **{
            "task": kind,
            "family": family,
            "streams": {name: streams[name] for name in streams if name in reads and (name != "body" or not captioned)},
            "embedding": KINDS[kind].width,
            "hidden": 512,
            "dropout": 0.0,
            "heads": 3 if captioned else 1,
            "fusion": ARCHITECTURES[family].fusion or "mean",
            "labels": () if captioned else tuple(map(str, range(26))),
            "words": tuple(map(str, range(1000))) if captioned else (),
            "encoders": EncoderConfig(),
            "dataset": "toy",
            **fields,
        }
    )  # fmt: skip


@pytest.mark.parametrize("streams", FEATURES, ids=lambda streams: "-".join(map(str, streams.values())))
@pytest.mark.parametrize(
    ("kind", "family"),
    [(kind, family) for kind in KINDS for family in KINDS[kind].families if family != "zero-shot"],
)
def test_families_are_equally_large(kind, family, streams):
    joint = capacity(specification(kind, "joint", streams))
    own = specification(kind, family, streams)
    assert capacity(with_capacity(own, joint)) == pytest.approx(joint, rel=0.01)
    if family != "joint":  # without the rule they differ, or there would be nothing to even out
        assert capacity(own) != joint or family == "joint-late"


@given(hidden=st.integers(1, 900), wanted=st.integers(1, 3_000_000))
@settings(max_examples=25)
def test_no_other_width_comes_nearer(hidden, wanted):
    own = specification("emotion", "separate", {"context": 300, "text": 200}, hidden=hidden)
    chosen = with_capacity(own, wanted).hidden
    distance = {
        width: abs(capacity(own.model_copy(update={"hidden": width})) - wanted)
        for width in (chosen - 1, chosen, chosen + 1)
        if width > 0
    }
    assert distance[chosen] == min(distance.values())


def test_a_linear_projection_stays_linear():
    own = specification("emotion", "separate", FEATURES[0], hidden=0)
    assert with_capacity(own, 10**9) == own


def test_what_only_training_reads_does_not_count():
    own = specification("retrieval", "separate", FEATURES[0])
    words = sum(p.numel() for name, p in build_model(own).named_parameters() if "words" in name)
    assert words == 2 * 1000 * (3 * 512 + 1)
    assert capacity(own) == sum(p.numel() for p in build_model(own).parameters()) - words
