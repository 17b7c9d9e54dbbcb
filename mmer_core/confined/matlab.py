"""EMOTIC's ``Annotations.mat`` to plain values, in a child process: scipy's native reader crashes on damaged files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from mmer_core.taxonomy import SPLITS


def entries(path: Path) -> Iterator[Any]:
    """Yield the names of the splits present, then ``[split, entry]`` for every entry of each.

    Structs become dictionaries; everything else becomes lists, numbers and strings, with arrays flattened. Values
    without a Python type become None.
    """
    content = loadmat(path, simplify_cells=True, variable_names=list(SPLITS))
    splits = [name for name in SPLITS if name in content]
    yield splits
    for name in splits:
        found = _plain(content.pop(name))
        for entry in found if isinstance(found, list) else [found]:
            yield [name, entry]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        flat = value.ravel().tolist()
        return [_plain(one) for one in flat] if value.dtype == object else [_scalar(one) for one in flat]
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    return plain if isinstance(plain, str | int | float) else None
