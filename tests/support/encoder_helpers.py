"""Images for encoders, and what every error of theirs must look like."""

import numpy as np
import pytest

from mmer_core.errors import EncoderError


def pictures(count: int, side: int, seed: int = 0) -> np.ndarray:
    """``(count, side, side, 3)`` uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def refused(match: str) -> pytest.RaisesExc[EncoderError]:
    """Expect an `EncoderError` that is one sentence on one line and matches ``match``."""
    return pytest.raises(EncoderError, match=rf"(?s)\A(?=[^\n]*\Z).*{match}")
