"""Two models under the same attacks on the same images, and every attack beside the control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmer_core.attacks.controls import CONTROL_ATTACKS, control_among
from mmer_core.attacks.denominators import fooled_of_shared, robustly_right
from mmer_core.attacks.random_corners import RandomCorners
from mmer_core.attacks.random_pixels import RandomPixels
from mmer_core.heavy import pd
from mmer_core.statistics.comparison import Comparison, Question, Rule, compare_shares, corrected

ROBUST, CONTROLS = "robust accuracy", "control "
"""How topics of comparisons begin."""
_PLAIN = {RandomPixels.name: "random pixels", RandomCorners.name: "random pixels in corner colours"}


class Attacked(NamedTuple):
    """A model under attack: its name, the table of its outcomes, and ``(rows,)`` whether its clean answer is true."""

    name: str
    outcomes: pd.DataFrame
    right: Sequence[bool] | np.ndarray

    def at(self, pixels: int, attacks: Sequence[str]) -> pd.DataFrame:
        """``right`` and ``fooled`` by sample, in order of their ids: fooled where any of the attacks succeeds with K."""
        table = self.outcomes.assign(right=self.right, fooled=self.outcomes["status"] == "fooled")
        chosen = table[(table["pixels"] == pixels) & table["attack"].isin(attacks)]
        return chosen.groupby("sample", sort=True)[["right", "fooled"]].any()

    def runs(self) -> set[tuple[int, str]]:
        """Each K and attack that was run."""
        return {*zip(self.outcomes["pixels"], self.outcomes["attack"], strict=True)}


def compare_attacked(
    first: Attacked, second: Attacked, rule: Rule, clusters: Mapping[str, int]
) -> list[Comparison]:
    """Robust accuracy over all images, and success among those that both models had right, at every K, each with Holm's
    correction for all K. An image counts as fooled if any search succeeds that was run on both models.

    Args:
        first: And ``second``: attacked on the same samples; those of one only are left out.
        rule: What decides.
        clusters: The photo, or group, of every sample.
    """
    robust, success = [], []
    for pixels in sorted({k for k, _ in first.runs() & second.runs()}):
        attacks = sorted({a for k, a in first.runs() & second.runs() if k == pixels} - {*CONTROL_ATTACKS})
        both = _paired(first.at(pixels, attacks), second.at(pixels, attacks))
        if both.empty:
            continue
        photo = both.index.map(clusters).to_numpy()
        listed = ", ".join(attacks)
        names = first.name, second.name
        robust.append(
            compare_shares(
                Question(
                    f"{ROBUST} K={pixels}",
                    f"Which model is right more often under {listed}?",
                    f"robust accuracy, K = {pixels}",
                    *names,
                ),
                robustly_right(both["right"], both["fooled"]),
                robustly_right(both["right_other"], both["fooled_other"]),
                rule,
                photo,
            )
        )
        shared = (both["right"] & both["right_other"]).to_numpy()
        if shared.any():
            success.append(
                compare_shares(
                    Question(
                        f"shared success K={pixels}",
                        f"Which model is fooled less often by {listed}, of the images that both had right?",
                        f"fooled of those both had right, K = {pixels}",
                        *names,
                        better="lower",
                    ),
                    fooled_of_shared(both["right"], both["right_other"], both["fooled"]),
                    fooled_of_shared(both["right_other"], both["right"], both["fooled_other"]),
                    rule,
                    photo[shared],
                )
            )
    return [*corrected(robust, rule), *corrected(success, rule)]


def compare_with_control(model: Attacked, rule: Rule, clusters: Mapping[str, int]) -> list[Comparison]:
    """Every attack beside the strictest control of the same ``K``, on the images that did not meet the criterion as they
    were, with Holm's correction for all attacks and K."""
    tried = Attacked(model.name, *_unmet(model))
    found = []
    for pixels, attack in sorted(tried.runs()):
        control = control_among(name for k, name in tried.runs() if k == pixels)
        if attack in CONTROL_ATTACKS or control is None:
            continue
        both = _paired(tried.at(pixels, [attack]), tried.at(pixels, [control]))
        found.append(
            compare_shares(
                Question(
                    control_topic(model.name, attack, pixels),
                    f"Does {attack} fool the {model.name} model more often than {_PLAIN[control]}?",
                    f"fooled, {model.name} model, K = {pixels}",
                    attack,
                    control,
                ),
                both["fooled"],
                both["fooled_other"],
                rule,
                both.index.map(clusters).to_numpy(),
            )
        )
    return corrected(found, rule)


def control_topic(model: str, attack: str, pixels: int) -> str:
    return f"{CONTROLS}{model} {attack} K={pixels}"


def _paired(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    return first.merge(second, left_index=True, right_index=True, suffixes=("", "_other"))


def _unmet(model: Attacked) -> tuple[pd.DataFrame, np.ndarray]:
    kept = (model.outcomes["status"] != "already").to_numpy()
    return model.outcomes[kept], np.asarray(model.right)[kept]
