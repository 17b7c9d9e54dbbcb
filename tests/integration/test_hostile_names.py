"""A study of hostile names, captions, labels and files: whatever people read of it is text and nothing else."""

import base64
import csv
import hashlib
import io
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
import torchvision
from markdown_it import MarkdownIt
from markdown_it.token import Token
from support import hostile_data
from support.hostile import acting

import tasks.artifacts
import tasks.stages
from flows import jobs
from mmer_core import log
from mmer_core.config import PipelineJob
from mmer_core.stages import Context
from mmer_core.store import ArtifactKey

pytestmark = pytest.mark.long

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
OUR_TOOLS = ("model.json", "adapter.json")
"""Files that only mmer reads, which have to say where an encoder of the user's lies."""


@dataclass
class Hostile:
    """The study, and what was said while it ran."""

    root: Path
    config: PipelineJob
    report: ArtifactKey
    log: str
    notes: list[tuple[str, Any, str]] = field(default_factory=list)

    @property
    def places(self) -> list[str]:
        return ["--store", self.config.runtime.store, "--work", str(self.config.runtime.work)]

    @property
    def context(self) -> Context:
        return Context(self.config.runtime)

    def files(self, *endings: str) -> Iterator[Path]:
        for manifest in self.context.store.list():
            folder = self.context.folder(manifest.key)
            yield from (path for path in folder.rglob("*") if path.is_file() and path.name.endswith(endings))


@pytest.fixture(scope="module")
def hostile(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    """Run once, with what Prefect would be left of it."""
    root = tmp_path_factory.mktemp("somebodys-own-folder")
    for name in ("people", "photos"):
        (root / name).mkdir()
    weights = root / "weights.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), weights)
    manifests = {
        "people": hostile_data.write_people(root / "people"),
        "photos": hostile_data.write_photos(root / "photos"),
    }
    small = {"dataset": "manifest", "context_size": 64, "body_size": 64}
    config = PipelineJob.model_validate(
        {
            "datasets": {name: {**small, "root": path} for name, path in manifests.items()},
            "families": ["joint"],
            "encoders": {"image": f"torchvision:mobilenet_v3_small@{weights}", "image_size": 32},
            "training": {"epochs": 1},
            "evaluation": {"resamples": 10},
            "attack": {"attacks": ["random"], "pixels": [1], "images": 4, "budget": 4},
            "report": {"points": 50, "gallery": 2, "examples": 2},
            "runtime": {"store": str(root / "store"), "work": root / "work", "checkpoint_seconds": 0},
        }
    )
    said, notes = io.StringIO(), []
    handler = logging.StreamHandler(said)
    handler.setFormatter(log.formatter())
    logger = logging.getLogger("mmer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks.stages, "in_run", lambda: True)
        for kind in ("markdown", "table"):

            def leave(content: Any, key: str, description: str, kind: str = kind) -> None:
                notes.append((kind, content, description))

            patch.setattr(tasks.artifacts, f"create_{kind}_artifact", leave)
        # Not by patching: only `setLevel` makes loggers forget which levels they had found switched off.
        before = logger.level
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
        report = ArtifactKey.parse(jobs.pipeline.fn(config))
        logger.removeHandler(handler)
        logger.setLevel(before)
    return Hostile(root, config, report, said.getvalue(), notes)


def no_markup(markdown: str) -> list[Token]:
    """The tokens of Markdown of ours that has no HTML, and no link nor picture but those inside the text itself."""
    assert not acting(markdown, but="\n")
    blocks = MARKDOWN.parse(markdown)
    tokens = [one for block in blocks for one in (block, *(block.children or ()))]
    assert not {one.type for one in tokens} & {
        "html_block",
        "html_inline",
        "link_open",
        "blockquote_open",
        "hr",
    }
    assert all(str(one.attrGet("src")).startswith("data:") for one in tokens if one.type == "image")
    return tokens


COMMANDS: list[tuple[str, ...]] = [
    ("data", "check", "--dataset", "manifest", "--root", "PEOPLE"),
    ("data", "check", "--dataset", "manifest", "--root", "PHOTOS"),
    ("ingest", "--dataset", "manifest", "--root", "PEOPLE", "--context-size", "64", "--body-size", "64"),
    ("report",),
    ("search", "dogs"),
    ("search", "dogs", "--json", "--target", "text"),
    ("search", "--queries", "QUERIES"),
    ("search", "--id", "no such \x1b[2J\u202e[red] id"),
    ("search", "--index", "\x1b[2Jindex\n[red]"),
    ("search", "dogs", "--html", "FOUND"),
    ("predict", "PHOTO"),
    ("predict", "LIST"),
    ("predict", "LIST", "--out", "READ"),
    ("predict", "missing\x1b[2J\n.png"),
    ("attack", "PHOTO", "--attacks", "random", "--pixels", "1", "--budget", "4", "--out", "ATTACKED"),
    ("update-index", "--delete", "no such\x1b[2J\nid"),
    ("card",),
    ("artifacts", "ls"),
    ("artifacts", "show", "prepared"),
    ("artifacts", "show", "\x1b[2J/\u202e"),
    ("artifacts", "fetch", "report", "--to", "FETCHED"),
    *(("artifacts", "lineage", "report", "--as", form) for form in ("tree", "mermaid", "dot", "svg")),
    ("train", "--store\x1b[2J", "x"),
    ("train", "--training.epochs", "\x1b[2J\n[red]"),
]


def test_terminals(hostile: Hostile, mmer: Callable[..., Any], tmp_path: Path) -> None:
    photos = sorted((hostile.root / "people").glob("*.png"))
    listed, queries = tmp_path / "=list\x1b[2J.csv", tmp_path / "queries.csv"
    with listed.open("w", newline="") as file:
        named = [(path, path.name) for path in photos[:20]] + [("gone\x1b[2J.png", "=gone")]
        csv.writer(file).writerows([("photo", "text"), *named])
    with queries.open("w", newline="") as file:
        rows = [(text, "") for text in hostile_data.TEXTS] + [("", "gone\x1b[2J.png")]
        csv.writer(file).writerows([("text", "image"), *rows])
    places = {
        "PEOPLE": hostile.config.datasets["people"].root,
        "PHOTOS": hostile.config.datasets["photos"].root,
        "QUERIES": queries,
        "LIST": listed,
        "READ": tmp_path / "read.csv",
        "FOUND": tmp_path / "found.html",
        "PHOTO": next(path for path in photos if "\x1b" in path.name),
        "ATTACKED": tmp_path / "attacked",
        "FETCHED": tmp_path / "report",
    }
    everything = ""
    for command in COMMANDS:
        answer = mmer(*(places.get(word, word) for word in command), *hostile.places)
        for stream in (answer.out, answer.err):
            assert not acting(stream, but="\n"), command
        errors = [line for line in answer.err.splitlines() if line.startswith("mmer: ")]
        assert len(errors) == (answer.code != 0 and command[0] != "data"), (command, answer)
        assert not any(line.startswith("2026-01-01 ERROR forged") for line in answer.out.splitlines())
        everything += answer.out
    assert "[red]red[/red] [link=http://evil.example]x[/link] [/]" in everything
    assert r"\x1b]52;c;cm0gLXJmIC8=\x07" in everything
    check_page(places["FOUND"])
    with (tmp_path / "read.csv").open(newline="") as file:
        read = list(csv.reader(file))
    assert len(read) == 22
    assert not any(cell.lstrip()[:1] in tuple("=+-@\t") for row in read for cell in row if cell)


class Page(HTMLParser):
    """What of a page could do something."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.wrong: list[Any] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        for name, value in attributes:
            leads = name in ("href", "src", "action", "xlink:href") and not str(value).startswith(
                ("#", "data:image/")
            )
            if name.startswith("on") or leads or tag in ("iframe", "object", "b x", "base"):
                self.wrong.append((tag, name, value))


def check_page(path: Path) -> None:
    html = path.read_text("utf-8")
    assert not acting(html, but="\n\t"), path
    page = Page()
    page.feed(html)
    assert not page.wrong, path
    assert page.scripts == html.count("Content-Security-Policy") == 1
    script = html.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in html  # or browsers would not run our own


def test_pages(hostile: Hostile) -> None:
    pages = list(hostile.files(".html"))
    assert len(pages) >= 3  # two dataset cards and the report
    for page in pages:
        check_page(page)
        assert "&lt;img src=x onerror=alert(1)&gt;" in page.read_text("utf-8")


def test_model_cards(hostile: Hostile) -> None:
    cards = list(hostile.files("card.md"))
    assert len(cards) == 2
    for card in cards:
        tokens = no_markup(card.read_text("utf-8"))
        assert sum(one.type == "heading_open" for one in tokens) == 7
        assert any(r"=a[red]<img src=x onerror=alert(1)>\x1b[2J`\u202e|" in one.content for one in tokens)


def test_notes_for_prefect(hostile: Hostile) -> None:
    assert {kind for kind, _, _ in hostile.notes} == {"markdown", "table"}
    for kind, content, description in hostile.notes:
        no_markup(description)
        if kind == "markdown":
            no_markup(content)
        for row in content if kind == "table" else ():
            for words in (*row, *(cell for cell in row.values() if isinstance(cell, str))):
                no_markup(words)


def test_logs(hostile: Hostile) -> None:
    lines = hostile.log.splitlines()
    assert sum("Left out" in line for line in lines) >= len(hostile_data.TEXTS)
    assert all(line[:2] == "20" and line[4] == "-" and line.split()[2] in ("DEBUG", "INFO") for line in lines)
    assert not acting(hostile.log, but="\n")


def test_an_exception_is_a_line_of_the_log_too() -> None:
    record = logging.LogRecord("mmer", logging.ERROR, "f.py", 1, "%s", ("a\nb\x1b[2J",), None)
    try:
        raise ValueError("two\nlines\u202e")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    assert not acting(log.formatter().format(record))


def test_spreadsheets(hostile: Hostile) -> None:
    people = {path.name: path for path in hostile.files("quarantine.csv", "leakage.csv", "vocab.csv")}
    assert people.keys() == {"quarantine.csv", "leakage.csv", "vocab.csv"}
    for path in hostile.files(*people):
        with path.open(newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file) for cell in row if cell]
        assert not any(cell.lstrip()[:1] in tuple("=+-@") or cell[0] in "\t\r" for cell in cells), path
    # What mmer reads itself is as it was.
    prepared = list(hostile.context.store.list("prepared"))
    ids = [
        row["Id"]
        for manifest in prepared
        for split in ("train", "val", "test")
        for row in csv.DictReader(
            io.StringIO(
                (hostile.context.folder(manifest.key) / f"{split}.csv").read_bytes().decode(), newline=""
            )
        )
    ]
    assert any(one.startswith("=HYPERLINK") for one in ids)


def test_lineage(hostile: Hostile, mmer: Callable[..., Any]) -> None:
    drawing = ElementTree.fromstring(
        mmer("artifacts", "lineage", "report", "--as", "svg", *hostile.places).out
    )
    kinds = {element.tag.rpartition("}")[2] for element in drawing.iter()}
    assert kinds == {"svg", "defs", "marker", "rect", "path", "text"}, (
        "names are texts, and no elements of the drawing"
    )


def test_nothing_says_where_it_was_made(hostile: Hostile) -> None:
    """Neither files nor manifests nor notes nor charts: the folder of the data, the store, the weights, the home."""
    places = {str(hostile.root), hostile.root.name, os.path.expanduser("~/"), os.getcwd()}
    reported = {path: path.read_bytes() for path in hostile.files("") if path.name not in OUR_TOOLS}
    reported |= {
        Path(str(manifest.key)): manifest.model_dump_json().encode()
        for manifest in hostile.context.store.list()
    }
    reported[Path("notes")] = str(hostile.notes).encode()
    assert len(reported) > 60
    found = [
        (path, place) for path, content in reported.items() for place in places if place.encode() in content
    ]
    assert not found
    # The weights are found again all the same, by the files that only mmer reads.
    assert any(str(hostile.root / "weights.pth") in path.read_text() for path in hostile.files("model.json"))
