"""Queries from files: what each kind of file means, what is wrong with it, and answers in its order."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmer_core.errors import ConfigError, DatasetError
from mmer_core.querying import PhotoRoot, Query, read_queries, search_all
from mmer_core.querying.search_page import render_search
from mmer_core.retrieval import Filter


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_three_kinds_of_file(tmp_path: Path) -> None:
    lines = written(tmp_path, "a.txt", "\ufefftwo dogs\n\n  snow, and more  \r\n")
    assert read_queries(lines) == [Query(text="two dogs"), Query(text="snow, and more")]
    table = written(tmp_path, "a.csv", 'id,text,image,note\n,"a, b",,x\n7,,,\n,,sub/p.jpg,\n,,,\n')
    assert read_queries(table) == [Query(text="a, b"), Query(id="7"), Query(image=tmp_path / "sub/p.jpg")]
    for content in (
        "text\nsnow, and more\n",
        "text\tid\nsnow, and more\t\n",
        "note, text\tText\n,\tsnow, and more\n",
    ):
        assert read_queries(written(tmp_path, "a.TSV", content)) == [Query(text="snow, and more")]
    assert read_queries(written(tmp_path, "a.tsv", "id,text\n7,\n")) == [
        Query(id="7")
    ]  # by its header no tabs
    objects = written(tmp_path, "a.jsonl", '{"text": "ä"}\n\n{"id": 7}\n{"image": "/p.jpg", "text": null}\n')
    assert read_queries(objects) == [Query(text="ä"), Query(id="7"), Query(image=Path("/p.jpg"))]


@given(
    st.lists(
        st.tuples(st.sampled_from(["text", "id"]), st.text(min_size=1).filter(lambda one: one == one.strip()))
    )
)
def test_json_lines_give_back_what_was_written(tmp_path_factory, asked: list[tuple[str, str]]) -> None:
    asked = [("text", "first"), *asked]
    folder = tmp_path_factory.mktemp("queries")
    path = written(folder, "a.jsonl", "\n".join(json.dumps({name: value}) for name, value in asked))
    assert [one.given for one in read_queries(path)] == [{name: value} for name, value in asked if value]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "", "holds no query"),
        ("a.txt", "\n \n", "holds no query"),
        ("a.txt", b"\xff\xfe\x00", "UTF-8"),
        ("a.csv", "", "holds no query"),
        ("a.csv", "text\n", "holds no query"),
        ("a.csv", "words,more\na,b\n", "words, more"),
        ("a.csv", 'text\n"open\n', "cannot read"),
        ("a.jsonl", "\n", "holds no query"),
    ],
)
def test_files_that_ask_nothing(tmp_path: Path, name: str, content: str | bytes, words: str) -> None:
    with pytest.raises(DatasetError, match=words) as caught:
        read_queries(written(tmp_path, name, content))
    assert name in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        read_queries(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "text,id\na,b\n", "line 2 asks for both text and id"),
        ("a.csv", "text,id\nx,\na dog, and more,\n", "line 3: not as many cells"),
        ("a.jsonl", '{"text": "x"}\n[1]\n', "line 2: not a JSON object"),
        ("a.jsonl", '{"text": "x"}\n{"text": "y"\n', "line 2: not a JSON object"),
        ("a.jsonl", '{"vector": [1]}\n', "line 1 asks for nothing"),
    ],
)
def test_a_faulty_row_says_where(tmp_path: Path, name: str, content: str, words: str) -> None:
    (faulty,) = [one for one in read_queries(written(tmp_path, name, content)) if one.error]
    assert words in str(faulty.error)
    assert name in str(faulty.error)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_row_that_cannot_be_read_costs_no_other(tmp_path: Path, encoding: str) -> None:
    """Nor does a line break of Unicode that is part of a text end its line."""
    table = written(tmp_path, "a.csv", 'Text;id\n"open;\n;7\n"x" y;\nlast\u2028line;\n'.encode(encoding))
    lines = written(
        tmp_path, "a.jsonl", '{"text": "a\u2028b"}\n{"text": "\\ud800"}\n{"id": 1, "id": 2}\n{"id": 3}\n'
    )
    texts = written(tmp_path, "a.txt", b"one\x0b two\ncaf\xe9\nthree\n")
    sound = {"text": "last\u2028line"}
    for path, asked, faulty in (
        (table, [{}, {"id": "7"}, {}, sound], ["line 2", "line 4"]),
        (lines, [{"text": "a\u2028b"}, {}, {}, {"id": "3"}], ["line 2", "line 3"]),
        (texts, [{"text": "one\x0b two"}, {}, {"text": "three"}], ["line 2"]),
    ):
        queries = read_queries(path)
        assert [query.given for query in queries] == asked
        reported = [
            str(query.error).removeprefix(f"{path}, ").split(":")[0] for query in queries if query.error
        ]
        assert reported == faulty


def test_answers_keep_the_order(world, tmp_path: Path) -> None:
    """More than one batch, with faults among them; each answer is the one that its query has alone."""
    Image.new("RGB", (9, 9), (250, 10, 10)).save(tmp_path / "red.png")
    (tmp_path / "bad.png").write_bytes(b"no")
    queries = [Query(text=f"dog {number}") for number in range(100)]
    queries[3] = Query(id=world.ids[5])
    queries[50] = Query(image=tmp_path / "red.png")
    queries[70] = Query(id="Photo_05.png")
    queries[80] = Query(image=tmp_path / "bad.png")
    queries[90] = Query(error="line 90 is odd")
    steps: list[tuple[int, int]] = []
    only = Filter(splits=("val",))
    answers = search_all(
        world.searcher, queries, "image", 2, only, lambda done, total, note="": steps.append((done, total))
    )
    assert [answer.query for answer in answers] == queries
    assert steps == [(64, 100), (100, 100)]
    assert [place for place, answer in enumerate(answers) if answer.error] == [70, 80, 90]
    assert "near to it are photo 05.png" in str(answers[70].error)
    assert "bad.png" in str(answers[80].error)
    for answer in answers:
        if not answer.error:
            (alone,) = world.searcher.search(world.searcher.vector_of(answer.query), "image", 2, only)
            assert [hit.row for hit in answer.hits] == [hit.row for hit in alone]
            assert {hit.split for hit in answer.hits} == {"val"}


def test_no_query_or_several_are_no_query(world) -> None:
    for query in (Query(), Query(text="a", id="b"), Query(text="  ")):
        with pytest.raises(ConfigError):
            world.searcher.vector_of(query)


def test_a_page_with_its_pictures_inside(world, tmp_path: Path) -> None:
    """Every picture is the photo's, nothing is fetched, and captions are text."""
    queries = [Query(text="dog"), Query(text="<b>snow</b>"), Query(error="line 3 is odd")]
    answers = search_all(world.searcher, queries, "image", 3)
    html = render_search(answers, PhotoRoot(world.root), "index/x", "image")
    assert "<b>snow</b>" not in html
    assert "line 3 is odd" in html
    assert html.count('src="data:image/') == 6
    assert "http" not in html.replace("http-equiv", "")
    for answer in answers[:2]:
        for hit in answer.hits:
            assert hit.caption in html
            assert f"{hit.score:.3f}" in html


def test_vectors_come_back_as_they_went_in(world) -> None:
    for row in (0, 17, 59):
        np.testing.assert_allclose(
            world.searcher.vector_of_id(world.ids[row])[0], world.images[row], atol=1e-6
        )
