"""Keys and manifests."""

import hashlib
import json
from enum import StrEnum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from mmer_core.config import AttackConfig, TrainingConfig
from mmer_core.errors import ConfigError, StoreError
from mmer_core.store import ArtifactKey, Draft, FileEntry, Manifest, stage_key
from mmer_core.store.artifact import canonical_json

SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def is_safe(segment: str) -> bool:
    return (
        0 < len(segment) <= 200
        and segment[0] != "."
        and ".." not in segment
        and all(letter in SAFE for letter in segment)
    )


@settings(max_examples=40)
@given(st.text(max_size=5) | st.text(alphabet=SAFE + "/\\\x00 ", max_size=12))
@example("x" * 200)
@example("x" * 201)
@example("a..b")
def test_a_key_takes_exactly_the_safe_segments(text: str) -> None:
    if is_safe(text):
        key = ArtifactKey(text, text)
        assert str(key) == f"{text}/{text}"
        assert ArtifactKey.parse(str(key)) == key
    else:
        with pytest.raises(StoreError):
            ArtifactKey(text, "abc")
        with pytest.raises(StoreError):
            ArtifactKey("model", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model",
        "/abs",
        "model/",
        "model/a/b",
        "../a",
        "a/..",
        "a/.hidden",
        "a\n/b",
        "a/b\n",
        "a/\x00",
        "a/" + "x" * 201,
    ],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(StoreError):
        ArtifactKey.parse(text)


def reordered(value: object) -> object:
    if isinstance(value, dict):
        return {key: reordered(item) for key, item in reversed(value.items())}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=40)
@given(st.dictionaries(st.text(), JSON, max_size=5), st.dictionaries(st.text(), st.text(), max_size=3))
def test_a_stage_key_does_not_depend_on_order_and_survives_json(config: dict, inputs: dict) -> None:
    key = stage_key("model", config, inputs, 1)
    assert stage_key("model", reordered(config), reordered(inputs), 1) == key
    assert stage_key("model", json.loads(json.dumps(config)), inputs, 1) == key


@settings(max_examples=40)
@given(JSON, JSON)
def test_different_configurations_have_different_keys(one: object, other: object) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (stage_key("m", {"x": one}, {}, 1) == stage_key("m", {"x": other}, {}, 1)) == same


def test_a_stage_key_is_the_hash_that_the_docstring_says() -> None:
    text = '{"config":{"b":[1,2],"\\u00e9":0.5},"inputs":{"data":"prepared/ab"},"kind":"model","version":3}'
    key = stage_key("model", {"é": 0.5, "b": (1, 2)}, {"data": ArtifactKey("prepared", "ab")}, 3)
    assert key == ArtifactKey("model", hashlib.sha256(text.encode()).hexdigest()[:32])


def test_every_part_of_the_work_is_in_the_key() -> None:
    keys = {
        stage_key("model", {"a": 1}, {"x": "p/1"}, 1),
        stage_key("models", {"a": 1}, {"x": "p/1"}, 1),
        stage_key("model", {"a": 2}, {"x": "p/1"}, 1),
        stage_key("model", {"a": 1}, {"x": "p/2"}, 1),
        stage_key("model", {"a": 1}, {"y": "p/1"}, 1),
        stage_key("model", {"a": 1}, {"x": "p/1"}, 2),
    }
    assert len(keys) == 6


def test_python_types_count_as_their_json_form() -> None:
    class Colour(StrEnum):
        RED = "red"

    class Model(BaseModel):
        path: Path = Path("a/b")
        sizes: tuple[int, ...] = (1, 2)

    given_ = {"m": Model(), "c": Colour.RED, "n": np.float32(0.5), "a": np.arange(2)}
    plain = {"m": {"path": "a/b", "sizes": [1, 2]}, "c": "red", "n": 0.5, "a": [0, 1]}
    assert stage_key("k", given_, {}, 1) == stage_key("k", plain, {}, 1)
    training = TrainingConfig(epochs=3)
    assert stage_key("k", training, {}, 1) == stage_key("k", training.model_dump(), {}, 1)


@pytest.mark.parametrize(
    "bad", [float("nan"), float("inf"), {1, 2}, object(), b"bytes", {1: "x"}, np.array([np.nan])]
)
def test_what_json_cannot_say_is_no_part_of_a_key(bad: object) -> None:
    with pytest.raises(ConfigError):
        stage_key("k", {"deep": [bad]}, {}, 1)


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "a//b", "a/../b", ".hidden", "a/.b", "", "a/", "c:\\x", "a\x00"]
)
def test_a_manifest_cannot_name_a_path_outside(path: str) -> None:
    with pytest.raises(ValidationError):
        FileEntry(path=path, size=0, sha256="0" * 64)


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b"), ("x/y/z", "x")])
def test_no_file_of_a_manifest_lies_inside_another(paths: tuple[str, ...]) -> None:
    files = [FileEntry(path=path, size=0, sha256="0" * 64) for path in paths]
    with pytest.raises(ValidationError):
        Manifest.of(Draft(kind="k", digest="d"), files)


@settings(max_examples=40)
@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_a_manifest_reads_back_as_it_was(config: dict) -> None:
    manifest = Manifest.of(Draft(kind="k", digest="d", config=config, summary=config), [])
    assert Manifest.from_bytes(manifest.to_bytes(), manifest.key) == manifest


def test_a_manifest_of_a_later_layout_says_so() -> None:
    later = Manifest.of(Draft(kind="k", digest="d"), []).model_copy(update={"schema_version": 7})
    with pytest.raises(StoreError, match="layout 7"):
        Manifest.from_bytes(later.to_bytes(), later.key)


def test_a_manifest_of_the_first_layout_is_read() -> None:
    fields = Manifest.of(Draft(kind="k", digest="d"), []).model_dump(mode="json", exclude={"usage"})
    fields["schema_version"] = 1
    fields["checksum"] = hashlib.sha256(canonical_json(fields)).hexdigest()
    read = Manifest.from_bytes(json.dumps(fields).encode(), ArtifactKey("k", "d"))
    assert read.schema_version == 1
    assert read.usage is None


@pytest.mark.parametrize("config", [{"config": None}, {"config": {"population": 50}}, {"population": 50}])
def test_settings_of_another_version_are_one_sentence(config: dict[str, object]) -> None:
    """Manifests of former versions of mmer have another layout, or options that are gone."""
    key = ArtifactKey("robustness", "0" * 32)
    made = Draft(kind=key.kind, digest=key.digest, config=config)
    with pytest.raises(StoreError, match=rf"^{key} was made by another version of mmer"):
        made.settings_as(AttackConfig)


@pytest.mark.parametrize(
    "config", [{"config": {"budget": 7}}, {"budget": 7}, {"index": {"budget": 7}, "delete": ""}]
)
def test_settings_of_every_layout_are_read(config: dict[str, object]) -> None:
    made = Draft(kind="robustness", digest="0" * 32, config=config)
    assert made.settings_as(AttackConfig, shard_size=3) == AttackConfig(budget=7, shard_size=3)
    assert made.settings_as(AttackConfig, shard_size=None) == AttackConfig(budget=7)
