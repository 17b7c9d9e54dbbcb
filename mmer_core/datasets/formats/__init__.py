"""Dataset formats by name: one reader a file, found by `Registry`; a new one is a new module here with a `Format`."""

from mmer_core.datasets.formats.base import Format
from mmer_core.named import Registry

FORMATS: Registry[Format] = Registry("dataset format", Format, __name__)

__all__ = ["FORMATS", "Format"]
