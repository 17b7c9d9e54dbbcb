"""The worst case over attacks, image by image, as AutoAttack reports it (Croce and Hein 2020, arXiv 2003.01690)."""

from __future__ import annotations

from collections.abc import Mapping

from mmer_core.attacks.comparing import Attacked
from mmer_core.attacks.controls import CONTROL_ATTACKS
from mmer_core.attacks.record import Step, WorstCase
from mmer_core.statistics.shares import share_interval


def worst_cases(model: Attacked, clusters: Mapping[str, int], confidence: float = 0.95) -> list[WorstCase]:
    """Robust accuracy under all attacks together, at every K, and what each of them added.

    The attack that fools most of the images that are right comes first, then the one that fools most of the rest, and so on: an
    attack that adds nothing could have been left out. Controls count where nothing else was run.

    Args:
        model: Outcomes of one victim.
        clusters: The photo, or group, of every sample.
        confidence: Of Wilson's intervals.
    """
    found = []
    for pixels in sorted({k for k, _ in model.runs()}):
        ran = {attack for k, attack in model.runs() if k == pixels}
        attacks = sorted(ran.difference(CONTROL_ATTACKS) or ran)
        whole = model.at(pixels, attacks)
        fooled = {
            attack: model.at(pixels, [attack])["fooled"].reindex(whole.index, fill_value=False)
            for attack in attacks
        }
        left, steps = whole["right"], []
        while fooled:
            next_ = max(fooled, key=lambda attack: int((left & fooled[attack]).sum()))
            left = left & ~fooled.pop(next_)
            steps.append(Step(attack=next_, robust_accuracy=100 * float(left.mean())))
        found.append(
            WorstCase(
                pixels=pixels,
                n=len(whole),
                right=100 * float(whole["right"].mean()),
                robust_accuracy=share_interval(left, confidence, whole.index.map(clusters).to_numpy()),
                steps=tuple(steps),
            )
        )
    return found
