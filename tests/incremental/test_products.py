"""Products that are read as ones over channels, against what changes when one position of a map does."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mmer_core.incremental.products import Product, read_product

SIDES = {"b": 2, "h": 3, "w": 4, "c": 2, "d": 3, "e": 1}
KEPT = "bhw"


def filled(letters: str, seed: int) -> Tensor:
    return (
        torch.rand([SIDES[letter] for letter in letters], generator=torch.Generator().manual_seed(seed)) + 0.5
    )


def read(function, *args, maps: dict[int, tuple[int, ...]], **named) -> Product | None:
    """The product, of which the arguments with these numbers are maps that hold batch and positions in these dimensions."""
    dims = {id(args[number]): kept for number, kept in maps.items()}
    return read_product(function, args, named, lambda value: dims.get(id(value)))


def keeps_to_positions(function, args, maps: dict[int, tuple[int, ...]], kept: tuple[int, ...]) -> bool:
    """Whether no position of the output follows any but that position of the maps."""
    before = function(*args)
    assert [before.shape[dim] for dim in kept] == [SIDES[letter] for letter in KEPT]
    for place in product(*(range(SIDES[letter]) for letter in KEPT)):
        changed = [each.clone() if isinstance(each, Tensor) else each for each in args]
        for number, dims in maps.items():
            at = [slice(None)] * changed[number].ndim
            for dim, one in zip(dims, place, strict=True):
                at[dim] = one
            changed[number][tuple(at)] += 1
        moved = (function(*changed) != before).nonzero()[:, list(kept)].unique(dim=0).tolist()
        if moved not in ([], [list(place)]):
            return False
    return True


TERMS = st.permutations("bhwcd").flatmap(
    lambda letters: st.integers(3, 5).map(lambda most: "".join(letters[:most]))
)


@given(
    first=TERMS.filter(lambda term: {*KEPT} <= {*term}),
    second=st.text("bhwcde", max_size=4),
    result=st.permutations("bhwcd").flatmap(lambda letters: st.integers(0, 5).map(lambda most: "".join(letters[:most]))),
    both=st.booleans(),
    arrow=st.booleans(),
)  # fmt: skip
def test_what_an_equation_is_read_as_keeps_to_positions(first, second, result, both, arrow):
    result = "".join(letter for letter in result if letter in first + second)
    equation = f"{first},{second}" + (f"->{result}" if arrow else "")
    args = equation, filled(first, 0), filled(second, 1)
    maps = {1: tuple(map(first.index, KEPT))}
    if both and {*KEPT} <= {*second} and len(second) == len({*second}):
        maps[2] = tuple(map(second.index, KEPT))
    found = read(torch.einsum, *args, maps=maps)
    if found is not None:
        assert keeps_to_positions(torch.einsum, args, maps, found.kept)
    elif arrow and {*KEPT} <= {*result} and not {*KEPT} & {*second}:
        pytest.fail(f"{equation} is a product with weights of channels")


@pytest.mark.parametrize(
    ("equation", "maps", "kept", "multiply_adds"),
    [
        ("bchw,oc->bohw", ("bchw", "dc"), (0, 2, 3), 2),
        ("...c,cd->...d", ("bhwc", "cd"), (0, 1, 2), 2),
        ("hwc...,cd->d...hw", ("hwcb", "cd"), (1, 2, 3), 2),
        (" ...hw , c -> ...chw", ("bdhw", "c"), (0, 3, 4), 1),
        ("bhwc,bhwc->bhw", ("bhwc", "bhwc"), (0, 1, 2), 2),
        ("whbcd,cd", ("whbcd", "cd"), (0, 1, 2), 6),
    ],
)
def test_equations_as_people_write_them(equation, maps, kept, multiply_adds):
    args = equation, *(filled(letters, seed) for seed, letters in enumerate(maps))
    of_maps = {
        number: tuple(map(letters.index, KEPT))
        for number, letters in enumerate(maps, 1)
        if {*KEPT} <= {*letters}
    }
    found = read(torch.einsum, *args, maps=of_maps)
    assert found is not None
    assert keeps_to_positions(torch.einsum, args, of_maps, found.kept)
    assert ({*found.kept}, found.multiply_adds) == ({*kept}, multiply_adds)


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        ("bhwc", "cd", (0, 1, 2)),
        ("bhwc", "c", (0, 1, 2)),
        ("bhwdc", "ecd", (0, 1, 2)),
        ("bhwdc", "eecd", (0, 1, 2)),
        ("bchwd", "dc", (0, 2, 3)),
        ("dc", "bhwce", (0, 1, 2)),
        ("cd", "bhdw", (0, 1, 3)),
        ("d", "bhdw", (0, 1, 2)),
        ("ecd", "bhdw", (0, 1, 3)),
        ("bhwcd", "bhwdc", (0, 1, 2)),
        ("bhwcd", "ehedc", None),
        ("hcd", "bhdw", None),
        ("bhcw", "bhwd", None),
        ("bhcw", "w", None),
        ("wh", "bdhw", None),
        ("bwhc", "bcdh", None),
    ],
)
def test_matrix_products(one, other, kept):
    args = filled(one, 0), filled(other, 1)
    maps = {
        number: tuple(map(letters.index, KEPT))
        for number, letters in enumerate((one, other))
        if {*KEPT} <= {*letters}
    }
    for function in (torch.matmul, torch.Tensor.__matmul__):
        found = read(function, *args, maps=maps)
        if kept is None:
            assert found is None
        else:
            assert found is not None
            assert found.kept == kept
            assert keeps_to_positions(torch.matmul, args, maps, kept)


def test_linear_layers_with_and_without_bias():
    maps, weight, bias = filled("bhwc", 0), filled("dc", 1), filled("d", 2)
    for args, named in (((maps, weight), {}), ((maps, weight, bias), {}), ((maps, weight), {"bias": bias})):
        assert read(F.linear, *args, maps={0: (0, 1, 2)}, **named) == Product((0, 1, 2), 2)
    assert read(F.linear, maps, weight[0], maps={0: (0, 1, 2)}) == Product((0, 1, 2), 2)
    assert read(F.linear, maps.movedim(3, 0), filled("dw", 1), maps={0: (1, 2, 3)}) is None
    assert read(F.linear, weight, maps, maps={1: (0, 1, 2)}) is None
