"""What a dataset format is: how a raw dataset of one layout is recognised, read, and drawn if there is none."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from mmer_core.datasets.archives import unpacked
from mmer_core.datasets.fingerprint import fingerprint
from mmer_core.datasets.raw import RawDataset
from mmer_core.datasets.synthetic_config import SyntheticConfig
from mmer_core.errors import DatasetError
from mmer_core.named import Named


class Format(Named, ABC):
    """A layout of raw data; a concrete one declares itself as `Named` says.

    Its options are fields of `IngestConfig` under their own names, and decide keys only where the format is chosen.

    Attributes:
        tasks: The kinds of task that its datasets can be of; any, if empty.
        protocols: Of those in `mmer_core.datasets.protocols` the format's; none, if it has no such option.
        captioned: People wrote captions of all photos, so there is nothing for a captioner to do.
    """

    refusal = DatasetError
    tasks: ClassVar[tuple[str, ...]] = ()
    protocols: ClassVar[tuple[str, ...]] = ()
    captioned: ClassVar[bool] = False

    def unpacked(self, root: Path, scratch: Path) -> Path:
        """What `read` gets: by default ``root``, or an empty scratch folder with the contents of its archives.

        Raises:
            DatasetError: An archive is damaged, unsafe or too large, or the disk is full.
        """
        return unpacked(root, scratch)

    @abstractmethod
    def read(self, root: Path) -> RawDataset:
        """Read a dataset without decoding a photo; what cannot be used is quarantined with a reason.

        Raises:
            DatasetError: The dataset as a whole is missing, unreadable or not in this format.
        """

    def identity(self, root: Path) -> str:
        """What identifies the dataset in artifact keys: a hash of the contents of its files.

        Raises:
            DatasetError: The dataset cannot be read.
        """
        return fingerprint(root)

    def companions(self) -> Sequence[Path]:
        """Files elsewhere, named by options, that belong to the dataset; they are part of keys by their contents."""
        return ()

    def faults(self, root: Path) -> Sequence[str]:
        """Every reason why `read` refuses the whole dataset, where it raises at the first; for ``mmer data check``."""
        return ()

    def draw(self, tree: Path, config: SyntheticConfig) -> None:
        """Draw a miniature dataset of the format.

        Raises:
            DatasetError: The format does not define this, so a dataset must be given.
        """
        raise DatasetError(f"mmer draws no dataset in the format {self.name}: give --root FILE_OR_FOLDER")

    def read_drawn(self, tree: Path) -> RawDataset:
        """Read what `draw` has drawn."""
        return self.read(tree)
