"""Libraries that take seconds to import, imported when they are first used: ``from mmer_core.heavy import torch``.

Modules that commands import without computing anything (configurations, and what declares their options) take them from
here. Their annotations must not be evaluated: ``from __future__ import annotations``. Modules that need torch to be
imported at all, because they define networks, import it plainly, and are imported in the functions that use them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import faiss as faiss
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    import torch as torch
    import transformers as transformers
    from scipy import optimize as optimize
    from scipy import sparse as sparse
    from scipy import special as special
    from scipy import stats as stats
    from sklearn import manifold as manifold
    from sklearn.feature_extraction import text as bags_of_words
    from torch import Tensor as Tensor
    from torch import nn as nn
    from torch.nn import functional as functional
else:

    class _Unloaded(ModuleType):
        """Stands for the module of its name; a module itself, so that torch.compile takes it for one."""

        loaded = None

        def __getattr__(self, name):
            if self.loaded is None:
                self.loaded = import_module(self.__name__)
            return getattr(self.loaded, name)

    faiss, torch, transformers = map(_Unloaded, ("faiss", "torch", "transformers"))
    nn, functional = _Unloaded("torch.nn"), _Unloaded("torch.nn.functional")
    pd, pa, pc, pq = map(_Unloaded, ("pandas", "pyarrow", "pyarrow.compute", "pyarrow.parquet"))
    optimize, sparse, special, stats = (
        _Unloaded(f"scipy.{name}") for name in ("optimize", "sparse", "special", "stats")
    )
    manifold, bags_of_words = map(_Unloaded, ("sklearn.manifold", "sklearn.feature_extraction.text"))
    Tensor = "torch.Tensor"  # for annotations; isinstance needs torch.Tensor


@contextmanager
def inference_mode() -> Iterator[None]:
    """`torch.inference_mode`, also as a decorator, which torch's would need torch for."""
    with torch.inference_mode():
        yield


@contextmanager
def no_grad() -> Iterator[None]:
    """`torch.no_grad`, likewise."""
    with torch.no_grad():
        yield


__all__ = [
    "Tensor",
    "bags_of_words",
    "faiss",
    "functional",
    "inference_mode",
    "manifold",
    "nn",
    "no_grad",
    "optimize",
    "pa",
    "pc",
    "pd",
    "pq",
    "sparse",
    "special",
    "stats",
    "torch",
    "transformers",
]
