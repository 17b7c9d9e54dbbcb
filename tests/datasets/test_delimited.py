"""Tables of text from outside: as ``csv`` reads them while they are sound, and one bad row at a time when not."""

import csv
import io
from collections.abc import Collection

from hypothesis import given, settings
from hypothesis import strategies as st

from mmer_core.datasets.delimited import Table, read_table
from mmer_core.datasets.text_lines import decoded

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
