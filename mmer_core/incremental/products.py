"""Products of a map and weights over channels as people write them, such as ``x @ w`` and ``torch.einsum``, and of maps at each
position: what PyTorch computes them by views their dimensions otherwise, so they are read by what is asked for."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Dims = tuple[int, ...]
"""Of a tensor, the dimensions of batch and positions."""
_MATMUL = (torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm, torch.Tensor.bmm)


class Product(NamedTuple):
    """What a product gives.

    Attributes:
        kept: Its dimensions of batch and positions.
        multiply_adds: Per number.
    """

    kept: Dims
    multiply_adds: int


def read_product(
    function: Any, args: Sequence[Any], named: dict[str, Any], kept_of: Callable[[Any], Dims | None]
) -> Product | None:
    """The product that is asked for, if it sums over nothing but channels of each position; else None.

    Args:
        kept_of: The dimensions of batch and positions, None of what is no map.
    """
    if function is torch.einsum and not named and args and isinstance(args[0], str):
        operands = args[1] if isinstance(args[1], list | tuple) else args[1:]
        return _einsum(args[0], operands, [kept_of(each) for each in operands])
    if function in _MATMUL and not named and len(args) == 2:
        return _matmul(*args, *map(kept_of, args))
    if function is torch.Tensor.__rmatmul__ and len(args) == 2:
        return _matmul(args[1], args[0], kept_of(args[1]), kept_of(args[0]))
    if function is F.linear and all(kept_of(each) is None for each in (*args[1:], *named.values())):
        weight = args[1] if len(args) > 1 else named["weight"]
        return _matmul(args[0], weight.mT if weight.ndim == 2 else weight, kept_of(args[0]), None)
    return None


def _matmul(one: Tensor, other: Tensor, kept: Dims | None, others: Dims | None) -> Product | None:
    """Of ``one @ other``: sums over the last dimension of one and the last but one of the other."""
    if kept is not None and others is not None:
        beside = one.ndim == other.ndim and kept == others and max(kept) < one.ndim - 2
        return Product(kept, one.shape[-1]) if beside else None
    maps, weight = (one, other) if kept is not None else (other, one)
    dims = kept or others
    summed = maps.ndim - (1 if kept is not None else 2)
    if dims is None or summed in dims or weight.ndim > maps.ndim:
        return None
    before = maps.ndim - weight.ndim
    batch = range(maps.ndim - 2)  # in which both have a number for each, or one for all
    if any(dim in batch and dim >= before and weight.shape[dim - before] != 1 for dim in dims):
        return None
    gone = weight.ndim == 1  # and with it the dimension that is summed over
    return Product(tuple(dim - (gone and summed < dim) for dim in dims), maps.shape[summed])


def _einsum(equation: str, operands: Sequence[Tensor], kept: Sequence[Dims | None]) -> Product | None:
    """Of letters, of which those of batch and positions must stay, and stand in no weight."""
    given, arrow, wanted = equation.replace(" ", "").partition("->")
    terms = given.split(",")
    if len(terms) != len(operands):
        return None
    # The dimensions that "..." stands for are counted from the last on, as they are laid over one another.
    more = [each.ndim - len(term.replace("...", "")) for term, each in zip(terms, operands, strict=True)]
    symbols = list(map(_symbols, terms, more))
    lengths = [
        pair
        for each, own in zip(symbols, operands, strict=True)
        for pair in zip(each, own.shape, strict=True)
    ]
    if arrow:
        result = _symbols(wanted, max(more))
    else:
        every = [symbol for symbol, _ in lengths if symbol.isalpha()]
        result = [*_symbols("...", max(more)), *sorted(each for each in every if every.count(each) == 1)]
    stay = {
        tuple(each[dim] for dim in dims) for each, dims in zip(symbols, kept, strict=True) if dims is not None
    }
    if len(stay) != 1:
        return None
    (dims,) = stay
    of_maps = [each for each, own in zip(symbols, kept, strict=True) if own is not None]
    others = [
        length
        for each, operand, own in zip(symbols, operands, kept, strict=True)
        for symbol, length in zip(each, operand.shape, strict=True)
        if own is None and symbol in dims
    ]
    if any(each.count(symbol) != 1 for each in (*of_maps, result) for symbol in dims) or {*others} - {1}:
        return None
    summed = prod(
        max(length for one, length in lengths if one == symbol) for symbol in dict(lengths).keys() - {*result}
    )
    return Product(tuple(map(result.index, dims)), summed)


def _symbols(term: str, more: int) -> list[str]:
    """The letter of each dimension, and for those that "..." stands for their numbers from the last on."""
    before, dots, after = term.partition("...")
    return [*before, *(str(number) for number in reversed(range(more)) if dots), *after]
