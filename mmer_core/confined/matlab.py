"""EMOTIC's ``Annotations.mat`` to plain values, in a child process: scipy's native reader crashes on damaged files.

What `mmer_core.confined.mat5` reads is read there, in an eighth of the time. Everything else is left to scipy.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmer_core.confined.mat5 import Unusual, variables
from mmer_core.taxonomy import SPLITS


def entries(path: Path) -> Iterator[Any]:
    """Yield the names of the splits present, then ``[split, entry]`` for every entry of each.

    Structs become dictionaries; everything else becomes lists, numbers and strings, with arrays flattened. Values
    without a Python type become None.
    """
    try:
        content = variables(path.read_bytes(), SPLITS)
    except Unusual:
        content = by_scipy(path)
    splits = [name for name in SPLITS if name in content]
    yield splits
    for name in splits:
        found = content.pop(name)
        for entry in found if isinstance(found, list) else [found]:
            yield [name, entry]


def by_scipy(path: Path) -> dict[str, Any]:
    """The values of the splits that are present."""
    from scipy.io import loadmat

    content = loadmat(path, simplify_cells=True, variable_names=list(SPLITS))
    return {name: _plain(content[name]) for name in SPLITS if name in content}


def _plain(value: Any) -> Any:
    import numpy as np

    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        flat = value.ravel().tolist()
        return [_plain(one) for one in flat] if value.dtype == object else [_scalar(one) for one in flat]
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return _scalar(value.item() if isinstance(value, np.generic) else value)


def _scalar(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else None
