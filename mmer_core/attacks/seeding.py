"""The random stream of one search, the same on every machine, shard and batch size."""

import hashlib
import json

import numpy as np


def random_stream(seed: int, attack: str, pixels: int, sample: str) -> np.random.Generator:
    """A generator that depends on these four values only, so on nothing about how the work is divided."""
    digest = hashlib.sha256(json.dumps([seed, attack, pixels, sample]).encode()).digest()
    return np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest, "big")))
