"""`mmer_core.attack`: how few pixels change the answer of any torch classifier?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mmer_core.attacks import (
    ATTACKS,
    Attack,
    ClassifierVictim,
    DominantEmotionFlip,
    Outcome,
    RandomPixels,
    outcomes_table,
    run_attack,
    success_curves,
    write_changes,
)
from mmer_core.attacks.comparing import Attacked, compare_with_control
from mmer_core.attacks.record import CurvePoint
from mmer_core.bars import progress_bars
from mmer_core.errors import AttackError
from mmer_core.facade.showing import tables_html
from mmer_core.heavy import pd, torch
from mmer_core.progress import silent
from mmer_core.reporting.comparison_table import differences
from mmer_core.reporting.table import Cell, Row, Table, cell
from mmer_core.statistics.comparison import Comparison, Rule


@dataclass(frozen=True)
class AttackedImages:
    """What few pixels did to a classifier, beside as many random pixels. A notebook shows it as tables.

    Attributes:
        clean: ``(n, H, W, 3)`` uint8, the images as they were.
        outcomes: One for each image.
        control: The same of random pixels with as many queries; empty where the attack is that itself.
    """

    clean: npt.NDArray[np.uint8]
    outcomes: tuple[Outcome, ...]
    control: tuple[Outcome, ...]

    @property
    def images(self) -> npt.NDArray[np.uint8]:
        """``(n, H, W, 3)`` uint8, the images as the attack left them: fooled, or as far as it came."""
        rows = zip(self.clean, self.outcomes, strict=True)
        return np.stack([write_changes(image, outcome.changed) for image, outcome in rows])

    @property
    def fooled(self) -> npt.NDArray[np.bool_]:
        """``(n,)`` which images the attack changed the answer to; those that were wrong as they were do not count."""
        return np.array([outcome.status == "fooled" for outcome in self.outcomes])

    @cached_property
    def curves(self) -> list[CurvePoint]:
        """Success and robust accuracy of the attack and of the control, in percent, with 95 % intervals."""
        table = outcomes_table([*self.outcomes, *self.control])
        return success_curves(table, right=table["status"] != "already")

    @cached_property
    def beside_control(self) -> Comparison | None:
        """The paired difference in success between the attack and random pixels; None without a control."""
        table = outcomes_table([*self.outcomes, *self.control])
        attacked = Attacked("network", table, (table["status"] != "already").to_numpy())
        clusters = {outcome.sample: row for row, outcome in enumerate(self.outcomes)}
        return next(iter(compare_with_control([attacked], Rule(), clusters)), None)

    @property
    def table(self) -> pd.DataFrame:
        """A row for the attack and one for the control: images attacked (right as they were), percent of them fooled,
        percent of all that stay right (``robust``), each with its interval, and the median of the queries that a success took."""
        rows = [
            (
                *(point.attack, point.pixels, point.n),
                *(point.success.value, point.success.low, point.success.high),
                *(_ends(point)),
                point.median_queries,
            )
            for point in self.curves
        ]
        shares = [f"{name}{end}" for name in ("fooled", "robust") for end in ("", "_low", "_high")]
        return pd.DataFrame(rows, columns=["attack", "pixels", "attacked", *shares, "median_queries"])

    def __repr__(self) -> str:
        return self.table.round(1).to_string(index=False)

    def _repr_html_(self) -> str:
        rows = [
            Row(
                f"{point.attack}, K = {point.pixels}",
                (Cell(f"{point.n:,}"), cell(point.success), cell(point.robust_accuracy)),
            )
            for point in self.curves
        ]
        columns = ("Attack", "attacked", "fooled, %", "robust accuracy, %")
        found = [self.beside_control] if self.beside_control else []
        return tables_html(
            [
                Table("With 95 % intervals", columns, tuple(rows)),
                *(differences("Beside random pixels", [one]) for one in found),
            ]
        )


def attack(
    network: torch.nn.Module,
    images: npt.ArrayLike | torch.Tensor,
    labels: npt.ArrayLike | torch.Tensor,
    *,
    pixels: int = 1,
    attack: str | Attack = "sparse-rs",
    budget: int = 400,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    control: bool = True,
    seed: int = 0,
    batch_size: int = 64,
) -> AttackedImages:
    """Attack a torch classifier by changing a few pixels of each image, beside as many random pixels.

    >>> import mmer_core as mmer, numpy as np, torch
    >>> class Brightest(torch.nn.Module):  # class 1: some pixel is bright
    ...     def forward(self, images):
    ...         bright = images.amax(dim=(1, 2, 3)) - 0.6
    ...         return torch.stack([-bright, bright], dim=1)
    >>> images = np.random.default_rng(0).integers(0, 100, (5, 32, 32, 3), dtype=np.uint8)
    >>> found = mmer.attack(Brightest(), images, labels=np.zeros(5, int), pixels=1, budget=50)
    >>> found.table[["attack", "attacked", "fooled"]]
          attack  attacked  fooled
    0     random         5   100.0
    1  sparse-rs         5   100.0
    >>> int((found.images != images).any(axis=3).sum(axis=(1, 2)).max())
    1

    Args:
        network: From normalised images ``(B, 3, H, W)`` to logits ``(B, C)``; what else it may be, says
            `mmer_core.attacks.ClassifierVictim`.
        images: ``(n, H, W, 3)`` uint8, or ``(n, 3, H, W)`` floats in 0..1, which are rounded to 256 values.
        labels: ``(n,)`` the class of each image. An image is fooled when another class has the highest logit.
        pixels: Most pixels to change in an image (``K``).
        attack: Name of an attack, of which `mmer_core.attacks.ATTACKS` has them, or one with options of its own.
        budget: Most queries for each image.
        mean: By channel, that images are normalised with, for pixels in 0..1; by default the network reads 0..1.
        std: Standard deviation by channel.
        control: Whether to try random pixels, too, with the same budget.
        seed: Of every search.
        batch_size: Most images in one call of the network.

    Raises:
        AttackError: Images or labels have another shape, an argument is out of its range, or the network gives NaN.
    """
    pictures, truth = _pictures(images), _on_host(labels)
    if truth.shape != (len(pictures),):
        raise AttackError(f"labels of shape {truth.shape} are not one for each of {len(pictures)} images")
    if isinstance(attack, str) and attack not in ATTACKS:
        raise AttackError(f"there is no attack {attack!r}; choose from {', '.join(ATTACKS)}")
    chosen = ATTACKS[attack]() if isinstance(attack, str) else attack
    victim = ClassifierVictim(network, mean, std, size=pictures.shape[1:3])
    tried = [chosen, RandomPixels()] if control and not isinstance(chosen, RandomPixels) else [chosen]
    with progress_bars(lambda label: silent) as bar:
        outcomes, *others = (
            tuple(
                run_attack(
                    victim,
                    DominantEmotionFlip(truth),
                    one,
                    pictures,
                    [str(row) for row in range(len(pictures))],
                    pixels=pixels,
                    budget=budget,
                    seed=seed,
                    batch_size=batch_size,
                    progress=bar(one.name),
                )
            )
            for one in tried
        )
    return AttackedImages(pictures, outcomes, *(others or [()]))


def _pictures(images: npt.ArrayLike | torch.Tensor) -> npt.NDArray[np.uint8]:
    """``(n, H, W, 3)`` uint8. Raises `AttackError`."""
    found = _on_host(images)
    if found.ndim == 4 and found.shape[3] == 3 and found.dtype == np.uint8:
        return found
    if found.ndim == 4 and found.shape[1] == 3 and np.issubdtype(found.dtype, np.floating):
        if found.size and not (found.min() >= 0 and found.max() <= 1):
            raise AttackError(
                f"floating images are from {found.min():g} to {found.max():g}; give pixels in 0..1, and mean and std as "
                "arguments"
            )
        return np.rint(255 * found).astype(np.uint8).transpose(0, 2, 3, 1)
    raise AttackError(
        f"images are {found.dtype} {found.shape}; give uint8 (n, H, W, 3), or floats (n, 3, H, W) in 0..1"
    )


def _on_host(values: npt.ArrayLike | torch.Tensor) -> npt.NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _ends(point: CurvePoint) -> tuple[float | None, float | None, float | None]:
    robust = point.robust_accuracy
    return (robust.value, robust.low, robust.high) if robust else (None, None, None)
