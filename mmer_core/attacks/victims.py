"""Victims: what an attack may ask, namely the scores of pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Protocol, get_args, runtime_checkable

import numpy as np

from mmer_core.attacks.candidates import Candidates
from mmer_core.attacks.criteria import Criterion
from mmer_core.errors import AttackError
from mmer_core.evaluation_mode import evaluating
from mmer_core.heavy import inference_mode, torch
from mmer_core.memory import Passes
from mmer_core.runtimes import Runtime
from mmer_core.tracing import running
from mmer_core.transfer import to_device

if TYPE_CHECKING:
    from mmer_core.incremental.evaluator import CandidateEvaluator, Evaluator
    from mmer_core.incremental.planning import Method, Planner


class Victim(Protocol):
    """Scores images; everything the attacked pixels do not touch is computed once, ahead of the attack."""

    @property
    def size(self) -> tuple[int, int] | None:
        """``(H, W)`` of the images it reads; None for a `SparseVictim` that holds images of several sizes itself."""
        ...

    def scores(self, images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Score a batch.

        Args:
            images: ``(B, H, W, 3)`` uint8.
            rows: ``(B,)`` int64, the attacked sample that each image derives from, so that its text or
                its other stream can be looked up.

        Returns:
            ``(B, S)`` float32, higher is more; the ``S`` columns mean what the criterion takes them for.
        """
        ...


@runtime_checkable
class SparseVictim(Victim, Protocol):
    """A victim that scores candidates faster than the images they make, equal to float rounding."""

    @property
    def device(self) -> torch.device:
        """Where it likes images and candidates to be."""
        ...

    def candidate_scores(
        self, images: torch.Tensor, rows: torch.Tensor, candidates: Candidates
    ) -> torch.Tensor:
        """What ``scores`` says of the candidates' images, to float rounding.

        Args:
            images: ``(n, H, W, 3)`` uint8, all clean images under attack; empty for a victim that holds them itself.
            rows: ``(B,)`` int64 on the CPU, the image that each candidate changes.
            candidates: ``B`` candidates on its device.
        """
        ...

    def images_at_once(self, pixels: int) -> int | None:
        """How many images it is best asked about in turn, for candidates of ``K = pixels``; None: any."""
        ...

    def pass_size(self, useful: float) -> int:
        """Candidates that it scores best in one call, of the kind that it scored last.

        Args:
            useful: Queries, of all images together, until each image has probably improved once, by how often the last ones
                did; on other devices than the CPU, where looking would wait, two an image. What is behind an improvement is
                thrown away: of so many candidates in a call, about a third.
        """
        ...


Head = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""Features ``(B, D)`` and rows ``(B,)`` to scores ``(B, S)``."""


class Gradients(Protocol):
    """What a white-box attack learns of the margins of images that derive from one sample, beside judgements."""

    def screen(self, image: np.ndarray, candidates: Candidates) -> np.ndarray:
        """Estimate to first order.

        Args:
            image: ``(H, W, 3)`` uint8.
            candidates: ``Q`` changes of one pixel each.

        Returns:
            ``(Q,)`` float64 margins.
        """
        ...

    def margin(self, image: np.ndarray) -> tuple[float, np.ndarray]:
        """The margin of an image ``(H, W, 3)`` float32 in 0..255, and its gradient ``(H, W, 3)`` float32."""
        ...


@runtime_checkable
class WhiteBoxVictim(Victim, Protocol):
    """A victim that hands out its gradients."""

    def gradients(self, criterion: Criterion, row: int) -> Gradients:
        """Those of images that derive from the sample ``row``."""
        ...


class ImageEncoder(Protocol):
    """The part of an encoder that an attack needs; it owns the normalisation."""

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the images it reads."""
        ...

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """``(B, H, W, 3)`` uint8 images to ``(B, D)`` features."""
        ...


class ClassifierVictim:
    """Any torch image classifier, as it is: ``(B, 3, H, W)`` normalised floats in, ``(B, S)`` logits out.

    A model that reads gray images, returns its logits in a tuple, a dict or a model output, or computes in another floating type
    is one as well (`mmer_core.attacks.networks.classifiers`); candidates of the last kind are scored densely.

    Args:
        module: The classifier; it is put into evaluation mode, because dropout or batch statistics would
            make a score depend on the rest of the batch.
        mean: Per-channel mean that the classifier was trained with, for pixels in 0..1; one number where it reads gray.
        std: Per-channel standard deviation, for pixels in 0..1.
        size: ``(H, W)`` of its input.
        method: How candidates are scored: ``dense``, ``incremental`` (recomputing only what changed pixels
            influence), or the estimated faster one.
        runtime: What computes the dense part of it; ``auto`` is the fastest that is installed.

    Candidates are scored by a copy of the classifier, made when the first are: do not train it in between.

    Raises:
        AttackError: The module is none of torch's, or an argument is nothing that a victim can have.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        size: tuple[int, int],
        *,
        method: Method = "auto",
        runtime: Runtime = "auto",
    ) -> None:
        from mmer_core.attacks.networks.classifiers import PlainClassifier
        from mmer_core.incremental.planning import Method

        if not isinstance(module, torch.nn.Module):
            raise AttackError(
                f"a victim is a torch.nn.Module, and this is a {type(module).__name__}: wrap it in one"
            )
        if method not in get_args(Method) or runtime not in get_args(Runtime):
            raise AttackError(
                f"a victim has no method {method!r} with the runtime {runtime!r}: choose from "
                f"{', '.join(get_args(Method))}, and from {', '.join(get_args(Runtime))}"
            )
        centre, scale = _channels(mean), _channels(std)
        if len(centre) not in (1, 3) or len(scale) != len(centre) or not min(scale) > 0:
            raise AttackError(
                f"mean {mean} and std {std} of a victim must be three numbers each, or one where it reads gray, all "
                "finite and std above 0"
            )
        if (
            not isinstance(size, Sequence)
            or len(size) != 2
            or not all(isinstance(n, Integral) and n > 0 for n in size)
        ):
            raise AttackError(f"the size of a victim's input is {size}: give (height, width) in pixels")
        self._module = evaluating(module)
        tensors = [*module.parameters(), *module.buffers()]
        self._device = tensors[0].device if tensors else torch.device("cpu")
        statistics = (
            torch.tensor(values, device=self._device).view(1, -1, 1, 1) for values in (centre, scale)
        )
        self._plain = PlainClassifier(self._module, *statistics)
        self._size, self._method, self._runtime = size, method, runtime
        self._passes = Passes()

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the images it reads."""
        return self._size

    @property
    def device(self) -> torch.device:
        """The classifier's."""
        return self._device

    @inference_mode()
    def scores(self, images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, S)`` float32; ``rows`` plays no part, since a classifier reads nothing but pixels.

        Raises:
            AttackError: The images are no uint8 RGB, or what the classifier makes of them is no logits.
        """
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != torch.uint8:
            raise AttackError(
                f"images to score are {images.dtype} {tuple(images.shape)}; give uint8 (B, H, W, 3)"
            )
        with running():
            # Contiguous, because a network may view its maps.
            return self._passes(
                lambda part: self._plain(
                    to_device(part, self._device).permute(0, 3, 1, 2).contiguous().float() / 255
                ),
                images,
            )

    def candidate_scores(
        self, images: torch.Tensor, rows: torch.Tensor, candidates: Candidates
    ) -> torch.Tensor:
        """Logits ``(B, S)`` float32 of candidates."""
        return evaluate(self._evaluator, images, rows, candidates)

    def images_at_once(self, pixels: int) -> int | None:
        """As many as incremental evaluation keeps clean maps of."""
        return self._evaluator.images_at_once(pixels)

    def pass_size(self, useful: float) -> int:
        """The evaluator's."""
        return self._evaluator.pass_size(useful)

    def gradients(self, criterion: Criterion, row: int) -> Gradients:
        """As `WhiteBoxVictim.gradients`."""
        return _Gradients(self._evaluator, lambda logits, _: logits, criterion, row)

    @cached_property
    def planner(self) -> Planner:
        """How candidates are scored."""
        from mmer_core.incremental.planning import Planner

        with torch.inference_mode(), running():
            network = self._plain.network(self._size)
        if network is None:
            return Planner(self._plain, _to_unit, self._size, self._device, method="dense", runtime="torch")
        return Planner(
            network,
            lambda pixels: self._plain.normalised(_to_unit(pixels)),
            self._size,
            self._device,
            method=self._method,
            runtime=self._runtime,
        )

    @cached_property
    def _evaluator(self) -> CandidateEvaluator:
        from mmer_core.incremental.evaluator import CandidateEvaluator

        return CandidateEvaluator(self.planner)


def _channels(values: Sequence[float]) -> list[float]:
    """A finite number a channel, none where that is not what the values are."""
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError):
        return []
    return found if all(map(math.isfinite, found)) else []


def _to_unit(pixels: torch.Tensor) -> torch.Tensor:
    return pixels / 255


class EncodedVictim:
    """A frozen image encoder and a trained head.

    Args:
        encoder: Turns pixels into features.
        head: ``head(features (B, D), rows (B,)) -> scores (B, S)``: the trained part, holding the text and
            the untouched stream of every attacked sample and looking them up by ``rows``.
    """

    def __init__(self, encoder: ImageEncoder, head: Head) -> None:
        self._encoder, self._head = encoder, head

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the images it reads."""
        return self._encoder.size

    @inference_mode()
    def scores(self, images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Scores ``(B, S)`` float32 of the head."""
        return self._read(self._encoder.encode(images), rows)

    def _read(self, features: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        with running():
            return self._head(features, to_device(rows, features.device)).float()


class IncrementalVictim(EncodedVictim):
    """The same with an evaluator: it scores candidates faster than the images that they make, and has gradients.

    Args:
        encoder: As of `EncodedVictim`.
        head: As of `EncodedVictim`.
        evaluator: Encodes candidates; `mmer_core.incremental.evaluator_of` for those of `mmer_core.encoders`.
    """

    def __init__(self, encoder: ImageEncoder, head: Head, evaluator: Evaluator) -> None:
        super().__init__(encoder, head)
        self._evaluator = evaluator

    @property
    def device(self) -> torch.device:
        """The evaluator's."""
        return self._evaluator.device

    @inference_mode()
    def candidate_scores(
        self, images: torch.Tensor, rows: torch.Tensor, candidates: Candidates
    ) -> torch.Tensor:
        """Scores ``(B, S)`` float32 of the head for candidates."""
        return self._read(evaluate(self._evaluator, images, rows, candidates), rows)

    def images_at_once(self, pixels: int) -> int | None:
        """As many as incremental evaluation keeps clean maps of."""
        return self._evaluator.images_at_once(pixels)

    def pass_size(self, useful: float) -> int:
        """The evaluator's."""
        return self._evaluator.pass_size(useful)

    def gradients(self, criterion: Criterion, row: int) -> Gradients:
        """As `WhiteBoxVictim.gradients`."""
        return _Gradients(self._evaluator, self._head, criterion, row)


def evaluate(
    evaluator: Evaluator, images: torch.Tensor, rows: torch.Tensor, candidates: Candidates
) -> torch.Tensor:
    from mmer_core.incremental.bases import Base, coded

    exchange, width = candidates.exchange, images.shape[2]
    if exchange is None or not evaluator.exchanges(exchange.usual):
        return evaluator(images, rows.tolist(), candidates.positions(width), candidates.colours)
    there = exchange.columns[..., None].expand(-1, -1, 3)
    leaving, entering = (
        exchange.places.gather(1, exchange.columns),
        candidates.places.gather(1, exchange.columns),
    )
    # What leaves is as in the image itself.
    before = images.flatten(1, 2)[to_device(rows, leaving.device)[:, None], leaving]
    changes = Candidates(
        torch.cat([leaving, entering], dim=1), torch.cat([before, candidates.colours.gather(1, there)], dim=1)
    )
    base = Base(
        coded(exchange.places, exchange.colours), coded(candidates.places, candidates.colours), exchange.usual
    )
    return evaluator(images, rows.tolist(), changes.positions(width), changes.colours, base)


@dataclass(frozen=True)
class _Gradients:
    evaluator: Evaluator
    head: Head
    criterion: Criterion
    row: int

    def screen(self, image: np.ndarray, candidates: Candidates) -> np.ndarray:
        places, colours = candidates.positions(image.shape[1])[:, 0], candidates.colours[:, 0]
        first_order = self.evaluator.first_order
        return first_order(torch.from_numpy(image), places, colours, self._value).double().numpy()

    def margin(self, image: np.ndarray) -> tuple[float, np.ndarray]:
        margin, gradient = self.evaluator.first_order.gradient(torch.from_numpy(image), self._value)
        return float(margin), gradient.numpy()

    def _value(self, features: torch.Tensor) -> torch.Tensor:
        which = torch.tensor([self.row], device=features.device)
        return self.criterion.margin(self.head(features, which).float(), which)
