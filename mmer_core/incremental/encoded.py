"""Image encoders on images that differ in a few pixels: one shared plan per encoder, an evaluator per thread."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from mmer_core.encoders.base import ImageEncoder
from mmer_core.encoders.mirror import MirroredEncoder
from mmer_core.encoders.registry import wrappers
from mmer_core.errors import EncoderError

if TYPE_CHECKING:  # both import all that evaluates candidates
    from mmer_core.incremental.evaluator import Evaluator
    from mmer_core.incremental.planning import Planner

_PLANNERS: weakref.WeakKeyDictionary[ImageEncoder, Planner] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


def planner_of(encoder: ImageEncoder) -> Planner:
    """The encoder's planner on its current device, made at the first call and then shared by all threads.

    A mirrored encoder is planned as one of its two views: a view is local, their average is not.

    Raises:
        EncoderError: The encoder sees random pixels.
    """
    from mmer_core.incremental.planning import Planner

    if any(one.random for one in wrappers(encoder.name)):
        raise EncoderError(
            f"{encoder.name} sees pixels that are drawn at random, and an attack on one drawing says nothing of a decision by many: "
            "certify that instead, mmer robustness --defence ablation"
        )
    view = encoder.view if isinstance(encoder, MirroredEncoder) else encoder
    with _LOCK:
        planner = _PLANNERS.get(view)
        if planner is None or planner.device != view.device:
            planner = _PLANNERS[view] = Planner(view.module, view.scale, view.size, view.device)
        return planner


def evaluator_of(encoder: ImageEncoder) -> Evaluator:
    """A new evaluator of the encoder, for one thread."""
    from mmer_core.incremental.evaluator import CandidateEvaluator, MirroredEvaluator

    planner = planner_of(encoder)
    return MirroredEvaluator(planner) if isinstance(encoder, MirroredEncoder) else CandidateEvaluator(planner)
