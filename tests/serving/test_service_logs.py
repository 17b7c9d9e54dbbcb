"""What the web server logs of what visitors send."""

import logging
from logging.config import dictConfig

import pytest
from support.hostile import HOSTILE, acting

from mmer_core.serving.logs import LOG_CONFIG


def test_a_record_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    dictConfig(LOG_CONFIG)
    logger = logging.getLogger("uvicorn.error")
    try:
        for text in HOSTILE:
            try:
                raise ValueError(text)
            except ValueError:
                logger.exception("Exception in %s", text)
    finally:
        logging.getLogger("uvicorn").handlers.clear()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(HOSTILE)
    assert all(line.startswith("20") and "ERROR Exception in" in line for line in lines)
    assert not any(map(acting, lines))
