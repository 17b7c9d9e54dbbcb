"""How good a model is: metrics with intervals and baselines, calibration, and what its spaces look like.

Everything here is numpy on arrays, deterministic for a seed. Arrays that make no sense together (shapes,
NaN, labels other than 0 and 1) raise `ValueError`.
"""
