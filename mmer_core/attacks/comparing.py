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
    first: Sequence[Attacked], second: Sequence[Attacked], rule: Rule, clusters: Mapping[str, int]
) -> list[Comparison]:
    """Robust accuracy over all images, and success among those that both models had right, at every K, each with Holm's
    correction for all K. An image counts as fooled if any search succeeds that was run on both models.

    Args:
        first: And ``second``: every training of a model, attacked on the same samples; those of one only are left out.
            Which images both had right is asked of pairs of trainings, in order.
        rule: What decides.
        clusters: The photo, or group, of every sample.
    """
    names = first[0].name, second[0].name
    runs = _common([*first, *second])
    robust, success = [], []
    for pixels in sorted({k for k, _ in runs}):
        attacks = sorted({a for k, a in runs if k == pixels} - {*CONTROL_ATTACKS})
        tables = [one.at(pixels, attacks) for one in (*first, *second)]
        samples = sorted(set.intersection(*(set(table.index) for table in tables)))
        if not samples:
            continue
        photo = np.array([clusters[sample] for sample in samples])
        right, fooled = (
            np.stack([table.loc[samples, name].to_numpy() for table in tables])
            for name in ("right", "fooled")
        )
        listed = ", ".join(attacks)
        safe = np.stack([*map(robustly_right, right, fooled)])
        robust.append(
            compare_shares(
                Question(
                    f"{ROBUST} K={pixels}",
                    f"Which model is right more often under {listed}?",
                    f"robust accuracy, K = {pixels}",
                    *names,
                ),
                safe[: len(first)],
                safe[len(first) :],
                rule,
                photo,
            )
        )
        pairs = [
            (place % len(first), len(first) + place % len(second))
            for place in range(max(len(first), len(second)))
        ]
        mine = np.stack([fooled_of_shared(right[one], right[other], fooled[one]) for one, other in pairs])
        theirs = np.stack([fooled_of_shared(right[one], right[other], fooled[other]) for one, other in pairs])
        shared = ~np.isnan(mine)
        if shared.any(axis=1).all():
            asked = shared.any(axis=0)
            success.append(
                compare_shares(
                    Question(
                        f"shared success K={pixels}",
                        f"Which model is fooled less often by {listed}, of the images that both had right?",
                        f"fooled of those both had right, K = {pixels}",
                        *names,
                        better="lower",
                    ),
                    mine[:, asked],
                    theirs[:, asked],
                    rule,
                    photo[asked],
                    paired=True,
                )
            )
    return [*corrected(robust, rule), *corrected(success, rule)]


def compare_with_control(
    model: Sequence[Attacked], rule: Rule, clusters: Mapping[str, int]
) -> list[Comparison]:
    """Every attack beside the strictest control of the same ``K``, on the images that did not meet the criterion as they
    were, with Holm's correction for all attacks and K.

    Args:
        model: Every training of it.
        rule: What decides.
        clusters: The photo, or group, of every sample.
    """
    name = model[0].name
    tried = [Attacked(name, *_unmet(one)) for one in model]
    runs = _common(tried)
    found = []
    for pixels, attack in sorted(runs):
        control = control_among(one for k, one in runs if k == pixels)
        if attack in CONTROL_ATTACKS or control is None:
            continue
        pairs = [
            _paired(one.at(pixels, [attack]), one.at(pixels, [control]))[["fooled", "fooled_other"]]
            for one in tried
        ]
        both = (
            pd.concat(pairs, axis=1).sort_index().astype(float)
        )  # NaN where one training does not have an image
        found.append(
            compare_shares(
                Question(
                    control_topic(name, attack, pixels),
                    f"Does {attack} fool the {name} model more often than {_PLAIN[control]}?",
                    f"fooled, {name} model, K = {pixels}",
                    attack,
                    control,
                ),
                both["fooled"].to_numpy().reshape(-1, len(model)).T,
                both["fooled_other"].to_numpy().reshape(-1, len(model)).T,
                rule,
                both.index.map(clusters).to_numpy(),
                paired=True,
            )
        )
    return corrected(found, rule)


def _common(models: Sequence[Attacked]) -> set[tuple[int, str]]:
    """Each K and attack that was run on all of them."""
    return set.intersection(*(one.runs() for one in models))


def control_topic(model: str, attack: str, pixels: int) -> str:
    return f"{CONTROLS}{model} {attack} K={pixels}"


def _paired(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    return first.merge(second, left_index=True, right_index=True, suffixes=("", "_other"))


def _unmet(model: Attacked) -> tuple[pd.DataFrame, np.ndarray]:
    kept = (model.outcomes["status"] != "already").to_numpy()
    return model.outcomes[kept], np.asarray(model.right)[kept]
