"""Prepared arrays -> features of the frozen encoders, shard by shard."""

from collections.abc import Sequence
from dataclasses import asdict

from mmer_core.config import EncoderConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders import encoder_identity
from mmer_core.encoders.features import FeatureShard, encode_shard, merge_shards, plan_shards
from mmer_core.encoders.parts import parts
from mmer_core.errors import ConfigError
from mmer_core.stages.context import Context
from mmer_core.store import Artifact, ArtifactKey, Workspace
from mmer_core.task_kinds import kind_of
from mmer_core.threads import shared_cores

VERSION = 2


def check_encoders(context: Context, config: EncoderConfig) -> None:
    """Notice an unknown or missing encoder before hours of work on the way to it.

    Raises:
        EncoderError: An encoder is unknown, or its weights are missing.
    """
    for modality in ("image", "text"):
        encoder_key_config(context, config, modality)


def plan_features(context: Context, config: EncoderConfig, prepared: ArtifactKey) -> list[FeatureShard]:
    """The shards that make up the features of a prepared dataset.

    Raises:
        ConfigError: The encoders give features of parts, and the dataset is one of emotions.
    """
    dataset = Prepared.open(context.folder(prepared))
    if feature_parts(config) and not kind_of(dataset.card.task).reads_parts:
        raise ConfigError(
            "regions: and tokens: are for captioned datasets; name the encoders of an emotion dataset without them"
        )
    return plan_shards(dataset, config.shard_size)


def feature_parts(config: EncoderConfig) -> dict[str, int]:
    """Parts that the features of a stream consist of, where they are several."""
    found = {"context": parts(config.image), "text": parts(config.text)}
    return {stream: count for stream, count in found.items() if count > 1}


def encode_features_shard(
    context: Context, config: EncoderConfig, prepared: ArtifactKey, shard: FeatureShard
) -> ArtifactKey:
    """Features of one shard (kind ``feature-shard``).

    Raises:
        EncoderError: The encoder is unknown, or its weights are missing or do not fit.
    """

    def build(workspace: Workspace) -> dict[str, int]:
        encoder = (
            context.text_encoder(config.text)
            if shard.modality == "text"
            else context.image_encoder(config.image, config.image_size)
        )
        split = Prepared.open(context.folder(prepared)).split(shard.split)
        with shared_cores(context.runtime.workers):
            return encode_shard(
                shard,
                split,
                encoder,
                workspace.out,
                batch_size=context.runtime.batch_size,
                progress=context.progress,
            )

    key_config = {"encoder": encoder_key_config(context, config, shard.modality), "shard": asdict(shard)}
    return context.run("feature-shard", VERSION, key_config, {"prepared": prepared}, build).key


def merge_features(
    context: Context,
    config: EncoderConfig,
    prepared: ArtifactKey,
    shards: Sequence[tuple[FeatureShard, ArtifactKey]],
) -> Artifact:
    """All shards as one artifact (kind ``features``)."""

    def build(workspace: Workspace) -> dict[str, int]:
        return merge_shards([(shard, context.folder(key)) for shard, key in shards], workspace.out)

    key_config = {
        "image": encoder_key_config(context, config, "image"),
        "text": encoder_key_config(context, config, "text"),
    }
    inputs = {"prepared": prepared} | {f"shard{i:04d}": key for i, (_, key) in enumerate(shards)}
    return context.run("features", VERSION, key_config, inputs, build)


def encoder_key_config(context: Context, config: EncoderConfig, modality: str) -> dict[str, object]:
    """What key_config the features of a modality, for artifact keys."""
    if modality == "text":
        return dict(encoder_identity(context.encoder_name(config.text), "text"))
    return encoder_identity(context.encoder_name(config.image), "image") | {"size": config.image_size}
