"""The CUDA device of the tests: a simulated one, or with MMER_GPU=1 a real one."""

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from support.simulated_cuda import Counts, simulated_cuda

CUDA = torch.device("cuda", 0)
REAL = os.environ.get("MMER_GPU") == "1"


def on_device() -> AbstractContextManager[Counts]:
    """A device; what a real one does is not counted."""
    return nullcontext(Counts()) if REAL else simulated_cuda()
