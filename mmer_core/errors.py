"""The errors users meet. Each message is one sentence: what is wrong, where, and what to do."""

from mmer_core.escaping.visible import one_line


class MmerError(Exception):
    """Base of every error that mmer raises on purpose; the command line prints it without a traceback.

    A message quotes names, lines and values that others wrote, and is shown by terminals, logs, pages and Prefect: it is
    one line, in which nothing acts.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(one_line(one) if isinstance(one, str) else one for one in arguments))


class ConfigError(MmerError):
    """A parameter has a value that cannot work."""


class DatasetError(MmerError):
    """A dataset is missing, unreadable or not in the layout its reader expects."""


class EncoderError(MmerError):
    """An encoder is unknown, its weights are missing, or they belong to another architecture."""


class StoreError(MmerError):
    """The artifact store cannot be reached, read or written."""


class ArtifactNotFound(StoreError):
    """No artifact has this key."""


class ArtifactCorrupt(StoreError):
    """An artifact's bytes are not those its manifest promises."""


class ArtifactConflict(StoreError):
    """Another artifact with different content already stands under this key."""


class AttackError(MmerError):
    """An attack was asked for something that is not defined."""


class PoisonError(MmerError):
    """A poison, a trigger or a detector was asked for something that is not defined."""


class EngineError(MmerError):
    """What runs the shards cannot be reached, or died."""
