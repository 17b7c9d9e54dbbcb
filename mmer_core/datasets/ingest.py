"""From a configuration to a prepared dataset; draws the photos if no folder is given."""

import gc
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import chain, islice
from pathlib import Path

from mmer_core.confined.picture_protocol import OPENCV
from mmer_core.confined.pictures import start_ahead
from mmer_core.datasets.config import IngestConfig
from mmer_core.datasets.fingerprint import fingerprint
from mmer_core.datasets.model_captions import with_captions
from mmer_core.datasets.photos import FEW_PHOTOS, decoder, torch_ahead
from mmer_core.datasets.prepare import prepare
from mmer_core.datasets.prepared import DatasetSummary
from mmer_core.datasets.raw import RawDataset
from mmer_core.datasets.sample import Text
from mmer_core.datasets.synthetic import GENERATOR_VERSION
from mmer_core.datasets.walking import walk
from mmer_core.progress import Progress, silent


def ingest(
    config: IngestConfig,
    folder: Path,
    scratch: Path,
    *,
    workers: int,
    progress: Progress = silent,
    captions: Mapping[str, Text] | None = None,
) -> DatasetSummary:
    """Read a raw dataset and prepare it.

    Args:
        folder: Receives the prepared files.
        scratch: Receives drawn photos, unpacked archives and unfinished arrays, and resumes from those of a killed
            call. It belongs to this configuration and these files, and may be deleted afterwards.
        workers: Number of threads that decode.
        captions: Captions from a model, by `photo_name`, for people without another description.

    Raises:
        DatasetError: The raw dataset is missing, unreadable or not in its layout.
    """
    with _settled_heap(), torch_ahead() if _needs_torch(config) else nullcontext():
        start_ahead(workers, decoder(_protocol(config)))
        raw = with_captions(read_raw(config, scratch), captions or {})
        synthetic = config.root is None
        return prepare(raw, config, folder, scratch, workers=workers, synthetic=synthetic, progress=progress)


@contextmanager
def _settled_heap() -> Iterator[None]:
    """Exclude existing objects from garbage collection.

    Annotations are many small objects and trigger the collector again and again. Each time it would traverse
    everything that torch and other libraries have imported, which stops all threads for an eighth of an ingestion.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _protocol(config: IngestConfig) -> str:
    return getattr(config.format.options, "protocol", "")


def _needs_torch(config: IngestConfig) -> bool:
    """Whether photos are resized with torch: so many that importing it is worth the time, and not with OpenCV."""
    if decoder(_protocol(config)) == OPENCV:
        return False
    # A photo of people is resized for each of them.
    few = FEW_PHOTOS // 2 if config.dataset == "emotic" else FEW_PHOTOS
    if config.root is None:
        return config.synthetic.images >= few
    if not config.root.is_dir():
        return True
    files = chain.from_iterable(names for _, _, names in walk(config.root))
    return sum(1 for _ in islice(files, few)) == few


def read_raw(config: IngestConfig, scratch: Path) -> RawDataset:
    """Read a raw dataset; drawn photos and unpacked archives go to ``scratch``.

    Raises:
        DatasetError: The raw dataset is missing, unreadable or not in its layout.
    """
    if config.root is None:
        return _drawn(config, scratch / "raw")
    chosen = config.format
    return chosen.read(chosen.unpacked(config.root, scratch / "unpacked"))


def source_identity(config: IngestConfig) -> str:
    """The source's part of an artifact key: a hash of file contents, or the version of the generator.

    Raises:
        DatasetError: The folder, or a file that belongs to it, does not exist.
    """
    chosen = config.format
    if config.root is None:
        source = f"synthetic-{config.dataset}-{GENERATOR_VERSION}"
    else:
        source = chosen.identity(config.root)
    return "+".join([source, *map(fingerprint, chosen.companions())])


def _drawn(config: IngestConfig, tree: Path) -> RawDataset:
    whole = tree.with_name("raw.whole")
    wanted = f"{source_identity(config)} {config.synthetic.model_dump_json()}"
    if not (tree.exists() and whole.exists() and whole.read_text() == f"{wanted} {fingerprint(tree)}"):
        shutil.rmtree(tree, ignore_errors=True)
        config.format.draw(tree, config.synthetic)
        whole.write_text(f"{wanted} {fingerprint(tree)}")
    return config.format.read_drawn(tree)
