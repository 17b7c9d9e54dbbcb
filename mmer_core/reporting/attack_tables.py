"""The report's tables of attacks: how often models are fooled, together, and where."""

from collections.abc import Callable, Sequence

from mmer_core.attacks.record import CurvePoint, GroupSuccess
from mmer_core.reporting.estimates import MISSING, number
from mmer_core.reporting.labels import attack_name, pixels
from mmer_core.reporting.prose import curve_of
from mmer_core.reporting.table import Cell, Row, Table, cell, plain
from mmer_core.reporting.view import FamilyView, Transfer


def attack_table(families: Sequence[FamilyView]) -> Table:
    """Every point of the success curves."""

    def cells(one: CurvePoint) -> tuple[Cell, ...]:
        return (
            cell(one.success),
            cell(one.median_queries, 0),
            Cell(f"{one.n:,}"),
            Cell(f"{one.already:,}"),
            Cell(MISSING if one.right is None else f"{one.right:,}"),
            cell(one.robust_accuracy),
        )

    columns = ("fooled, %", "median queries", "attacked", "met before", "right before", "robust accuracy, %")
    return _by_attack("Images fooled", columns, families, cells)


def strength_table(families: Sequence[FamilyView]) -> Table:
    """Which of the images that one pixel can fool each attack found; no row without an exhaustive search."""
    return _by_attack(
        "Of the images that one pixel in a corner colour can fool, by an exhaustive search, those that an attack found",
        ("found, %", "can be fooled"),
        families,
        lambda one: (cell(one.found), Cell(f"{one.foolable:,}")) if one.foolable else None,
    )


def seeds_table(families: Sequence[FamilyView]) -> Table:
    """Success of all seeds of an attack together, and the lowest and highest of one; no row where there was one seed."""
    return _by_attack(
        "Images fooled with any seed of the attack, and with one",
        ("any seed, %", "one seed, %", "seeds"),
        families,
        lambda one: (
            (
                cell(one.success),
                Cell(f"{number(min(one.by_seed))} to {number(max(one.by_seed))}"),
                Cell(f"{len(one.by_seed)}"),
            )
            if one.by_seed
            else None
        ),
    )


def _by_attack(
    caption: str,
    columns: tuple[str, ...],
    families: Sequence[FamilyView],
    cells: Callable[[CurvePoint], tuple[Cell, ...] | None],
) -> Table:
    """A row for each ``K`` and attack, these columns for each family; nothing where there are no cells of a point."""
    found: dict[tuple[int, str], list[tuple[Cell, ...] | None]] = {}
    for place, family in enumerate(families):
        for attack in {point.attack for point in family.curves}:
            for point in curve_of(family, attack):
                if shown := cells(point):
                    found.setdefault((point.pixels, attack), [None] * len(families))[place] = shown
    missing = (Cell(MISSING),) * len(columns)
    return Table(
        caption=caption,
        columns=("Attack", *columns * len(families)),
        rows=tuple(
            Row(
                f"{pixels(k)}: {attack_name(attack)}", tuple(one for part in parts for one in part or missing)
            )
            for (k, attack), parts in sorted(found.items())
        ),
        groups=(("", 1), *((f"{family.family} model", len(columns)) for family in families)),
    )


def worst_case_table(families: Sequence[FamilyView]) -> Table:
    """All attacks together, and what each of them added to those before it."""
    rows = [
        Row(
            f"{family.family}, {pixels(one.pixels)}: {one.label}",
            (
                Cell(f"{one.n:,}"),
                cell(one.clean),
                cell(one.robust),
                Cell(
                    ", then ".join(f"{attack_name(step.attack)} {number(step.value)}" for step in one.steps)
                ),
            ),
            strong=one.figure != "accuracy",
        )
        for family in families
        for one in family.worst
    ]
    return Table(
        caption="The worst case over attacks: what is left when of every image the worst version counts",
        columns=("Model", "images", "clean, %", "robust, %", "left by attack after attack, %"),
        rows=tuple(rows),
    )


def margin_table(families: Sequence[FamilyView]) -> Table:
    """What attacks leave of the clean margins, on a scale that models share."""
    found = [{one.pixels: one for one in family.margins} for family in families]
    rows = []
    for k in sorted({k for points in found for k in points}):
        shown = [points.get(k) for points in found]
        cells = [cell(raw, 2) for one in shown for raw in ((one.clean, one.left) if one else (None, None))]
        rows.append(Row(pixels(k), tuple(cells)))
    return Table(
        caption="Mean margin, in standard deviations of the model’s own clean margins",
        columns=("Changed", *("clean", "left by the attacks") * len(families)),
        rows=tuple(rows),
        groups=(("", 1), *((f"{family.family} model", 2) for family in families)),
    )


def transfer_table(transfers: Sequence[Transfer]) -> Table:
    """Share of the successes on one model that fool another too."""
    found: dict[tuple[int, str], list[CurvePoint]] = {}
    for transfer in transfers:
        for point in transfer.curves:
            found.setdefault((point.pixels, point.attack), []).append(point)
    rows = [
        Row(
            f"{pixels(k)}: {attack_name(attack)}",
            tuple(part for one in points for part in (cell(one.success), Cell(f"{one.n:,}"))),
        )
        for (k, attack), points in sorted(found.items())
    ]
    return Table(
        caption="Successes that fool the other model too",
        columns=("Attack", *("fooled too, %", "shown") * len(transfers)),
        rows=tuple(rows),
        groups=(("", 1), *((f"{one.source} to {one.target}", 2) for one in transfers)),
    )


def fragile_categories_table(families: Sequence[FamilyView], word: str) -> Table:
    """Success of the attacks by the category that the clean image was read as."""
    records = [
        {one.group: one for one in family.fragility.emotions} for family in families if family.fragility
    ]
    names = dict.fromkeys(name for found in records for name in found)
    rows = []
    for name in names:
        shown = [found.get(name) for found in records]
        rows.append(Row(name, tuple(part for one in shown for part in _share(one))))
    return Table(
        caption=f"Images fooled by dominant {word}, at the most changed pixels, by any attack but the controls",
        columns=(word.capitalize(), *("fooled, %", "attacked") * len(records)),
        rows=tuple(rows),
        groups=(("", 1), *((f"{family.family} model", 2) for family in families if family.fragility)),
    )


def fragile_regions_table(families: Sequence[FamilyView]) -> Table:
    """Where the changed pixels of successes lie."""
    shown = [family for family in families if family.fragility and family.fragility.regions]
    records = [{one.region: one for one in family.fragility.regions} for family in shown if family.fragility]
    names = dict.fromkeys(name for found in records for name in found)
    rows = [
        Row(
            name,
            tuple(
                part
                for found in records
                for part in (
                    cell(found[name].changed),
                    cell(found[name].area),
                    Cell(f"{found[name].pixels:,}"),
                )
            ),
        )
        for name in names
    ]
    return Table(
        caption="Where the pixels that fooled a model lie, beside how much of the picture that is",
        columns=("Region", *("of the pixels, %", "of the area, %", "pixels") * len(records)),
        rows=tuple(rows),
        groups=(("", 1), *((f"{family.family} model", 3) for family in shown)),
    )


def query_table(families: Sequence[FamilyView], most: int = 10) -> Table:
    """Success by number of queries, at no more than ``most`` points of each curve."""
    rows = []
    for family in families:
        for curve in family.by_queries:
            pairs = list(zip(curve.queries, curve.success, strict=True))
            step = max(1, -(-len(pairs) // most))
            shown = pairs[::-1][::step][::-1]
            text = "   ".join(f"{number(queries, 0)}: {number(success)}" for queries, success in shown)
            rows.append((f"{family.family}, {attack_name(curve.attack)}, {pixels(curve.pixels)}", text))
    return plain("Images fooled in %, by number of queries", ("Attack", "queries: fooled, %"), rows)


def _share(found: GroupSuccess | None) -> tuple[Cell, Cell]:
    if found is None:
        return Cell(MISSING), Cell("0")
    return cell(found.success), Cell(f"{found.n:,}")
