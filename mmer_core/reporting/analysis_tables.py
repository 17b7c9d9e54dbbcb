"""Tables of the analyses: what modalities add, where they agree, what spaces measure, similarity by word."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mmer_core.reporting.estimates import MISSING, Estimate
from mmer_core.reporting.metric_guide import AGREEMENT, CONTRIBUTION, PAIR, SPACE, MetricGuide
from mmer_core.reporting.tables import Cell, Row, Table, cell
from mmer_core.reporting.view import FamilyView, Record

_SPACES = {"own_image": "image, its own space"}


def contribution_table(families: Sequence[FamilyView]) -> Table:
    """What each modality adds to the mAP, families side by side."""
    found = {family.family: family.analyses["contribution"] for family in _with("contribution", families)}
    streams = dict.fromkeys(stream["name"] for one in found.values() for stream in one["streams"])
    rows = []
    for name in streams:
        records: list[Record] = [
            next((stream for stream in one["streams"] if stream["name"] == name), {})
            for one in found.values()
        ]
        cells = tuple(cell(record.get(each.key), each.digits) for record in records for each in CONTRIBUTION)
        rows.append(Row(name, cells))
    blank = [Cell("")] * (len(CONTRIBUTION) - 1)
    for label, key in (("all of them", "all"), ("none (guessing)", "none")):
        rows.append(Row(label, tuple(c for one in found.values() for c in (cell(one[key]), *blank))))
    return Table(
        "What each modality adds to the mean average precision",
        ("Modality", *[each.label for each in CONTRIBUTION] * len(found)),
        tuple(rows) if found else (),
        groups=_groups(found, len(CONTRIBUTION)),
    )


def leaders_count(families: Sequence[FamilyView]) -> Table:
    """For how many emotions each modality is the best to read, and for how many clearly so."""
    found = _leaders(families)
    streams = dict.fromkeys(record["best"] for one in found.values() for record in one)
    rows = []
    for name in sorted(streams):
        cells = []
        for one in found.values():
            best = Counter(record["best"] for record in one)
            clear = Counter(record["best"] for record in one if _clear(record))
            cells += [Cell(str(best[name])), Cell(str(clear[name]))]
        rows.append(Row(name, tuple(cells)))
    return Table(
        "Emotions that a modality reads best",
        ("Modality", *("emotions", "clearly") * len(found)),
        tuple(rows),
        groups=_groups(found, 2),
    )


def leaders_table(families: Sequence[FamilyView]) -> Table:
    """The best modality of every emotion and its lead in AP over the second."""
    found = _leaders(families)
    names = dict.fromkeys(record["name"] for one in found.values() for record in one)
    rows = []
    for name in names:
        cells = []
        for one in found.values():
            record = next((record for record in one if record["name"] == name), {})
            cells += [Cell(record.get("best", MISSING)), Cell(record.get("second", MISSING))]
            cells.append(cell(record.get("lead")))
        rows.append(Row(name, tuple(cells)))
    return Table(
        "Best modality by emotion, and its lead in average precision over the second, in points",
        ("Emotion", *("best", "second", "lead") * len(found)),
        tuple(rows),
        groups=_groups(found, 3),
    )


def agreement_table(families: Sequence[FamilyView]) -> Table:
    """How far each pair of modalities says the same, as a mean over the emotions."""
    return _paired("agreement", "How far modalities agree", AGREEMENT, families)


def agreement_by_category(families: Sequence[FamilyView]) -> Table:
    """The same for every emotion."""
    columns: list[str] = []
    groups: list[tuple[str, int]] = [("", 1)]
    by_name: dict[str, list[Cell]] = {}
    for family in _with("agreement", families):
        for pair in family.analyses["agreement"]:
            columns += [each.label for each in AGREEMENT]
            groups.append((f"{family.family}: {_title(pair)}", len(AGREEMENT)))
            for record in pair["per_category"]:
                by_name.setdefault(record["name"], []).extend(
                    cell(record[each.key], each.digits) for each in AGREEMENT
                )
    rows = [Row(name, tuple(cells)) for name, cells in by_name.items()]
    return Table("Agreement by emotion", ("Emotion", *columns), tuple(rows), groups=tuple(groups))


def space_table(families: Sequence[FamilyView]) -> Table:
    """The figures of every space."""
    rows, shown = [], _shown("spaces", SPACE, families)
    for family in families:
        for space in family.analyses.get("spaces", ()):
            rows.append(
                Row(
                    f"{family.family}: {_SPACES.get(space['name'], space['name'])}",
                    tuple(cell(space.get(each.key), each.digits) for each in shown),
                )
            )
    return Table("Each space", ("Space", *(each.label for each in shown)), tuple(rows))


def pair_table(families: Sequence[FamilyView]) -> Table:
    """The figures of every two modalities."""
    rows, shown = [], _shown("pairs", PAIR, families)
    for family in families:
        for pair in family.analyses.get("pairs", ()):
            cells = []
            for each in shown:
                value = pair.get(each.key)
                if each.key == "own_neighbours" and value is not None:
                    value = 100 * value
                cells.append(cell(value, each.digits))
            rows.append(Row(f"{family.family}: {_title(pair)}", tuple(cells)))
    return Table("Two modalities of the same samples", ("Pair", *(each.label for each in shown)), tuple(rows))


def word_table(family: FamilyView) -> Table:
    """Similarity of captions that hold a word and of those that do not."""
    rows = [
        Row(
            record["word"],
            (
                Cell(f"{record['texts']:,}"),
                cell(record["mean"], 3),
                cell(record["rest"], 3),
                cell(record["difference"], 3),
            ),
        )
        for record in family.analyses.get("words", ())
    ]
    return Table(
        f"{family.family} model: mean similarity of captions with their own photo",
        ("Word", "captions", "with the word", "without", "difference"),
        tuple(rows),
    )


def readings(
    key: str, among: Sequence[MetricGuide], families: Sequence[FamilyView]
) -> tuple[MetricGuide, ...]:
    """How to read the figures that are shown."""
    return _shown(key, among, families)


def _paired(key: str, caption: str, among: Sequence[MetricGuide], families: Sequence[FamilyView]) -> Table:
    found = {family.family: family.analyses[key] for family in _with(key, families)}
    titles = dict.fromkeys(_title(pair) for one in found.values() for pair in one)
    rows = []
    for title in titles:
        pairs: list[Record] = [
            next((pair for pair in one if _title(pair) == title), {}) for one in found.values()
        ]
        rows.append(
            Row(title, tuple(cell(pair.get(each.key), each.digits) for pair in pairs for each in among))
        )
    columns = ("Pair", *[each.label for each in among] * len(found))
    return Table(caption, columns, tuple(rows), groups=_groups(found, len(among)))


def _with(key: str, families: Sequence[FamilyView]) -> list[FamilyView]:
    return [family for family in families if family.analyses.get(key)]


def _shown(key: str, among: Sequence[MetricGuide], families: Sequence[FamilyView]) -> tuple[MetricGuide, ...]:
    records = [record for family in families for record in family.analyses.get(key, ())]
    return tuple(each for each in among if any(each.key in record for record in records))


def _leaders(families: Sequence[FamilyView]) -> dict[str, list[Record]]:
    """By family, the leaders of models with several modalities."""
    return {
        family.family: family.analyses["contribution"]["leaders"]
        for family in _with("contribution", families)
        if len(family.analyses["contribution"]["streams"]) > 1
    }


def _clear(record: Record) -> bool:
    lead = Estimate.of(record.get("lead"))
    return lead is not None and lead.low > 0


def _groups(found: Mapping[Any, Any], width: int) -> tuple[tuple[str, int], ...]:
    return (("", 1), *((f"{family} model", width) for family in found))


def _title(pair: Record) -> str:
    return f"{pair['first']} and {pair['second']}"
