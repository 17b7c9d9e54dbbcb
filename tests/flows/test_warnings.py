"""Warnings reach whoever gave a command, also where MMER_LOG is unset."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from flows import cli
from mmer_core import log


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(log.VARIABLE, raising=False)
    monkeypatch.setattr(log._logger, "handlers", [])


def test_warnings_are_printed_once_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        log.start(dict)
    log.event("nothing\nof interest")
    log.event("a \x1b[31mphoto\n", level=logging.WARNING)
    logging.getLogger("mmer.serving").warning("still serving %s", "the old one")
    assert capsys.readouterr().err == "mmer: a \\x1b[31mphoto\\n\nmmer: still serving the old one\n"


def test_texts_that_were_changed_are_named_once_by_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    rows = b"id,split,image,text\na,train,a.png,caf\xe9\nb,val,a.png,b\n"
    (tmp_path / "m.csv").write_bytes(rows)
    data = ["--dataset", "manifest", "--root", str(tmp_path / "m.csv")]
    where = ["--store", str(tmp_path / "store"), "--work", str(tmp_path / "work")]
    warning = "mmer: m: probably not meant so: 1 not_utf8; mmer data check says where"
    for _ in range(2):  # the second finds the dataset in the store
        with pytest.raises(SystemExit, match="0"):
            cli.main(["ingest", *data, "--card.samples", "0", *where])
        printed = capsys.readouterr()
        assert (printed.out + printed.err).count("not_utf8") == 1
        assert warning in printed.err.splitlines()
    with pytest.raises(SystemExit):  # there is no split to measure it on
        cli.main(["train", *data, *where])
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "not_utf8" in line] == [warning]  # Prefect has a handler of its own
    assert "no split 'test'" in lines[-1]
