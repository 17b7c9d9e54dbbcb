"""One table of attacks: add a row, get the whole battery."""

from dataclasses import dataclass

import pytest

from mmer_core.attacks import (
    Attack,
    CornerSearch,
    DifferentialEvolution,
    ExhaustiveOnePixel,
    GradientGuidedSparseRS,
    Pixle,
    RandomPixels,
    SparseRS,
)


@dataclass(frozen=True)
class Row:
    """An attack with small hyper-parameters.

    Attributes:
        wide: It proposes several candidates at a time, so it can fill batches from few images.
        drawn: It draws at random, so another seed is another search.
    """

    attack: Attack
    wide: bool = True
    drawn: bool = True


ROWS = [
    Row(DifferentialEvolution(population=12)),
    Row(SparseRS(), wide=False),
    Row(Pixle()),
    Row(CornerSearch(best=20)),
    Row(ExhaustiveOnePixel(stride=1), drawn=False),
    Row(GradientGuidedSparseRS(draws=40, best=6), wide=False),
    Row(RandomPixels()),
]


def _each(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("attack", [row.attack for row in rows], ids=repr)


each_attack = _each(ROWS)
each_wide_attack = _each([row for row in ROWS if row.wide])
each_drawn_attack = _each([row for row in ROWS if row.drawn])
