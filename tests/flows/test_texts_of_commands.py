"""What is typed, or written in a file for a command, reaches it unchanged."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.awkward_text import AWKWARD

from flows.cli import main
from flows.commands import app
from flows.configurations import configuration_source
from mmer_core.errors import ConfigError
from mmer_core.querying import read_queries
from mmer_core.stages import read_ids
from mmer_core.tabular import write_table


def _parsed(*tokens: str) -> dict[str, Any]:
    rest, app.config = configuration_source(list(tokens))
    _, bound, *_ = app.parse_args(rest, exit_on_error=False, print_error=False)
    return dict(bound.arguments)


def test_a_flag_takes_a_text_as_it_is() -> None:
    for value in ("003", "NA", " a", "a\r\nb", "-1", "--id", "[1]", '{"a": 1}'):
        assert _parsed("search", f"--id={value}")["id"] == value
    assert _parsed("search", "--", "--id")["text"] == "--id"
    labels = _parsed("search", *(f"--label={one}" for one in AWKWARD))["label"]
    assert labels == list(AWKWARD)
    typed = [one for one in AWKWARD if not one.startswith(("[", "{"))]
    deleted = _parsed("update-index", *(f"--delete={one}" for one in typed))["job"].delete
    assert deleted == tuple(typed)


def test_what_cannot_be_typed_can_be_given_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["update-index", "--delete=[1]"])
    assert "--delete-from" in capsys.readouterr().err
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in [*AWKWARD, 7, 7.0]))
    assert read_ids(tmp_path / "a.jsonl") == [*AWKWARD, "7", "7"]
    in_lines = [one for one in AWKWARD if "\n" not in one and "\r" not in one]
    for end in ("\n", "\r\n"):
        (tmp_path / "a.txt").write_bytes("\ufeff".encode() + end.join([*in_lines, "", " "]).encode())
        assert read_ids(tmp_path / "a.txt") == in_lines
    for line in ("[1]", "null", "a", '{"id": 1}'):
        (tmp_path / "b.jsonl").write_text(f'"a"\n{line}\n')
        with pytest.raises(ConfigError, match=r"b\.jsonl, line 2 is no id"):
            read_ids(tmp_path / "b.jsonl")


def test_queries_are_asked_as_they_stand(tmp_path: Path) -> None:
    write_table(
        tmp_path / "q.csv", ["text", "id"], [(one, "") for one in AWKWARD] + [("", one) for one in AWKWARD]
    )
    asked = read_queries(tmp_path / "q.csv")
    assert [query.given for query in asked] == [{"text": one} for one in AWKWARD] + [
        {"id": one} for one in AWKWARD
    ]
    lines = [json.dumps({"id": one}, ensure_ascii=False) for one in (*AWKWARD, 3, 3.0, True)]
    lines += ['{"id": ["a"]}', '{"id": {"a": 1}}', '{"id": null}']
    (tmp_path / "q.jsonl").write_bytes("\n".join(lines).encode())
    asked = read_queries(tmp_path / "q.jsonl")
    assert [query.id for query in asked[:-3]] == [*AWKWARD, "3", "3", "true"]
    for query, message in zip(asked[-3:], ("a list", "an object", "nothing"), strict=True):
        assert query.error is not None
        assert message in query.error
    (tmp_path / "q.txt").write_text(" two  dogs \n\na\u2028b\n")
    assert [query.text for query in read_queries(tmp_path / "q.txt")] == ["two  dogs", "a\u2028b"]


def test_values_of_a_configuration_are_texts_where_texts_are_wanted(tmp_path: Path) -> None:
    fields = {"delete": [one for one in AWKWARD if one[0] not in "[{"] + [3, True], "prepared": None}
    (tmp_path / "c.json").write_text(json.dumps(fields))
    job = _parsed("update-index", "--config", str(tmp_path / "c.json"))["job"]
    assert job.delete == (*fields["delete"][:-2], "3", "true")
    assert job.prepared is None
    (tmp_path / "c.toml").write_text('delete = ["003", 2024-01-31, 1.5, false]\n')
    job = _parsed("update-index", "--config", str(tmp_path / "c.toml"))["job"]
    assert job.delete == ("003", "2024-01-31", "1.5", "false")
    (tmp_path / "c.yaml").write_text("delete: [a, null]\n")
    with pytest.raises(ConfigError, match="null in a list"):
        _parsed("update-index", "--config", str(tmp_path / "c.yaml"))


def test_a_number_that_is_out_of_range_is_answered_in_one_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["search", "a", "--k", "0"])
    assert capsys.readouterr().err == 'mmer: Invalid value "0" for --k; give a number of at least 1\n'
