"""From a configuration to a prepared dataset, drawing the photos when none are given."""

import shutil
from pathlib import Path

from mmer_core.config import IngestConfig
from mmer_core.datasets.emotic import read_emotic
from mmer_core.datasets.fingerprint import fingerprint
from mmer_core.datasets.flickr8k import read_flickr8k
from mmer_core.datasets.prepare import prepare
from mmer_core.datasets.prepared import DatasetCard
from mmer_core.datasets.raw import RawDataset
from mmer_core.datasets.synthetic import CAPTIONS_FILE, GENERATOR_VERSION, write_emotic, write_flickr8k
from mmer_core.progress import Progress, silent


def ingest(
    config: IngestConfig, folder: Path, scratch: Path, *, workers: int, progress: Progress = silent
) -> DatasetCard:
    """Read a raw dataset and prepare it.

    Args:
        folder: Receives the prepared files.
        scratch: Receives the drawn photos when ``config.root`` is None; may be deleted afterwards.
        workers: Threads that decode.

    Raises:
        DatasetError: The raw dataset is missing, unreadable or not in its layout.
    """
    if config.root is None:
        raw = _drawn(config, scratch / "raw")
    elif config.dataset == "emotic":
        raw = read_emotic(config.root, captions=config.captions, protocol=config.protocol)
    else:
        raw = read_flickr8k(config.root, splits=config.splits)
    return prepare(raw, config, folder, workers=workers, synthetic=config.root is None, progress=progress)


def source_identity(config: IngestConfig) -> str:
    """What an artifact's key says about the source: contents of files, or the version of the generator.

    Raises:
        DatasetError: The folder, or the sidecar of captions, does not exist.
    """
    if config.root is None:
        source = f"synthetic-{config.dataset}-{GENERATOR_VERSION}"
    else:
        source = fingerprint(config.root)
    return f"{source}+{fingerprint(config.captions)}" if config.captions else source


def _drawn(config: IngestConfig, tree: Path) -> RawDataset:
    shutil.rmtree(tree, ignore_errors=True)
    if config.dataset == "emotic":
        write_emotic(tree, config.synthetic)
        captions = config.captions or tree / CAPTIONS_FILE
        return read_emotic(tree, captions=captions, protocol=config.protocol)
    write_flickr8k(tree, config.synthetic)
    return read_flickr8k(tree, splits=config.splits)
