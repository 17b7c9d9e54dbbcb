"""The configuration of the job that prepares data."""

from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.config.runtime import Runtime, RuntimeConfig
from mmer_core.datasets.config import DatasetCardConfig, IngestConfig


class IngestJob(Config):
    """Prepare one dataset."""

    dataset: IngestConfig = Field(default=IngestConfig(), description="The dataset.")
    card: DatasetCardConfig = Field(default=DatasetCardConfig(), description="Dataset card.")
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")
