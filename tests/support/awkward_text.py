"""Texts that software changes, and datasets of them in every format of a manifest."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

AWKWARD = (
    "003", "1e1", "1", "01", "001", "1.0", "1.00", "-0", "1_0", "0x10", "inf", "-inf", "1e400",
    "NA", "N/A", "#N/A", "null", "NULL", "None", "nan", "NaN", "<NA>", "True", "true", "yes",
    " a", "a ", "a", "\ta", "a\t", "\u00a0a", "a  b", "a b", 'q"q', '"q"', '""', "a,b", ",", "a;b", "'", "\\n",
    "a\nb", "a\r\nb", "a\rb", "\na", "a\r", "a\u2028b", "a\u0085b", "a\x1cb",
    "🐕‍🦺", "שלום", "\u200fمرحبا", "é", "e\u0301", "\ufeffa", "A",
    "=1+1", "+1", "-1", "@x", "#x", "-x", "--id", "[1]", '{"a": 1}', "<b>", "[red]a", "a/b", "..",
    "$a$", "$\\frac$", "_a", "%s", "{a}", "{", "a|b",
)  # fmt: skip
"""Numbers, missing values, truth values, blanks, quotes, line breaks, other scripts, formulas, options, JSON."""

SUFFIXES = (".csv", ".jsonl", ".parquet")
SEPARATOR = "␟"
"""Between labels in a cell of a CSV: a sign that no label has."""

_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0" + SEPARATOR)
_LIKE_NUMBERS = st.text("01.e+-_ NA", min_size=1, max_size=5)
_LIKE_ROWS = st.text("a\"',;\r\n\t #=", min_size=1, max_size=6)

TEXTS = st.one_of(
    st.sampled_from(AWKWARD), _LIKE_NUMBERS, _LIKE_ROWS, st.text(_CHARACTERS, min_size=1, max_size=6)
).filter(str.strip)
"""Such texts, but for those that are blank: a blank cell says nothing."""


def write_manifest(
    path: Path, rows: Sequence[dict[str, Any]], declared: dict[str, Any] | None = None
) -> Path:
    """The same rows in the format that the suffix names; ``text`` and ``labels`` are lists."""
    declared = (declared or {}) | {"separator": SEPARATOR}
    if path.suffix == ".parquet":
        table = pa.Table.from_pylist(list(rows))
        pq.write_table(table.replace_schema_metadata({"mmer": json.dumps(declared)}), path)
        return path
    head = f"# {json.dumps(declared, ensure_ascii=False)}\n"
    if path.suffix == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=bool(number % 2)) for number, row in enumerate(rows)]
        path.write_bytes((head + "".join(line + "\n" for line in lines)).encode())
        return path
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "text"]
    most = max(len(row.get("text", ())) for row in rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(head)
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow([*names, *("text" for _ in range(most))])
        for row in rows:
            cells = [SEPARATOR.join(row["labels"]) if name == "labels" else row[name] for name in names]
            texts = row.get("text", ())
            writer.writerow([*cells, *texts, *("" for _ in range(most - len(texts)))])
    return path
