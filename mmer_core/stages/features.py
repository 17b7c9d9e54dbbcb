"""Prepared arrays -> features of the frozen encoders, shard by shard."""

from collections.abc import Callable, Collection, Mapping
from threading import Lock
from typing import Any

from mmer_core.config import EncoderConfig
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.encoders import ImageEncoder, encoder_identity, features
from mmer_core.encoders.features import (
    TEXTS_TOGETHER,
    FeatureShard,
    FeaturesSummary,
    ShardSummary,
    merge_shards,
    plan_shards,
)
from mmer_core.encoders.parts import parts
from mmer_core.errors import ConfigError
from mmer_core.stages.context import Context
from mmer_core.stages.cutting import size_by_cost
from mmer_core.stages.declaration import Sharded, Shards, stage
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.task_kinds import kind_of
from mmer_core.threads import shared_cores
from mmer_core.usage import Usage

_LEAST_IMAGES = 64
_OPENING = Lock()
_OPENED: dict[tuple[str, ArtifactKey, str], PreparedSplit] = {}


def check_encoders(context: Context, config: EncoderConfig) -> None:
    """Notice an unknown or missing encoder before hours of work on the way to it.

    Raises:
        EncoderError: An encoder is unknown, or its weights are missing.
    """
    for modality in ("image", "text"):
        encoder_key_config(context, config, modality)


def plan_features(
    context: Context, encoders: EncoderConfig, prepared: ArtifactKey, splits: Collection[str]
) -> list[FeatureShard]:
    """The shards that make up the features of some splits of a prepared dataset.

    Raises:
        ConfigError: The encoders give features of parts, and the dataset is one of emotions.
    """
    dataset = Prepared.open(context.parts(prepared))
    if feature_parts(encoders) and not kind_of(dataset.card.task).reads_parts:
        raise ConfigError(
            "regions: and tokens: are for captioned datasets; name the encoders of a labelled dataset without them"
        )
    return [shard for shard in plan_shards(dataset, encoders.shard_size) if shard.split in splits]


def feature_parts(config: EncoderConfig) -> dict[str, int]:
    """Parts that the features of a stream consist of, where they are several."""
    found = {"context": parts(config.image), "text": parts(config.text)}
    return {stream: count for stream, count in found.items() if count > 1}


def encoder_key_config(context: Context, config: EncoderConfig, modality: str) -> dict[str, object]:
    """What decides the features of a modality: versions and weights rather than names."""
    if modality == "text":
        return dict(encoder_identity(context.encoder_name(config.text), "text"))
    return encoder_identity(context.encoder_name(config.image), "image") | {"size": config.image_size}


def _shard_identity(context: Context, encoders: EncoderConfig, shard: FeatureShard) -> Mapping[str, Any]:
    return {"encoders": encoder_key_config(context, encoders, shard.modality)}


def _identity(context: Context, encoders: EncoderConfig) -> Mapping[str, Any]:
    return {"encoders": {name: encoder_key_config(context, encoders, name) for name in ("image", "text")}}


def _opened(context: Context, prepared: ArtifactKey, split: str) -> PreparedSplit:
    """A split, kept from shard to shard: each would read the table of all its texts anew."""
    wanted = context.store.url, prepared, split
    with _OPENING:
        if wanted not in _OPENED:
            _OPENED.clear()
            _OPENED[wanted] = Prepared.open(context.parts(prepared)).split(split)
        return _OPENED[wanted]


def _samples(context: Context, prepared: ArtifactKey, shard: FeatureShard) -> str:
    return shard.named(_opened(context, prepared, shard.split))


@stage(
    "feature-shard",
    version=3,
    title="encode {shard.split} {shard.stream} {shard.start}",
    gpu=True,
    identity=_shard_identity,
    samples=_samples,
)
def encode_shard(
    context: Context,
    workspace: Workspace,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
    shard: FeatureShard,
) -> ShardSummary:
    """Features of one shard.

    Raises:
        EncoderError: The encoder is unknown, or its weights are missing or do not fit.
    """
    encoder = (
        context.text_encoder(encoders.text)
        if shard.modality == "text"
        else context.image_encoder(encoders.image, encoders.image_size)
    )
    if isinstance(encoder, ImageEncoder):
        workspace.use({"encoders": {"image": {"size": encoder.size[0]}}})
    split = _opened(context, prepared, shard.split)
    with shared_cores(context.runtime.workers):
        return features.encode_shard(
            shard,
            split,
            encoder,
            workspace.out,
            batch_size=context.runtime.batch_size,
            scratch=workspace.scratch,
            progress=context.progress,
        )


@stage("features", version=3, identity=_identity)
def merge_features(
    context: Context,
    workspace: Workspace,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
    splits: Collection[str],
    shards: Shards,
) -> FeaturesSummary:
    """The features of some splits as one artifact."""
    return merge_shards([(shard, context.folder(key)) for shard, key in shards], workspace.out)


def rest_of_features(shard: FeatureShard, usage: Callable[[], Usage | None]) -> list[FeatureShard]:
    """What is left of a stream, in shards of about equal time that begin where batches do."""
    if shard.stop >= shard.until:
        return []
    least = TEXTS_TOGETHER if shard.modality == "text" else _LEAST_IMAGES
    return shard.cut(max(least, size_by_cost(shard.stop - shard.start, usage())))


ENCODING = Sharded("encode", plan_features, encode_shard, merge_features, rest_of_features)
