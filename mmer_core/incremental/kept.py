"""The images whose maps a network keeps, each in a slot: clean ones, or with pixels written into them."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmer_core.incremental.bases import Told, write
from mmer_core.incremental.network import IncrementalNetwork

_NOTHING = -1
_PASSES = 2  # of which the candidates of an image are remembered: a generation hardly has more


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
        self._told: dict[
            int, list[tuple[Told, list[int]]]
        ] = {}  # by slot: passes, and which of their candidates

    def forget_comparisons(self) -> None:
        """Clean images are others from now on, which may be the same."""
        self._compared.clear()

    def slots(self, clean: Tensor, rows: Sequence[int], bases: Tensor | None) -> list[int]:
        """The slots of candidates' images ``rows`` of ``clean``, with the pixels ``bases`` ``(B, K)`` written into them."""
        of_row = {row: self._slot(row, clean[row]) for row in dict.fromkeys(rows)}
        slots = [of_row[row] for row in rows]
        if bases is not None:
            self._write(clean, rows, slots, bases.cpu())
        return slots

    def tell(self, slots: Sequence[int], told: Told) -> None:
        """Remember what the network told of candidates, in case that a search goes on from one of them."""
        numbers: dict[int, list[int]] = {}
        for number, slot in enumerate(slots):
            numbers.setdefault(slot, []).append(number)
        for slot, those in numbers.items():
            self._told[slot] = [*self._told.get(slot, [])[1 - _PASSES :], (told, those)]

    def _slot(self, row: int, image: Tensor) -> int:
        """The slot with the maps of this image; those of a clean one are computed now if necessary."""
        known = self._slots.get(row)
        if known is None or not (row in self._compared or torch.equal(known[1], image)):
            slot = known[0] if known else self._free_slot()
            self._slots[row] = slot, image.clone()
            self._told.pop(slot, None)
            self._bases[slot] = _NOTHING
            if not self.written:
                self.network.remember(slot, self._prepared(image[None]))
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
        known: dict[int, tuple[Told, list[int], list[int]]] = {}
        for slot, number in {slots[number]: number for number in stale}.items():
            self._bases[slot] = bases[number]
            # Mostly it was a candidate in one of the last passes, whose windows are all that changes.
            for told, numbers in self._told.pop(slot, []):
                same = [one for one in numbers if torch.equal(told.after[one], bases[number])]
                if same:
                    _, into, which = known.setdefault(id(told), (told, [], []))
                    into.append(slot)
                    which.append(same[0])
                    break
            else:
                image = write(clean[rows[number]], bases[number])
                self.network.remember(slot, self._prepared(image[None]))
        for told, into, which in known.values():
            there = told.pixels.device
            of_pass = torch.tensor(which, device=there)
            self.network.write(
                torch.tensor(into, dtype=torch.int32, device=there),
                told.pixels[of_pass],
                [each[of_pass] for each in told.windows],
            )
