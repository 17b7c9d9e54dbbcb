"""Dataset formats as configurations see them."""

import pytest
from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.config import IngestConfig
from mmer_core.datasets import config
from mmer_core.datasets.formats import FORMATS
from mmer_core.stages.identity import key_config


def test_options_decide_only_where_their_format_is_chosen():
    keys = [
        key_config(IngestConfig(dataset=name, splits=splits))
        for name in ("emotic", "flickr8k")
        for splits in ("official", "notebook")
    ]
    assert keys[0] == keys[1]
    assert keys[2] != keys[3]
    assert not {"captions", "coco_captions"} & keys[2].keys()


def test_two_options_of_one_name_are_refused(monkeypatch):
    class Options(Config):
        protocol: int = Field(1, description="Taken by another format.")

    monkeypatch.setattr(FORMATS["manifest"], "Options", Options)
    with pytest.raises(TypeError, match="called protocol"):
        config._with_formats(Config)
