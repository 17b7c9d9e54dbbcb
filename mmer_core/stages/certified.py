"""A model that sees a few random pixels -> what it decides by many drawings, and how many pixels may change before that does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmer_core.attacks.certificates import ABSTAINED, certificates
from mmer_core.attacks.gallery import Gallery
from mmer_core.attacks.record import CertifiedPoint, CertifiedSummary
from mmer_core.config import AblationConfig, AttackConfig, EncoderConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.ablation import ablated_features, ablation_of
from mmer_core.encoders.features import Features
from mmer_core.encoders.steps import Steps
from mmer_core.errors import ConfigError
from mmer_core.heavy import inference_mode, pd, torch
from mmer_core.inference import TrainedModel
from mmer_core.seeding import random_stream
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.identity import some_fields
from mmer_core.stages.photos import attacked_rows
from mmer_core.statistics.shares import share_interval
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.task_kinds import kind_of
from mmer_core.task_kinds.kind import Samples
from mmer_core.threads import shared_cores
from mmer_core.tracing import running
from mmer_core.usage import leg

CERTIFIED_FILE = "certified.parquet"
_TOGETHER = 4  # images between two steps
_AT_ONCE = 32  # drawings, each compared with all texts where the kind of task ranks


def check_can_be_certified(
    context: Context, prepared: ArtifactKey, attack: AttackConfig, encoders: EncoderConfig
) -> None:
    """Notice what cannot be certified before anything is trained.

    Args:
        encoders: With ``ablation:`` in front.

    Raises:
        ConfigError: The attack is after something that is no decision to certify.
        EncoderError: The encoder cannot be ablated so.
    """
    card = Prepared.open(context.parts(prepared)).card
    if fault := kind_of(card.task).not_certified(attack, card.labels):
        raise ConfigError(fault)
    context.image_encoder(encoders.image, encoders.image_size)


def _identity(config: AttackConfig) -> Mapping[str, Any]:
    return {"config": some_fields(config, "stream", "split", "images", "seed", "pixels")}


@stage("certified", version=1, title="certify {config.images} images", gpu=True, identity=_identity)
def certify(
    context: Context,
    workspace: Workspace,
    config: AttackConfig,
    ablation: AblationConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    model: ArtifactKey,
    gallery: ArtifactKey | None = None,
) -> CertifiedSummary:
    """Decide about images by many drawings of each, and certify it.

    Files: ``certified.parquet``, a row for each image that an attack would be on: ``sample``, ``decision``, ``right``, and what
    `Certificates` says of it. What the model reads beside the attacked image stays as it is stored.

    Args:
        config: Which images, and by which numbers of pixels.
        gallery: Of the split, where the kind of task ranks.

    Raises:
        ConfigError: The model sees whole images, or the attack is after something that is no decision to certify.
    """
    split = Prepared.open(context.parts(prepared)).split(config.split)
    trained = TrainedModel.open(context.folder(model), context.device)
    kind, encoders = kind_of(trained.spec.task), trained.spec.encoders
    ablated = ablation_of(encoders.image)
    if ablated is None:
        raise ConfigError(
            f"model {model} sees whole images, so nothing of it can be certified; give one of ablation:"
        )
    if fault := kind.not_certified(config, trained.spec.labels):
        raise ConfigError(fault)
    kept, inner = ablated
    encoder = context.image_encoder(inner, encoders.image_size)
    among = None if gallery is None else Gallery.open(context.folder(gallery), context.device)
    rows = np.array(attacked_rows(config, split))
    samples = Samples(trained, split, Features(context.parts(features)), rows, among)
    decisions, each = kind.decisions(samples, config), ablation.guesses + ablation.draws

    def votes_on(place: int, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        generator = random_stream(config.seed, "certify", split.ids[rows[place]])
        drawn = ablated_features(encoder, image, kept, each, generator)
        with inference_mode(), running():
            found = [
                decisions.read({config.stream: seen}, torch.full((len(seen),), place, device=seen.device))
                for seen in drawn.split(_AT_ONCE)
            ]
        return torch.cat(found).float().cpu().numpy()

    def voted(start: int, stop: int) -> npt.NDArray[np.float32]:
        with leg("read"):
            images = encoder.resize(
                np.asarray(split.images(config.stream)[split.image_rows(rows[start:stop])])
            )
        with leg("model"):
            return np.stack([votes_on(start + number, image) for number, image in enumerate(images)])

    with shared_cores(context.runtime.workers):
        votes = Steps(workspace.scratch, context.progress).rows(len(rows), each, _TOGETHER, voted)
    area = encoder.size[0] * encoder.size[1]
    found = certificates(votes, ablation.guesses, ablation.confidence, area, kept)
    right = decisions.right(found.decision)
    table = pd.DataFrame(
        {
            "sample": [split.ids[row] for row in rows],
            "decision": [decisions.name(one) for one in found.decision],
            "right": right,
            "hits": found.hits,
            "lower": found.lower,
            "radius": found.radius,
        }
    )
    table.to_parquet(workspace.out / CERTIFIED_FILE, index=False)
    safe = np.where(right, found.radius, ABSTAINED)
    clusters = split.clusters[rows]
    return CertifiedSummary(
        kept=kept,
        pixels=area,
        draws=ablation.draws,
        confidence=ablation.confidence,
        n=len(rows),
        abstained=share_interval(found.radius == ABSTAINED, clusters=clusters),
        median=_median(safe),
        points=tuple(
            CertifiedPoint(pixels=pixels, accuracy=share_interval(safe >= pixels, clusters=clusters))
            for pixels in sorted({0, *config.pixels})
        ),
    )


def load_certified(folder: Path) -> pd.DataFrame:
    """The table of a ``certified`` artifact."""
    return pd.read_parquet(folder / CERTIFIED_FILE)


def _median(radius: npt.NDArray[np.int64]) -> int | None:
    """The largest number that a half of ``radius (n,)`` reaches or exceeds; None below 0."""
    found = int(np.sort(radius)[::-1][(len(radius) - 1) // 2])
    return found if found >= 0 else None
