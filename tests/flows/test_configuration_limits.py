"""Files that are given to ``--config`` run nothing, and cost no more than a configuration may."""

from pathlib import Path

import pytest

from flows import configurations
from flows.commands import app
from flows.configurations import configuration_source
from mmer_core.confined.configuration import MAX_BYTES
from mmer_core.errors import ConfigError

_LAUGHS = "a0: &a0 [1, 2]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
_BOMBS = {
    "billion laughs.yaml": (_LAUGHS, "more than 10000 values, with what aliases repeat"),
    "in itself.yaml": ("a: &a [*a]\n", "nested more than 32 deep"),
    "in its own table.yaml": ("&a\nb: *a\n", "nested more than 32 deep"),
    "deep.yaml": ("a: " + "[" * 30_000, "too deep|took longer than 3 s"),
    "deep blocks.yaml": ("\n".join(" " * n + f"a{n}:" for n in range(300)), "too deep|more than 32 deep"),
    "deep.json": ('{"a":' * 10_000 + "1" + "}" * 10_000, "too deep"),
    "deep.toml": ("a = " + "[" * 30_000, "too deep|not valid TOML"),
    "dotted.toml": (".".join("a" * 30_000) + " = 1", "more than 256 MB|took longer"),
    "dotted table.toml": ("[" + ".".join("a" * 30_000) + "]\nb = 1", "nested more than 32 deep|more than 256 MB|took longer"),
    "long.toml": ("#" * MAX_BYTES + "\n", f"more than {MAX_BYTES} bytes"),
    "long.json": (" " * MAX_BYTES + "{}", f"more than {MAX_BYTES} bytes"),
    "many.json": ('{"a":[' + "1," * 20_000 + "1]}", "more than 10000 values"),
    "digits.json": ('{"a":' + "9" * 20_000 + "}", "not valid JSON: .*too large"),
    "object.yaml": ("a: !!python/object/apply:os.system ['touch marker']\n", "not valid YAML: could not determine"),
    "list.yaml": ("- 1\n- 2\n", "holds no fields"),
    "empty.yaml": ("# training:\n", "holds no fields"),
    "empty.toml": ("# [training]\n", "holds no fields"),
    "empty.json": ("{}", "holds no fields"),
    "word.json": ('"a"', "holds no fields"),
    "null for a name.yaml": ("~: a\n", "a name is not text"),
    "bytes.toml": ("a = '\udcff'", "not valid TOML: line 1 holds bytes .*: save the file as UTF-8"),
    "twice.json": ('{"epochs": 1, "epochs": 2}', "the name 'epochs' stands twice"),
    "twice.yaml": ("epochs: 1\nepochs: 2\n", "the name 'epochs' occurs twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", _BOMBS)
def test_bombs_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(configurations, "_SECONDS", 3.0)
    content, message = _BOMBS[name]
    path = tmp_path / name
    path.write_text(content, "utf-8", "surrogateescape")
    assert path.stat().st_size < 4 * MAX_BYTES
    with pytest.raises(ConfigError, match=message) as caught:
        configuration_source(["train", "--config", str(path)])
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not Path("marker").exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(
    ("suffix", "content"), [("toml", 'a = "é"\r\n'), ("YAML", "a: é\r\n"), ("json", '{"a": "é"}')]
)
def test_encodings_that_a_file_names_are_read(
    tmp_path: Path, suffix: str, content: str, encoding: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content.encode(encoding))
    _, (fields,) = configuration_source(["train", f"--config={path}"])
    assert fields.fields == {"a": "é"}
    with pytest.raises(ConfigError, match="--config is given 2 times"):
        configuration_source(["train", f"--config={path}", "--config", "demo"])


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("yaml", "delete: [010, 003, 1e1, no, 1.10, 0x1F, 1:30, 2024-01-01 00:00:00]\ncompile: no\nindex: 0123\n"),
        ("toml", "delete = ['010', '003', 1e1, 'no', 1.10, '0x1F', '1:30', '2024-01-01 00:00:00']\nindex = '0123'\n"),
        ("json", '{"delete": ["010", "003", 1e1, "no", 1.10, "0x1F", "1:30", "2024-01-01 00:00:00"], "index": "0123"}'),
    ],
)  # fmt: skip
def test_names_that_look_like_numbers_stay_what_is_written(tmp_path: Path, suffix: str, content: str) -> None:
    (tmp_path / f"a.{suffix}").write_text(content)
    rest, app.config = configuration_source(
        ["update-index", f"--config={tmp_path}/a.{suffix}", "--workers=3"]
    )
    try:
        _, bound, _ = app.parse_args(rest, exit_on_error=False)
    finally:
        app.config = []
    job = bound.arguments["job"]
    assert job.delete == ("010", "003", "1e1", "no", "1.10", "0x1F", "1:30", "2024-01-01 00:00:00")
    assert (job.index, job.runtime.compile, job.runtime.workers) == ("0123", False, 3)


def test_aliases_and_merges_within_reason_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "training: &t {epochs: 7}\nother:\n  <<: *t\n  seed: [1, 2]\nthird: *t\n", "utf-8-sig"
    )
    _, (fields,) = configuration_source(["train", f"--config={tmp_path / 'a.yaml'}"])
    assert fields.fields == {
        "training": {"epochs": "7"},
        "other": {"epochs": "7", "seed": ["1", "2"]},
        "third": {"epochs": "7"},
    }
