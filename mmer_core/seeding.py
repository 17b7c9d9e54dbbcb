"""Random streams that are identical on every machine and for every sharding and batch size."""

import hashlib
import json
import threading

import numpy as np

# Initial weights and dropout use torch's global random state, which all threads of a process share: training, or loading
# a network that is first initialised randomly, makes the other threads wait.
TORCH_RANDOM_STATE = threading.RLock()


def random_stream(seed: int, *what: str | int) -> np.random.Generator:
    """A generator seeded only by these values, such as an attack's name and a sample's id, and independent of how the
    work is divided."""
    digest = hashlib.sha256(json.dumps([seed, *what]).encode()).digest()
    return np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest, "big")))
