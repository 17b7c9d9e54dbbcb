"""Tables of text from outside: as ``csv`` reads them while they are sound, and one bad row at a time when not."""

import csv
import io
from collections.abc import Collection

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmer_core.datasets.cells import CELL_LIMIT
from mmer_core.datasets.delimited import Record, Table, read_table
from mmer_core.text_lines import decoded

HEADER = ["id", "image", "text"]
CELLS = st.text(st.sampled_from('ab",;\t\n é\u2028\x0c'), max_size=6)
ROWS = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8).map(
    lambda rows: [[f"r{place}{first}", f"{place}.png", text] for place, (first, text) in enumerate(rows)]
)
LINES = st.lists(st.text(st.sampled_from('ab",;\t '), max_size=5).map("w{}".format), max_size=3).map(
    "\n".join
)
PLAIN_ROWS = st.lists(LINES, min_size=1, max_size=8).map(
    lambda texts: [[f"r{place}", f"{place}.png", text] for place, text in enumerate(texts)]
)
QUOTING = st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])


def table(content: bytes | str, **options: str) -> Table:
    def usable(names: Collection[str]) -> bool:
        return {"id", "image"} <= set(names)

    return read_table(decoded(content.encode() if isinstance(content, str) else content), usable, **options)


def written(rows: list[list[str]], end: str = "\n", **dialect: object) -> str:
    handle = io.StringIO()
    csv.writer(handle, lineterminator=end, **dialect).writerows([HEADER, *rows])
    return handle.getvalue()


@given(
    ROWS,
    QUOTING,
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)
@settings(max_examples=150)
def test_sound_tables_read_as_csv_reads_them(rows, quoting, delimiter, end, encoding) -> None:
    text = written(rows, end, quoting=quoting, delimiter=delimiter)
    expected = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))[1:]
    found = table(text.encode(encoding), files="image")
    assert found.names == tuple(HEADER)
    records = list(found.records)
    assert [record.cells for record in records] == expected == rows
    assert not any(record.problem or record.damaged for record in records)


@given(PLAIN_ROWS, QUOTING, st.data())
@settings(max_examples=300)
def test_one_more_quote_costs_no_other_row(rows, quoting, data) -> None:
    """Wherever it falls, and whatever quoted cells stand around it."""
    lines = io.StringIO(written(rows, quoting=quoting), newline="").readlines()
    before = list(table("".join(lines), files="image").records)
    hit = data.draw(st.integers(1, len(lines) - 1), "line")
    place = data.draw(st.integers(0, len(lines[hit]) - 1), "place")
    lines[hit] = lines[hit][:place] + '"' + lines[hit][place:]
    after = list(table("".join(lines), files="image").records)
    others = [
        record
        for record, following in zip(before, [*before[1:], None], strict=True)
        if not record.line <= hit + 1 < (following.line if following else len(lines) + 1)
    ]
    assert [record for record in others if record not in after] == []


@pytest.mark.parametrize(
    ("body", "kept", "bad"),
    [
        ('1,a.png,"open\n2,b.png,in\n3,c.png,"a, b"\n4,d.png,x\n', ["2", "3", "4"], [2]),
        ('1,a.png,"open\n2,b.png,in\n3,c.png,closing"\n4,d.png,x\n', ["2", "3", "4"], [2]),
        ('"1,a.png,x\n2,b.png,"a, b"\n3,c.png,y\n', ["2", "3"], [2]),
        ('1,a.png,x"y\n2,b.png,5" disk\n', ["1", "2"], []),
        ('1,a.png,"two\nlines"\n2,b.png,"x\n', ["1"], [4]),
        ('"\n1,a.png,x\n"\n2,b.png,y\n', ["1", "2"], [2, 4]),
        ('"\n"\n1,a.png,x\n,,\n', ["1"], [2]),
        ('1,a.png,"two\nlines",more\n2,b.png,x\n', ["2"], [2]),
        ('1,a.png,"' + "x\n" * 70_000 + '"\n2,b.png,x\n', ["2"], [2]),
        ('1,a.png,"open\n' + "2,b.png,x\n" * 20_000 + '3,c.png,"\n', ["2"] * 20_000, [2, 20_003]),
        ('1,a.png,"open\n' + "2,b,x\n" * 40_000 + '3,c,y"\n', ["2"] * 40_000 + ["3"], [2]),
    ],
    ids=[
        "open",
        "pair",
        "first",
        "literal",
        "last",
        "apart",
        "blank",
        "wide",
        "long",
        "far",
        "beyond a cell",
    ],
)
def test_a_bad_row_ends_where_its_line_ends(body: str, kept: list[str], bad: list[int]) -> None:
    records = list(table("id,image,text\n" + body, files="image").records)
    assert [record.cells[0] for record in records if not record.problem] == kept
    assert [record.line for record in records if record.problem] == bad


@pytest.mark.parametrize("line", ['1,a.png,"open\n', 'x""","\n'])
def test_time_is_linear_in_the_lines(line: str) -> None:
    """200,000 lines with quotes, made to be tried again and again; looking from each to the end would take hours, which the time-out of tests ends."""
    records = table("id,image,text\n" + line * 200_000, files="image").records
    assert sum(bool(record.problem) for record in records) == 200_000


def test_a_header_may_be_quoted_and_have_lines_before_it() -> None:
    found = table('sep=;\n\n"id";"image";"a ""b"""\n1;a.png;x\n')
    assert found.names == ("id", "image", 'a "b"')
    assert list(found.records) == [Record(4, ["1", "a.png", "x"])]
    assert not table("id|image\n1|a.png\n").usable
    assert csv.field_size_limit() == CELL_LIMIT
