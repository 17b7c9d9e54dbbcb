"""Random streams that are the same on every machine, shard and batch size."""

import hashlib
import json
import threading

import numpy as np

# Initial weights and dropout draw from torch's global random state, which all threads of a process share: whoever
# trains, or loads a network whose weights are first drawn, keeps the others waiting.
TORCH_RANDOM_STATE = threading.RLock()


def random_stream(seed: int, *what: str | int) -> np.random.Generator:
    """A generator that depends on these values only, such as the name of an attack and the id of a sample: on nothing
    about how the work is divided."""
    digest = hashlib.sha256(json.dumps([seed, *what]).encode()).digest()
    return np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest, "big")))
