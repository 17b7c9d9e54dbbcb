"""The commands of docker/compose.yaml, run as processes of this machine, since no container engine runs in tests."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_DOCKER = Path(__file__).parents[2] / "docker"
SERVICES: dict[str, Any] = yaml.safe_load((_DOCKER / "compose.yaml").read_text("utf-8"))["services"]


def command(service: str, changes: Mapping[str, str]) -> list[str]:
    """A service's command word for word, but for places that are elsewhere here."""
    return _changed(SERVICES[service]["command"], changes)


def entry(service: str, changes: Mapping[str, str]) -> list[str]:
    """What a service puts before its command."""
    return _changed(_here(SERVICES[service]["entrypoint"]), changes)


def start(service: str, changes: Mapping[str, str], env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a command by its entry point, as the image does."""
    return subprocess.Popen(
        command(service, changes), env=_environment() | env, stdout=subprocess.DEVNULL, start_new_session=True
    )


def is_healthy(service: str, changes: Mapping[str, str], env: Mapping[str, str] | None = None) -> bool:
    """What a service's health check says."""
    kind, *words = SERVICES[service]["healthcheck"]["test"]
    assert kind == "CMD"
    done = subprocess.run(
        _changed(_here(words), changes), env=_environment() | (env or {}), capture_output=True, timeout=60
    )
    return done.returncode == 0


def _environment() -> dict[str, str]:
    """With this Python's entry points first, which stand for the image's."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def _here(words: list[str]) -> list[str]:
    """With our scripts where they are here; containers have them where programs are."""
    return [re.sub(r"^/usr/local/bin/(?=[\w-]+$)", f"{_DOCKER}/", word) for word in words]


def _changed(words: list[str], changes: Mapping[str, str]) -> list[str]:
    for old, new in changes.items():
        assert any(old in word for word in words), f"{old} is no part of {words}"
        words = [re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", new, word) for word in words]
    return words
