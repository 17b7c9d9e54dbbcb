"""One small drawn tree of each layout for the whole folder."""

from pathlib import Path

import pytest

from mmer_core.config import SyntheticConfig
from mmer_core.datasets.synthetic import write_emotic, write_flickr8k


@pytest.fixture(scope="session")
def emotic_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_emotic(tmp_path_factory.mktemp("emotic"), SyntheticConfig(images=60))


@pytest.fixture(scope="session")
def flickr_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flickr8k(tmp_path_factory.mktemp("flickr8k"), SyntheticConfig(images=40))
