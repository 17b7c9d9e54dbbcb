"""Every escape, over text that tries to get out of it."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from markdown_it import MarkdownIt
from markdown_it.token import Token
from support.hostile import HOSTILE, acting, texts

from mmer_core.errors import DatasetError
from mmer_core.escaping import (
    ascii_json,
    for_code,
    for_dot,
    for_markdown,
    for_mermaid,
    for_spreadsheet,
    from_spreadsheet,
    json_text,
    one_line,
    visible,
    without_folders,
)
from mmer_core.escaping.tables import read_for_people, write_for_people

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def shown(markdown: str) -> str:
    """The text that Markdown shows, if it is nothing but one paragraph of text."""
    opened, inline, closed = MARKDOWN.parse(markdown)
    assert (opened.type, inline.type, closed.type) == ("paragraph_open", "inline", "paragraph_close")
    assert {child.type for child in inline.children or ()} <= {"text", "code_inline"}, inline.children
    return "".join(child.content for child in inline.children or ())


def cells(tokens: list[Token]) -> list[str]:
    """The text of the cells of the only table, if that is all there is."""
    inline = [token for token in tokens if token.type == "inline"]
    assert all({child.type for child in one.children or ()} <= {"text", "code_inline"} for one in inline)
    assert tokens[0].type == "table_open"
    assert tokens[-1].type == "table_close"
    return ["".join(child.content for child in one.children or ()) for one in inline]


@given(texts)
def test_nothing_acts_in_a_line(text: str) -> None:
    assert not acting(one_line(text))
    assert not acting(visible(text), but="\n\t")
    assert one_line(one_line(text)) == one_line(text)
    assert visible(visible(text)) == visible(text)
    assert str(DatasetError(text)) == one_line(text)


@pytest.mark.parametrize(
    "text",
    ["a dog", "žluťoučký kůň", "两只狗", "می‌خواهم", "כלב", "👩🏽‍💻 ❤️‍🔥 1️⃣ 👍🏽", "a\xa0b", "Ωμέγα — “x”"],
)
def test_what_people_write_stays(text: str) -> None:
    assert one_line(text) == text
    assert shown(for_markdown(text)) == text


@given(texts)
@example("1️⃣")
def test_markdown_shows_the_text_and_nothing_else(text: str) -> None:
    line = one_line(text)
    if not line.strip():
        return
    assert shown(for_markdown(text)) == line
    assert shown(for_code(text)) == line
    # Behind a bullet, in a heading and in a table.
    item = MARKDOWN.parse(f"- {for_markdown(text)}\n")
    assert [token.type for token in item] == [
        *("bullet_list_open", "list_item_open", "paragraph_open"),
        *("inline", "paragraph_close", "list_item_close", "bullet_list_close"),
    ]
    heading = MARKDOWN.parse(f"# {for_markdown(text)}\n")
    assert "".join(child.content for child in heading[1].children or ()) == line
    table = MARKDOWN.parse(f"| a | b |\n|---|---|\n| {for_markdown(text)} | {for_code(text)} |\n")
    assert cells(table) == ["a", "b", line, line]


@pytest.mark.parametrize("text", ["https://evil.example", "www.evil.example", "ftp://x", "a@evil.example"])
def test_bare_addresses_are_no_links(text: str) -> None:
    """As GitHub and the Prefect UI would make them of the source."""
    assert text not in for_markdown(text)


@given(texts)
def test_spreadsheets_compute_nothing_and_text_comes_back(text: str) -> None:
    cell = for_spreadsheet(text)
    assert from_spreadsheet(cell) == text
    assert cell.lstrip()[:1] not in tuple("=+-@＝＋－＠")
    assert cell[:1] not in ("\t", "\r", "\n")


@settings(max_examples=30)
@given(text=texts)
def test_tables_for_people_read_back(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    text = text.replace("\0", "").encode("utf-8", "replace").decode()  # what no CSV holds
    path = tmp_path_factory.getbasetemp() / "people.csv"
    write_for_people(path, ["=a", "n"], [[text, -1], ["x", 2]])
    read = read_for_people(path)
    assert read["=a"].tolist() == [text, "x"]
    assert read["n"].tolist() == ["-1", "2"]  # numbers are numbers
    rows = list(csv.reader(io.StringIO(path.read_text("utf-8"), newline="")))
    assert rows[0][0] == "'=a"


@given(texts)
def test_json_is_exact_and_harmless(text: str) -> None:
    value = {text: [text, 1, None]}
    assert json.loads(json_text(value)) == value
    assert json.loads(ascii_json(value)) == value
    assert not acting(json_text(value), but="\n")
    assert ascii_json(value).isprintable()


@given(texts)
def test_graphs_stay_inside_their_quotes(text: str) -> None:
    dot = for_dot(text)
    assert '"' not in dot.replace("\\\\", "").replace('\\"', "")
    assert not dot.replace("\\\\", "").endswith("\\")
    assert not set(for_mermaid(text)) & set('"`<>[]{}|\\\n')


def test_folders_of_this_machine_are_left_out() -> None:
    reported = without_folders(
        {
            "root": Path("/home/somebody/data/emotic"),
            "relative": Path("data/emotic"),
            "encoders": ["mirror:hf:/home/somebody/clip", "torchvision:resnet18@/w/r.pth", "hf:openai/clip"],
            "hf:/a/clip": "mit",
            "hf:/b/clip": "apache",
            "label": "/happy/sad",
            "store": "s3://bucket/prefix",
            "n": 3,
        }
    )
    assert reported == {
        "root": "…/emotic",
        "relative": "data/emotic",
        "encoders": ["mirror:hf:…/clip", "torchvision:resnet18@…/r.pth", "hf:openai/clip"],
        "hf:…/clip": "mit",
        "hf:…/clip (2)": "apache",
        "label": "/happy/sad",
        "store": "s3://bucket/prefix",
        "n": 3,
    }


def test_the_hostile_ones_are_hostile() -> None:
    assert sum(bool(acting(text)) for text in HOSTILE) >= 9
