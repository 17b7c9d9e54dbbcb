"""The images whose maps a network keeps, each in a slot: clean ones, or with pixels written into them."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmer_core.incremental.bases import ScoredPass, write
from mmer_core.incremental.network import IncrementalNetwork

_NOTHING = -1


class _LastCall(NamedTuple):
    """The passes of the last call with candidates of an image, and the numbers of these candidates in each."""

    call: int
    passes: list[tuple[ScoredPass, list[int]]]


_NO_CALL = _LastCall(0, [])


class KeptImages:
    """Has the maps of the images that are asked for in their slots; the least recently used make room.

    Args:
        network: Keeps and computes the maps.
        capacity: Its slots.
        written: Pixels that are written into each image; 0 for clean images.
        prepared: ``(B, h, w, 3)`` uint8 to the network's input.
    """

    def __init__(
        self,
        network: IncrementalNetwork,
        capacity: int,
        written: int,
        prepared: Callable[[Tensor], Tensor],
    ) -> None:
        self.network, self.capacity, self.written = network, capacity, written
        self._prepared = prepared
        self._slots: OrderedDict[int, tuple[int, Tensor]] = OrderedDict()  # row -> slot and clean image
        self._compared: set[int] = set()  # rows of which that is known to be in the present clean images
        self._bases = torch.full((capacity, written), _NOTHING)  # by slot
        self._calls = 0
        self._scored: dict[int, _LastCall] = {}  # by slot

    def begin(self, *, same_images: bool) -> None:
        """Begin a call with candidates of all images that it asks about.

        Args:
            same_images: Whether the clean images are known to be those of the last call.
        """
        self._calls += 1
        if not same_images:
            self._compared.clear()

    def slots(self, clean: Tensor, rows: Sequence[int], bases: Tensor | None) -> list[int]:
        """The slots of candidates' images ``rows`` of ``clean``, with the pixels ``bases`` ``(B, K)`` written into them."""
        of_row = {row: self._slot(row, clean[row]) for row in dict.fromkeys(rows)}
        slots = [of_row[row] for row in rows]
        if bases is not None:
            self._write(clean, rows, slots, bases.cpu())
        return slots

    def remember(self, slots: Sequence[int], scored: ScoredPass) -> None:
        """Keep a pass until the next call about the same images, in case that a search goes on from one of its candidates."""
        numbers: dict[int, list[int]] = {}
        for number, slot in enumerate(slots):
            numbers.setdefault(slot, []).append(number)
        for slot, own in numbers.items():
            last = self._scored.get(slot)
            if last is None or last.call != self._calls:
                last = self._scored[slot] = _LastCall(self._calls, [])
            last.passes.append((scored, own))

    def _slot(self, row: int, image: Tensor) -> int:
        """The slot with the maps of this image; those of a clean one are computed now if necessary."""
        known = self._slots.get(row)
        if known is None or not (row in self._compared or torch.equal(known[1], image)):
            slot = known[0] if known else self._free_slot()
            self._slots[row] = slot, image[:0]  # no image's, should there be no memory for the maps
            self._scored.pop(slot, None)
            self._bases[slot] = _NOTHING
            if not self.written:
                self.network.remember(slot, self._prepared(image[None]))
            self._slots[row] = slot, image.clone()
        self._compared.add(row)
        self._slots.move_to_end(row)
        return self._slots[row][0]

    def _free_slot(self) -> int:
        """An unused slot, or that of the least recently used image."""
        if len(self._slots) < self.capacity:
            return len(self._slots)
        row, (slot, _) = self._slots.popitem(last=False)
        self._compared.discard(row)
        return slot

    def _write(self, clean: Tensor, rows: Sequence[int], slots: Sequence[int], bases: Tensor) -> None:
        """Change what is written in these slots."""
        stale = (self._bases[slots] != bases).any(dim=1).nonzero()[:, 0].tolist()
        known: dict[int, tuple[ScoredPass, list[int], list[int]]] = {}
        last = {slots[number]: number for number in stale}
        for slot, number in last.items():
            self._bases[slot] = _NOTHING
            # Mostly it was a candidate of the last call, whose windows are all that changes.
            for scored, numbers in self._scored.pop(slot, _NO_CALL).passes:
                same = [one for one in numbers if torch.equal(scored.after[one], bases[number])]
                if same:
                    _, into, which = known.setdefault(id(scored), (scored, [], []))
                    into.append(slot)
                    which.append(same[0])
                    break
            else:
                image = write(clean[rows[number]], bases[number])
                self.network.remember(slot, self._prepared(image[None]))
                self._bases[slot] = bases[number]
        for scored, into, which in known.values():
            device = scored.pixels.device
            chosen = torch.tensor(which, device=device)
            self.network.write(
                torch.tensor(into, dtype=torch.int32, device=device),
                scored.pixels[chosen],
                [each[chosen] for each in scored.windows],
            )
            for slot in into:
                self._bases[slot] = bases[last[slot]]
