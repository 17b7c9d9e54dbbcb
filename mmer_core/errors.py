"""Errors shown to users. Each message is one sentence: what is wrong, where, and what to do."""

from mmer_core.escaping.visible import one_line


class MmerError(Exception):
    """Base of every error that mmer raises on purpose; the command line prints it without a traceback.

    A message quotes names, lines and values from external data and is shown by terminals, logs, pages and Prefect. It is
    therefore a single line without control characters.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(one_line(one) if isinstance(one, str) else one for one in arguments))


class ConfigError(MmerError):
    """A parameter has an invalid value."""


class DatasetError(MmerError):
    """A dataset is missing, unreadable or not in the layout its reader expects."""


class EncoderError(MmerError):
    """An encoder is unknown, its weights are missing, or they belong to another architecture."""


class StoreError(MmerError):
    """The artifact store cannot be reached, read or written."""


class ArtifactNotFound(StoreError):
    """No artifact has this key."""


class ArtifactCorrupt(StoreError):
    """An artifact's bytes do not match its manifest."""


class ArtifactConflict(StoreError):
    """Another artifact with different content already exists under this key."""


class AttackError(MmerError):
    """An attack was configured or called outside its definition."""


class PoisonError(MmerError):
    """A poison, a trigger or a detector was configured or called outside its definition."""


class EngineError(MmerError):
    """The engine that runs the shards cannot be reached, or died."""
