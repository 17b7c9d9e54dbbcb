"""Pixle: pixels of the image itself, copied to other places of it."""

from __future__ import annotations

from pydantic import Field

from mmer_core.attacks.attack import BlackBoxAttack, Generation, Search, Targets
from mmer_core.base_config import Config
from mmer_core.heavy import torch

_GENERATION = 64  # candidates drawn at a time


class Pixle(BlackBoxAttack):
    """Pomponi, Scardapane & Uncini, *Pixle: a fast and effective black-box attack based on rearranging pixels*,
    2022.

    https://arxiv.org/abs/2202.02236, with its random mapping. A query picks a random patch of the clean image
    and copies its pixels, one by one, to random places of the image as attacked so far. Queries of one stage
    (the paper's restart) start from the same image; at its end the best copy is kept, if it lowered the
    margin, and the next stage goes on from there.

    The paper does not bound the changed pixels. Here the ``K`` pixels are divided among the stages: each
    may use its equal share of those that are left, so a patch never has more pixels than that, and queries are
    divided equally too. There are no more stages than ``K`` or queries. The margin of the clean image is no query, so
    the first stage keeps its best copy in any case.
    """

    name = "pixle"
    title = "Pixle (copied pixels)"
    summary = "copies of the image's own pixels (Pomponi et al. 2022)"

    class Options(Config):
        stages: int = Field(
            5, ge=1, description="Stages that share budget and pixels; 20 restarts in the paper."
        )
        side: int = Field(10, ge=1, description="Longest side of a copied patch in pixels; 10 in the paper.")

    options: Options

    def _search(self, targets: Targets) -> Search:
        return _Rearrangement(self.options, targets)


class _Rearrangement(Search):
    """What is kept so far, ``(n, K)`` places and the places that their colours come from, of which ``(n,)`` are in use;
    and the same of the best copy of this stage. Behind those in use, the last is repeated."""

    of_images = (
        *("_places", "_sources", "_used", "_kept", "_best_places", "_best_sources", "_best_used", "_lowest"),
        *("_drawn_places", "_drawn_sources", "_drawn_used"),
    )

    def __init__(self, options: Pixle.Options, targets: Targets) -> None:
        super().__init__(targets)
        self._side, self._query, self._stage = options.side, 0, 0
        # A stage without a query could keep nothing.
        self._stages = max(min(options.stages, targets.pixels, targets.budget), 1)
        self._places = self._sources = torch.zeros(
            len(targets), targets.pixels, dtype=torch.int64, device=targets.device
        )
        self._used = torch.zeros(len(targets), dtype=torch.int64, device=targets.device)
        self._kept = self._lowest = targets.unknown()
        self._best_places, self._best_sources, self._best_used = self._places, self._sources, self._used
        self._drawn_places, self._drawn_sources, self._drawn_used = self._places, self._sources, self._used

    def propose(self) -> Generation:
        count = min(self._end_of_stage() - self._query, _GENERATION)
        self._drawn_places, self._drawn_sources, self._drawn_used = self._copy_patches(count)
        self._query += count
        return Generation(self._drawn_places, self.targets.colours(self._drawn_sources))

    def learn(self, margins: torch.Tensor) -> None:
        best = margins.argmin(dim=1)
        of_image = torch.arange(len(best), device=best.device)
        lowest = margins[of_image, best]
        better = lowest < self._lowest
        self._lowest = torch.where(better, lowest, self._lowest)
        row = better[:, None]
        self._best_places = torch.where(row, self._drawn_places[of_image, best], self._best_places)
        self._best_sources = torch.where(row, self._drawn_sources[of_image, best], self._best_sources)
        self._best_used = torch.where(better, self._drawn_used[of_image, best], self._best_used)
        if self._query == self._end_of_stage():
            self._stage += 1
            better = self._lowest < self._kept
            self._kept = torch.where(better, self._lowest, self._kept)
            self._places = torch.where(better[:, None], self._best_places, self._places)
            self._sources = torch.where(better[:, None], self._best_sources, self._sources)
            self._used = torch.where(better, self._best_used, self._used)

    def _end_of_stage(self) -> int:
        """Queries when the stage ends."""
        return self.targets.budget * (self._stage + 1) // self._stages

    def _copy_patches(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Places and sources ``(n, Q, K)`` of what is kept, with a patch copied on top, and how many are in use ``(n, Q)``."""
        targets, draws = self.targets, self.targets.draws(self._query, count)
        height, width = targets.heights[:, None], targets.widths[:, None]  # (n, 1)
        used = self._used[:, None]
        share = (targets.pixels - used) // (self._stages - self._stage)

        def below(high: torch.Tensor) -> torch.Tensor:
            return draws.below(high[..., None], 1)[..., 0]  # (n, Q)

        tall = 1 + below(height.clamp(max=self._side).minimum(share))
        wide = 1 + below((share // tall).clamp(max=self._side).minimum(width))
        top, left = below(height - tall + 1), below(width - wide + 1)
        size, columns = tall * wide, torch.arange(targets.pixels, device=tall.device)
        # Column by column: what is kept, the pixels of the patch row by row, and the last of them again.
        number = (columns - used[..., None]).minimum(size[..., None] - 1)  # (n, Q, K)
        kept, number = number < 0, number.clamp(min=0)
        down, right = number // wide[..., None], number % wide[..., None]
        sources = (top[..., None] + down) * width[..., None] + left[..., None] + right
        places = draws.distinct(min(self._side**2, targets.pixels), targets.areas).gather(2, number)
        return (
            torch.where(kept, self._places[:, None], places),
            torch.where(kept, self._sources[:, None], sources),
            used + size,
        )
