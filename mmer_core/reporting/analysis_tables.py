"""Tables of the analyses: what modalities add, where they agree, what spaces measure, similarity by word."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mmer_core.evaluation.record import Contribution, Leader, PairFigures, StreamAgreement
from mmer_core.record import Part
from mmer_core.reporting.estimates import MISSING
from mmer_core.reporting.labels import metric
from mmer_core.reporting.metric_guide import AGREEMENT, CONTRIBUTION, PAIR, SPACE, MetricGuide
from mmer_core.reporting.table import Cell, Row, Table, cell
from mmer_core.reporting.view import FamilyView

_SPACES = {"own_image": "image, its own space"}


def contribution_table(families: Sequence[FamilyView]) -> Table:
    """What each modality adds to the mAP, families side by side."""
    return _added(_contributions(families), "What each modality adds to the mean average precision")


def _added(found: Mapping[str, Contribution], caption: str) -> Table:
    streams = [{stream.name: stream for stream in one.streams} for one in found.values()]
    rows = []
    for name in dict.fromkeys(name for by_name in streams for name in by_name):
        own = (by_name.get(name) for by_name in streams)
        rows.append(Row(name, tuple(part for one in own for part in _cells(one, CONTRIBUTION))))
    blank = [Cell("")] * (len(CONTRIBUTION) - 1)
    for label, key in (("all of them", "all"), ("none (chance)", "none")):
        rows.append(Row(label, tuple(c for one in found.values() for c in (cell(getattr(one, key)), *blank))))
    return Table(
        caption,
        ("Modality", *[each.label for each in CONTRIBUTION] * len(found)),
        tuple(rows) if found else (),
        groups=_groups(found, len(CONTRIBUTION)),
    )


def leaders_count(families: Sequence[FamilyView], word: str) -> Table:
    """For how many categories each modality is the best to read, and for how many clearly so."""
    found = _leaders(families)
    streams = dict.fromkeys(leader.best for one in found.values() for leader in one)
    rows = []
    for name in sorted(streams):
        cells = []
        for one in found.values():
            best = Counter(leader.best for leader in one)
            clear = Counter(leader.best for leader in one if _clear(leader))
            cells += [Cell(str(best[name])), Cell(str(clear[name]))]
        rows.append(Row(name, tuple(cells)))
    return Table(
        f"{word.capitalize()}s that a modality reads best",
        ("Modality", *(f"{word}s", "clearly") * len(found)),
        tuple(rows),
        groups=_groups(found, 2),
    )


def leaders_table(families: Sequence[FamilyView], word: str) -> Table:
    """The best modality of every category and its lead in AP over the second."""
    found = _leaders(families)
    by_family = [{leader.name: leader for leader in one} for one in found.values()]
    rows = []
    for name in dict.fromkeys(name for by_name in by_family for name in by_name):
        cells = []
        for leader in (by_name.get(name) for by_name in by_family):
            cells += [
                Cell(text or MISSING) for text in ((leader.best, leader.second) if leader else ("", ""))
            ]
            cells.append(cell(leader.lead if leader else None))
        rows.append(Row(name, tuple(cells)))
    return Table(
        f"Best modality by {word}, and its lead in average precision over the second, in points",
        (word.capitalize(), *("best", "second", "lead") * len(found)),
        tuple(rows),
        groups=_groups(found, 3),
    )


def agreement_table(families: Sequence[FamilyView]) -> Table:
    """How far each pair of modalities agrees, as a mean over the categories."""
    found = {one.family: one.analyses.agreement for one in families if one.analyses.agreement}
    by_title = [{_title(pair): pair for pair in pairs} for pairs in found.values()]
    rows = []
    for title in dict.fromkeys(title for pairs in by_title for title in pairs):
        own = (pairs.get(title) for pairs in by_title)
        rows.append(Row(title, tuple(part for one in own for part in _cells(one, AGREEMENT))))
    columns = ("Pair", *[each.label for each in AGREEMENT] * len(found))
    return Table("How far modalities agree", columns, tuple(rows), groups=_groups(found, len(AGREEMENT)))


def agreement_by_category(families: Sequence[FamilyView], word: str) -> Table:
    """The same for every category."""
    columns: list[str] = []
    groups: list[tuple[str, int]] = [("", 1)]
    by_name: dict[str, list[Cell]] = {}
    for family in families:
        for pair in family.analyses.agreement:
            columns += [each.label for each in AGREEMENT]
            groups.append((f"{family.family}: {_title(pair)}", len(AGREEMENT)))
            for category in pair.per_category:
                by_name.setdefault(category.name, []).extend(_cells(category, AGREEMENT))
    rows = [Row(name, tuple(cells)) for name, cells in by_name.items()]
    return Table(f"Agreement by {word}", (word.capitalize(), *columns), tuple(rows), groups=tuple(groups))


def space_table(families: Sequence[FamilyView]) -> Table:
    """The figures of every space."""
    shown = shown_spaces(families)
    rows = [
        Row(f"{family.family}: {_SPACES.get(space.name, space.name)}", _cells(space, shown))
        for family in families
        for space in family.analyses.spaces
    ]
    return Table("Each space", ("Space", *(each.label for each in shown)), tuple(rows))


def pair_table(families: Sequence[FamilyView]) -> Table:
    """The figures of every two modalities."""
    shown = shown_pairs(families)
    rows = [
        Row(f"{family.family}: {_title(pair)}", _cells(pair, shown))
        for family in families
        for pair in family.analyses.pairs
    ]
    return Table("Two modalities of the same samples", ("Pair", *(each.label for each in shown)), tuple(rows))


def dimension_table(families: Sequence[FamilyView]) -> Table:
    """The coordinates with the largest shares of each space's variance, and how evenly all share it."""
    rows = []
    for family in families:
        for space in family.analyses.spaces:
            top = space.top_dimensions
            if not top:
                continue
            listed = ", ".join(f"{one.dimension} ({100 * one.share:.1f})" for one in top)
            shares = sum(one.share for one in top), space.diversity, space.rotated_diversity
            cells = (Cell(listed), *(cell(100 * one if one is not None else None) for one in shares))
            rows.append(Row(f"{family.family}: {_SPACES.get(space.name, space.name)}", cells))
    columns = (
        "Space",
        "largest, with their share of the variance in %",
        "together %",
        "diversity %",
        "rotated %",
    )
    return Table("Which dimensions vary most", columns, tuple(rows))


def matching_table(families: Sequence[FamilyView]) -> Table:
    """Recalls of people and their texts, beside chance."""
    found = {one.family: one.analyses.matching for one in families if one.analyses.matching}
    names = dict.fromkeys(name for one in found.values() for name in one.metrics)
    rows = []
    for name in names:
        described = metric(name)
        chance = next(one.baselines.get(name) for one in found.values())
        cells = [cell(one.metrics.get(name), described.digits) for one in found.values()]
        rows.append(Row(described.label, (*cells, cell(chance, described.digits)), hint=described.hint))
    first = next(iter(found.values()), None)
    caption = f"{first.people:,} samples and {first.texts:,} different texts" if first else ""
    return Table(caption, ("Metric", *(f"{family} model" for family in found), "chance"), tuple(rows))


def caption_table(families: Sequence[FamilyView]) -> Table:
    """What image and first caption add to finding the other captions of a photo."""
    found: dict[str, Contribution] = {
        one.family: one.analyses.caption_contribution for one in families if one.analyses.caption_contribution
    }
    return _added(found, "What each modality adds to finding the other captions of a photo, mean recall")


def word_table(family: FamilyView) -> Table:
    """Similarity of captions that hold a word and of those that do not."""
    rows = [
        Row(
            one.word,
            (Cell(f"{one.texts:,}"), cell(one.mean, 3), cell(one.rest, 3), cell(one.difference, 3)),
        )
        for one in family.analyses.words
    ]
    return Table(
        f"{family.family} model: mean similarity of captions with their own photo",
        ("Word", "captions", "with the word", "without", "difference"),
        tuple(rows),
    )


def shown_spaces(families: Sequence[FamilyView]) -> tuple[MetricGuide, ...]:
    """The figures that some space has."""
    return _defined(SPACE, [space for family in families for space in family.analyses.spaces])


def shown_pairs(families: Sequence[FamilyView]) -> tuple[MetricGuide, ...]:
    """The figures that some pair has."""
    return _defined(PAIR, [pair for family in families for pair in family.analyses.pairs])


def _defined(among: Sequence[MetricGuide], parts: Sequence[Part]) -> tuple[MetricGuide, ...]:
    return tuple(each for each in among if any(each.value(one) is not None for one in parts))


def _cells(part: Part | None, shown: Sequence[MetricGuide]) -> tuple[Cell, ...]:
    """The figures of a part; all missing without one."""
    return tuple(cell(each.value(part) if part else None, each.digits) for each in shown)


def _contributions(families: Sequence[FamilyView]) -> dict[str, Contribution]:
    return {one.family: found for one in families if (found := one.analyses.contribution)}


def _leaders(families: Sequence[FamilyView]) -> dict[str, tuple[Leader, ...]]:
    """By family, the leaders of models with several modalities."""
    return {name: one.leaders for name, one in _contributions(families).items() if len(one.streams) > 1}


def _clear(leader: Leader) -> bool:
    return leader.p is not None and leader.p <= 0.05


def _groups(found: Mapping[Any, Any], width: int) -> tuple[tuple[str, int], ...]:
    return (("", 1), *((f"{family} model", width) for family in found))


def _title(pair: PairFigures | StreamAgreement) -> str:
    return f"{pair.first} and {pair.second}"
