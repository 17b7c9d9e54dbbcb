"""Damaged, hostile and random inputs for every reader of outside files: ``PYTHONPATH=tests python -m tools.fuzz``."""

from collections.abc import Mapping
from typing import Any

KINDS = (
    "images",
    "archives",
    "annotations",
    "flickr",
    "sidecars",
    "coco",
    "manifests",
    "configurations",
    "photo lists",
    "queries",
    "artifacts",
    "requests",
)
"""Of inputs: each has a function that makes sound ones, and one that reads them."""


def by_kind(functions: Mapping[str, Any]) -> dict[str, Any]:
    """The functions of a module that are named after the kinds."""
    return {kind: functions[kind.replace(" ", "_")] for kind in KINDS}
