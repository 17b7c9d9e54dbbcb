"""What every stage needs besides its own configuration: store, device, workspace, progress."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from mmer_core.captioning import Captioner, load_captioner
from mmer_core.config import RuntimeConfig, bare_name
from mmer_core.device import described, select_device
from mmer_core.encoders import ImageEncoder, TextEncoder, load_image_encoder, load_text_encoder
from mmer_core.heavy import torch
from mmer_core.log import event
from mmer_core.progress import Progress, silent
from mmer_core.seeding import TORCH_RANDOM_STATE
from mmer_core.store import Artifact, ArtifactKey, Parts, Store

_LOADING = threading.Lock()


@dataclass(frozen=True)
class Context:
    """Where a stage runs and whom it tells how far it is."""

    runtime: RuntimeConfig
    progress: Progress = silent

    @cached_property
    def store(self) -> Store:
        return self.runtime.open_store()

    @cached_property
    def device(self) -> torch.device:
        chosen = select_device(self.runtime.device)
        if chosen.type == "cuda" and chosen.index is None:
            _say_that_others_idle(torch.cuda.device_count())
        return chosen

    @property
    def used(self) -> dict[str, Any]:
        """Of the runtime, what the work was done with; the device and how it computes if the work had one."""
        chosen = self.runtime.model_dump(include={"workers", "batch_size"})
        return chosen | (described(self.device) if "device" in vars(self) else {})

    def artifact(self, key: ArtifactKey) -> Artifact:
        """Raises `ArtifactNotFound` when the store has no such artifact."""
        return Artifact.open(self.store, key)

    def folder(self, key: ArtifactKey) -> Path:
        """Verified local folder of an artifact."""
        return self.artifact(key).folder

    def parts(self, key: ArtifactKey) -> Parts:
        """The files of an artifact, each fetched when it is read; of large arrays only the rows."""
        return self.store.parts(key)

    def folder_of(self, key: str) -> Path:
        """The same, by the key as manifests of others write it."""
        return self.folder(ArtifactKey.parse(key))

    def image_encoder(self, name: str, size: int | None) -> ImageEncoder:
        """The encoder on this context's device; one copy serves all threads of the process."""
        name = self.encoder_name(name)
        with _LOADING:
            return _image_encoder(name, size, self.device)

    def text_encoder(self, name: str) -> TextEncoder:
        """The encoder on this context's device; one copy serves all threads of the process."""
        name = self.encoder_name(name)
        with _LOADING:
            return _text_encoder(name, self.device)

    def encoder_name(self, name: str) -> str:
        """An encoder's name with the folder of its adapter where it gives the key, ``adapted:adapter/<digest>``.

        Raises:
            StoreError: It is neither a folder nor the key of an adapter in the store.
        """
        bare = bare_name(name)
        source, _, spec = bare.partition(":")
        if source != "adapted" or (spec.strip() and Path(spec).is_dir()):
            return name
        return name.removesuffix(bare) + f"adapted:{self.folder(ArtifactKey.parse(spec))}"

    def captioner(self, name: str, prompt: str | None, max_tokens: int) -> Captioner:
        """The captioner on this context's device; one copy serves all threads of the process."""
        with _LOADING:
            return _captioner(name, prompt, max_tokens, self.device)


@lru_cache(maxsize=4)
def _image_encoder(name: str, size: int | None, device: torch.device) -> ImageEncoder:
    with TORCH_RANDOM_STATE:
        return load_image_encoder(name, size).to(device)


@lru_cache(maxsize=4)
def _text_encoder(name: str, device: torch.device) -> TextEncoder:
    with TORCH_RANDOM_STATE:
        return load_text_encoder(name).to(device)


@lru_cache(maxsize=1)
def _captioner(name: str, prompt: str | None, max_tokens: int, device: torch.device) -> Captioner:
    with TORCH_RANDOM_STATE:
        return load_captioner(name, prompt, max_tokens, device)


@cache
def _say_that_others_idle(gpus: int) -> None:
    if gpus > 1:
        event(
            f"this process computes on one of {gpus} GPUs: --engine processes --workers {gpus} uses all of them, and where "
            f"encoders are tuned --finetune.processes {gpus}",
            level=logging.WARNING,
            gpus=gpus,
        )
