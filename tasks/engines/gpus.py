"""Which process gets which GPU."""

import os

from mmer_core.config import RuntimeConfig

VISIBLE = "CUDA_VISIBLE_DEVICES"


def own_gpus(runtime: RuntimeConfig) -> bool:
    """Whether each process is to compute on a GPU of its own, where there are GPUs."""
    return runtime.device in ("auto", "cuda")


def gpus_here() -> tuple[str, ...]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if VISIBLE in os.environ:
        return tuple(gpu.strip() for gpu in os.environ[VISIBLE].split(",") if gpu.strip())
    import torch

    return tuple(map(str, range(torch.cuda.device_count())))
