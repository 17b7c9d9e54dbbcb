"""MATLAB's files of version 5 as plain values: structs, cells, numbers and text in ASCII, as most files hold nothing else.

Written after *MAT-File Format* (The MathWorks). Values are those of ``scipy.io.loadmat(path, simplify_cells=True)``: a struct
is a dictionary, an array of one value that value, and a longer one a list.
"""

import zlib
from collections.abc import Collection, Iterator
from itertools import chain
from struct import Struct, error, unpack_from
from typing import Any

_HEADER, _VERSION, _LITTLE = 128, b"\x00\x01", b"IM"
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
"""How the types of stored numbers are unpacked."""
_BYTES, _UINT16, _UTF8 = (1, 2), 4, 16
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMERIC = range(6, 16)
_COMPLEX = 0x0800
_NAME_AT_MOST = 512
"""Bytes from which the name of a variable can be read."""

_TAG = Struct("<II")
_ARRAY = Struct("<12I")
"""The head of an array without a name: the tags and contents of its flags and dimensions, and the tag of the name."""


class Unusual(Exception):
    """The file is of another version, damaged, or holds something that is not read here."""


def variables(content: bytes, names: Collection[str]) -> dict[str, Any]:
    """Those of these variables that a file has. Raises `Unusual`."""
    found: dict[str, Any] = {}
    try:
        for data in _arrays(content, names):
            name, start = _name(data)
            if name in found:
                raise Unusual
            if name in names:
                found[name] = _contents(data, start)
    except (error, zlib.error, IndexError, KeyError, ValueError, RecursionError):
        raise Unusual from None
    return found


def _arrays(content: bytes, names: Collection[str]) -> Iterator[bytes]:
    """The arrays of a file, unpacked, at least as far as their names; whole if the names are those that are wanted."""
    if content[_HEADER - 4 : _HEADER] != _VERSION + _LITTLE:
        raise Unusual
    at = _HEADER
    while at < len(content):
        kind, size = _TAG.unpack_from(content, at)
        data = content[at : at + 8 + size]
        if len(data) < 8 + size:
            raise Unusual
        at += 8 + size
        yield data if kind == _MATRIX else _unpacked(data, kind, names)


def _unpacked(data: bytes, kind: int, names: Collection[str]) -> bytes:
    if kind != _COMPRESSED:
        raise Unusual
    packed = zlib.decompressobj()
    first = packed.decompress(data[8:], _NAME_AT_MOST)
    if _name(first)[0] not in names:
        return first
    whole = first + packed.decompress(packed.unconsumed_tail)
    if not packed.eof:
        raise Unusual
    return whole


def _contents(data: bytes, start: int) -> Any:
    """The value of a variable whose contents begin there."""
    size, _, _, flags, _, _, _, rows, columns = unpack_from("<9I", data, 4)
    value, end = _value(data, start, flags, rows, columns)
    if end != 8 + size or end > len(data):
        raise Unusual
    return value


def _name(data: bytes) -> tuple[str, int]:
    """The name of a variable, and where its contents begin."""
    kind, _, of_flags, flags_size, _, _, of_sides, sides_size = unpack_from("<8I", data)
    if (kind, of_flags, flags_size, of_sides, sides_size) != (_MATRIX, _UINT32, 8, _INT32, 8):
        raise Unusual
    kind, start, size, end = _element(data, 40)
    if kind != _INT8 or len(data) < start + size:
        raise Unusual
    return data[start : start + size].decode("ascii"), end


def _array(data: bytes, at: int) -> tuple[Any, int]:
    """The value of an array without a name, and where it ends."""
    kind, size = _TAG.unpack_from(data, at)
    if kind == _MATRIX and not size:
        return [], at + 8
    head = _ARRAY.unpack_from(data, at)
    _, _, of_flags, flags_size, flags, _, of_sides, sides_size, rows, columns, of_name, name_size = head
    if (kind, of_flags, flags_size, of_sides, sides_size, of_name, name_size) != (
        _MATRIX, _UINT32, 8, _INT32, 8, _INT8, 0,
    ):  # fmt: skip
        raise Unusual
    value, end = _value(data, at + _ARRAY.size, flags, rows, columns)
    if end != at + 8 + size:
        raise Unusual
    return value, end


def _value(data: bytes, at: int, flags: int, rows: int, columns: int) -> tuple[Any, int]:
    if (rows > 1 and columns > 1) or flags & _COMPLEX:
        raise Unusual
    count, kind = rows * columns, flags & 0xFF
    if kind == _STRUCT:
        return _structs(data, at, count)
    if kind == _CELL:
        return _cell(data, at, count)
    if kind == _CHAR:
        return _text(data, at, rows, columns)
    if kind in _NUMERIC:
        return _numbers(data, at, count)
    raise Unusual


def _structs(data: bytes, at: int, count: int) -> tuple[Any, int]:
    kind, start, size, at = _element(data, at)
    if (kind, size) != (_INT32, 4):
        raise Unusual
    (width,) = unpack_from("<i", data, start)
    kind, start, size, at = _element(data, at)
    if kind != _INT8 or width < 1 or size % width or not size:
        raise Unusual
    fields = [
        data[place : place + width].partition(b"\0")[0].decode("ascii")
        for place in range(start, start + size, width)
    ]
    if len({*fields, ""}) <= len(fields) or any(field.startswith("_") for field in fields):
        raise Unusual
    found = []
    for _ in range(count):
        struct = {}
        for field in fields:
            struct[field], at = _array(data, at)
        found.append(struct)
    return _squeezed(found), at


def _cell(data: bytes, at: int, count: int) -> tuple[Any, int]:
    found = []
    for _ in range(count):
        value, at = _array(data, at)
        found.append(value)
    # scipy makes dictionaries of some structs in cells only.
    within = chain.from_iterable(value for value in found if type(value) is list)
    if any(type(value) in (dict, list) for value in within) or len({type(one) is dict for one in found}) > 1:
        raise Unusual
    return _squeezed(found), at


def _text(data: bytes, at: int, rows: int, columns: int) -> tuple[Any, int]:
    kind, start, size, end = _element(data, at)
    text = data[start : start + size]
    if kind == _UINT16:
        if any(text[1::2]):
            raise Unusual
        text = text[::2]
    elif kind != _UTF8 and kind not in _BYTES:
        raise Unusual
    if not rows * columns and not text:
        return [], end
    if rows != 1 or len(text) != columns or not text.isascii() or 0 in text:
        raise Unusual
    return text.decode("ascii"), end


def _numbers(data: bytes, at: int, count: int) -> tuple[Any, int]:
    kind, start, size, end = _element(data, at)
    form = Struct(f"<{count}{_NUMBERS[kind]}")
    if form.size != size:
        raise Unusual
    return _squeezed(list(form.unpack_from(data, start))), end


def _squeezed(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _element(data: bytes, at: int) -> tuple[int, int, int, int]:
    """Type, start and size of the data of an element, and where the next one begins."""
    kind, size = _TAG.unpack_from(data, at)
    if kind >> 16:  # four bytes or fewer, in the tag itself
        if kind >> 16 > 4:
            raise Unusual
        return kind & 0xFFFF, at + 4, kind >> 16, at + 8
    return kind, at + 8, size, at + 8 + -(-size // 8) * 8
