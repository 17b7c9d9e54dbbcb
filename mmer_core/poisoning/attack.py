"""The shape of an attack that crafts poisons: hyper-parameters in an object, one call for many poisons."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.errors import PoisonError
from mmer_core.heavy import Tensor, pd, torch
from mmer_core.poisoning.encoder import ImageEncoder
from mmer_core.poisoning.plans import Mode, PoisonPlan, clean_label
from mmer_core.poisoning.poison import PoisonAttack, TrainingSet
from mmer_core.poisoning.pulling import encode_all, pull_runtime
from mmer_core.poisoning.visibility import visibility
from mmer_core.progress import Progress, silent
from mmer_core.seeding import random_stream

Images = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PoisonRecord:
    """One poison, judged as the uint8 image that it is.

    Distances are Euclidean, between features, averaged over the encoders that crafted.

    Attributes:
        poison: Id of the base that it was made of.
        attack: Name of the attack.
        target: Row of its target.
        seed: Seed of the run.
        distance_before: From its base to the target.
        distance_after: From the poison to the target.
        centre_before: From the mean of the bases with the same target to the target.
        centre_after: From the mean of their poisons to the target.
        l2: Length of the change from base to poison, in gray levels.
        linf: Largest change of one value, in gray levels.
        psnr: Of the poison against its base, in dB; ``inf`` if nothing changed.
        ssim: Structural similarity of the two, at most 1.
    """

    poison: str
    attack: str
    target: int
    seed: int
    distance_before: float
    distance_after: float
    centre_before: float
    centre_after: float
    l2: float
    linf: int
    psnr: float
    ssim: float


@dataclass(frozen=True, eq=False)
class Crafted:
    """Poisons: ``images`` ``(n, H, W, 3)`` uint8, what became of each, and in a sentence what computed them."""

    images: Images
    records: list[PoisonRecord]
    runtime: str = ""

    def table(self) -> pd.DataFrame:
        """One row a poison, one column a field of `PoisonRecord`."""
        names = [field.name for field in fields(PoisonRecord)]
        return pd.DataFrame([asdict(record) for record in self.records], columns=names)


@dataclass(frozen=True, eq=False)
class Batch:
    """What an attack optimises together; targets are features, which stay as they are.

    Attributes:
        bases: ``(B, 3, H, W)`` float32 in 0..255: what the poison may not leave far behind.
        start: The same shape: where to begin.
        targets: ``(B, 3, H, W)``: the target's pixels, poison by poison.
        features: For each encoder the target's features, ``(B, D)``.
        groups: ``(B, B)`` float32, 1 where two poisons have the same target.
    """

    bases: Tensor
    start: Tensor
    targets: Tensor
    features: list[Tensor]
    groups: Tensor


@dataclass(frozen=True, eq=False)
class _Task:
    """The arguments of `CraftedAttack.craft`, the target's row of each base, and the targets' features by encoder."""

    encoders: Sequence[ImageEncoder]
    bases: Images
    targets: Images
    ids: Sequence[str]
    rows: Rows
    known: Sequence[Tensor]
    seed: int
    batch_size: int

    def distances(self, images: Images) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Of each image, and of the mean of its group, to the target; ``(n,)`` each."""
        single, centre = np.zeros(len(self.rows)), np.zeros(len(self.rows))
        for encoder, targets in zip(self.encoders, self.known, strict=True):
            found = encode_all(encoder, torch.tensor(images), self.batch_size)
            gap = found - targets[torch.from_numpy(self.rows).to(targets.device)]
            apart = gap.cpu().double().numpy()  # (n, D)
            single += np.linalg.norm(apart, axis=1) / len(self.encoders)
            for target in np.unique(self.rows):
                group = self.rows == target
                centre[group] += np.linalg.norm(apart[group].mean(axis=0)) / len(self.encoders)
        return single, centre


class CraftingOptions(Config):
    """Options of every crafted attack."""

    iterations: int = Field(200, ge=1, description="Gradient steps.")
    noise: float = Field(
        0.0,
        ge=0,
        description="Half width of uniform noise to begin with, in gray levels; none in the papers.",
    )


class CraftedAttack(PoisonAttack):
    """Images of the target, crafted so that an encoder takes them for others; a concrete one writes ``_optimise``.

    Attributes:
        divisible: Whether the poisons of a target can be crafted apart.
    """

    divisible: ClassVar[bool] = True
    options: CraftingOptions

    def plan(self, train: TrainingSet, count: int, mode: Mode, seed: int) -> PoisonPlan:
        plan = clean_label(train.carriers, 1, count, mode=mode, seed=seed)
        return replace(plan, name=self.name, triggered=False)

    def craft(
        self,
        encoders: Sequence[ImageEncoder],
        bases: Images,
        targets: Images,
        ids: Sequence[str],
        *,
        target_of: Sequence[int] | Rows | None = None,
        seed: int = 0,
        batch_size: int = 64,
        progress: Progress = silent,
    ) -> Crafted:
        """Craft one poison out of every base.

        The poisons of a batch are optimised together, yet each by itself (or with the others of its target,
        where the attack is about several): shards and batch sizes change a poison by no more than the
        encoder's own rounding does, as long as the poisons of a target stay in one shard. What is random
        depends on (seed, attack, id).

        Args:
            encoders: Networks whose features are to collide, all of one input size and on one device.
            bases: ``(n, H, W, 3)`` uint8 in their input size; ``n`` may be 0.
            targets: ``(m, H, W, 3)`` uint8.
            ids: ``n`` different ids of the bases.
            target_of: ``n`` rows of ``targets``; by default base ``i`` belongs to target ``i``.
            seed: Seed of what is random.
            batch_size: Most poisons in one pass.
            progress: Gets the number of poisons that are done, after every batch.

        Raises:
            PoisonError: An argument has another shape or range, or the encoders disagree about the input.
        """
        rows = _checked(encoders, bases, targets, ids, target_of, batch_size)
        known = [encode_all(encoder, torch.tensor(targets), batch_size) for encoder in encoders]
        task = _Task(encoders, bases, targets, ids, rows, known, seed, batch_size)
        images, runtimes = bases.copy(), set()
        done = 0
        for part in self._batches(rows, batch_size):
            batch = self._batch(task, part)
            runtimes |= {pull_runtime(encoder, batch.bases) for encoder in encoders}
            images[part] = _as_uint8(self._optimise(encoders, batch))
            done += len(part)
            progress(done, len(ids), self.name)
        return Crafted(images, self._records(task, images), "; ".join(sorted(runtimes)))

    @abstractmethod
    def _optimise(self, encoders: Sequence[ImageEncoder], batch: Batch) -> Tensor:
        """Poisons ``(B, 3, H, W)`` float in 0..255; what rounding them to integers does must stay in the budget."""

    def _batches(self, rows: Rows, batch_size: int) -> Iterator[Rows]:
        if self.divisible:
            yield from (np.arange(len(rows))[at : at + batch_size] for at in range(0, len(rows), batch_size))
            return
        waiting: list[Rows] = []
        for target in np.unique(rows):
            group = np.flatnonzero(rows == target)
            if len(group) > batch_size:
                raise PoisonError(
                    f"target {target} has {len(group)} poisons, which {self.name} crafts together; "
                    f"give a batch_size of {len(group)} or more instead of {batch_size}"
                )
            if sum(map(len, waiting)) + len(group) > batch_size:
                yield np.concatenate(waiting)
                waiting = []
            waiting.append(group)
        if waiting:
            yield np.concatenate(waiting)

    def _batch(self, task: _Task, part: Rows) -> Batch:
        device = task.encoders[0].device
        bases, rows = task.bases[part], task.rows[part]
        noise = np.zeros(bases.shape, np.float32)
        if self.options.noise:
            for at, row in enumerate(part):
                stream = random_stream(task.seed, self.name, task.ids[row])
                noise[at] = stream.uniform(-self.options.noise, self.options.noise, bases[at].shape)
        clean = _as_float(bases, device)
        of = torch.from_numpy(rows).to(device)
        return Batch(
            bases=clean,
            start=(clean + torch.from_numpy(noise).permute(0, 3, 1, 2).to(device)).clamp(0, 255),
            targets=_as_float(task.targets[rows], device),
            features=[features[of] for features in task.known],
            groups=(of[:, None] == of).float(),
        )

    def _records(self, task: _Task, images: Images) -> list[PoisonRecord]:
        before, after = task.distances(task.bases), task.distances(images)
        records = []
        for at, name in enumerate(task.ids):
            seen = visibility(task.bases[at], images[at])
            records.append(
                PoisonRecord(
                    poison=name,
                    attack=self.name,
                    target=int(task.rows[at]),
                    seed=task.seed,
                    distance_before=float(before[0][at]),
                    distance_after=float(after[0][at]),
                    centre_before=float(before[1][at]),
                    centre_after=float(after[1][at]),
                    l2=seen.l2,
                    linf=seen.linf,
                    psnr=seen.psnr,
                    ssim=seen.ssim,
                )
            )
        return records


def _checked(
    encoders: Sequence[ImageEncoder],
    bases: Images,
    targets: Images,
    ids: Sequence[str],
    target_of: Sequence[int] | Rows | None,
    batch_size: int,
) -> Rows:
    """The target's row of each base."""
    if not encoders:
        raise PoisonError("no encoder to craft poisons with; give one or more")
    sizes = {encoder.size for encoder in encoders}
    if len(sizes) > 1 or len({encoder.device for encoder in encoders}) > 1:
        raise PoisonError(
            f"the encoders read {sorted(sizes)} on {sorted({str(encoder.device) for encoder in encoders})}; "
            "give encoders of one input size on one device"
        )
    for what, images in (("bases", bases), ("targets", targets)):
        if images.dtype != np.uint8 or images.shape[1:] != (*encoders[0].size, 3):
            raise PoisonError(
                f"{what} are {images.dtype} {images.shape}; give uint8 (n, {', '.join(map(str, encoders[0].size))}, 3)"
            )
    if len(ids) != len(bases) or len(set(ids)) < len(ids):
        raise PoisonError(f"{len(set(ids))} different ids for {len(bases)} bases; give each base its own")
    if batch_size < 1:
        raise PoisonError(f"batch_size is {batch_size}; give 1 or more")
    rows = np.arange(len(bases)) if target_of is None else np.asarray(target_of, dtype=np.int64)
    if rows.shape != (len(bases),) or (len(rows) and not 0 <= rows.min() <= rows.max() < len(targets)):
        raise PoisonError(
            f"{len(bases)} bases and {len(targets)} targets do not belong together by target_of; "
            f"give each base a row from 0 to {len(targets) - 1}"
        )
    return rows


def _as_float(images: Images, device: torch.device) -> Tensor:
    """In the layout that gradients come in: sums of tensors in two layouts take many times as long."""
    return torch.tensor(images).to(device).permute(0, 3, 1, 2).float().contiguous()


def _as_uint8(pixels: Tensor) -> Images:
    return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
