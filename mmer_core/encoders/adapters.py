"""Adapters: the few weights of an encoder that were tuned on a dataset, stored apart from the unchanged ones.

Low-rank adaptation is that of Hu et al. 2021, https://arxiv.org/abs/2106.09685, by the library peft: a linear layer
``W`` becomes ``W + alpha / rank * B A`` with ``B`` initialised to zero, so tuning starts from the original encoder.

An adapter folder holds ``adapter.json`` (an `AdapterSpec`) and ``<modality>.safetensors`` for every adapted tower.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from mmer_core.base_config import Config
from mmer_core.encoders.base import ImageEncoder, TextEncoder
from mmer_core.encoders.config import EncoderNames, FinetuneConfig
from mmer_core.encoders.weights import file_digest
from mmer_core.errors import EncoderError
from mmer_core.heavy import Tensor, nn, torch

Modality = Literal["image", "text"]
ADAPTER_FILE = "adapter.json"
_ATTENTION = ("q_proj", "v_proj", "query", "value", "q_lin", "v_lin", "qkv")


class AdapterSpec(Config):
    """What is needed to apply an adapter to its encoders."""

    method: Literal["lora", "last"]
    rank: int
    alpha: float
    parts: dict[Modality, tuple[str, ...]] = Field(
        description="By adapted tower: the linear layers with low-rank additions, or the tuned parameters."
    )
    encoders: EncoderNames = Field(description="The original encoders.")
    identities: dict[Modality, dict[str, str]] = Field(description="Identity of the encoders, by modality.")
    similarity: tuple[float, float] | None = Field(
        None, description="Logarithm of the learned scale, and bias, of a dual encoder."
    )

    @classmethod
    def read(cls, folder: Path) -> AdapterSpec:
        """Raises `EncoderError` if the folder is not an adapter."""
        try:
            return cls.model_validate_json((folder / ADAPTER_FILE).read_text())
        except (OSError, ValidationError):
            raise EncoderError(
                f"{folder} is not an adapter: it has no usable {ADAPTER_FILE}; mmer finetune makes one"
            ) from None

    def identity(self, folder: Path, modality: Modality) -> dict[str, str]:
        """What determines a tower's features: its base's identity and the digest of the tuned weights."""
        if modality not in self.parts:
            return self.identities[modality]
        base = {f"base.{name}": value for name, value in self.identities[modality].items()}
        scaling = f"{self.method} {self.rank} {self.alpha}"
        return {
            "name": "adapted",
            "method": scaling,
            "sha256": file_digest(_weights(folder, modality)),
            **base,
        }


def adapt(encoder: ImageEncoder | TextEncoder, config: FinetuneConfig) -> tuple[str, ...]:
    """Make an encoder tunable: only the adapted parameters require gradients; returns `AdapterSpec.parts`.

    Raises:
        EncoderError: The encoder has no layer that the method can adapt, or peft is not installed.
    """
    used = _used_parameters(encoder)
    if config.method == "last":
        parts = _last_block(encoder, used)
    else:
        targets = config.targets or _ATTENTION
        linear = [name for name, module in encoder.module.named_modules() if isinstance(module, nn.Linear)]
        linear = [name for name in linear if f"{name}.weight" in used]
        parts = tuple(name for name in linear if name.rpartition(".")[2] in targets)
        if not parts:
            there = sorted({name.rpartition(".")[2] for name in linear})
            raise EncoderError(
                f"{encoder.name} has no linear layer named {' or '.join(targets)} to add to; it has "
                f"{', '.join(there) or 'none'}: name one with finetune.targets, or use finetune.method last or "
                "finetune.towers"
            )
    _open(encoder.module, config.method, parts, config.rank, config.alpha)
    return parts


def tuned(module: nn.Module) -> dict[str, nn.Parameter]:
    """The adapted parameters by name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def save_tower(encoder: ImageEncoder | TextEncoder, folder: Path, modality: Modality) -> None:
    """Write the adapted parameters."""
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in tuned(encoder.module).items()}
    save_file(state, _weights(folder, modality))


def apply_tower(
    encoder: ImageEncoder | TextEncoder, folder: Path, spec: AdapterSpec, modality: Modality
) -> None:
    """Turn a freshly loaded base encoder into the adapted one, frozen again.

    Raises:
        EncoderError: The weights are damaged, or belong to another encoder.
    """
    from safetensors.torch import load_file

    path = _weights(folder, modality)
    try:
        state = load_file(path)
    except Exception as error:
        raise EncoderError(f"cannot read the adapter {path}: {str(error).splitlines()[0]}") from None
    _open(encoder.module, spec.method, spec.parts[modality], spec.rank, spec.alpha)
    expected = tuned(encoder.module)
    if {name: value.shape for name, value in state.items()} != {n: p.shape for n, p in expected.items()}:
        raise EncoderError(
            f"the adapter {path} belongs to another encoder than {encoder.name}; adapt this one anew"
        )
    with torch.no_grad():
        for name, parameter in expected.items():
            parameter.copy_(state[name])
    encoder.module.requires_grad_(False)


def _open(module: nn.Module, method: str, parts: Iterable[str], rank: int, alpha: float) -> None:
    """Require gradients of exactly the adapted parameters; adds low-rank layers for lora."""
    module.requires_grad_(False)
    if method == "last":
        names = set(parts)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in names)
        return
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise EncoderError("low-rank adapters need the package peft; run: pip install 'mmer[lora]'") from None
    lora = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(parts))  # type: ignore[arg-type]
    inject_adapter_in_model(lora, module).eval()
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(".lora_" in name)


def _used_parameters(encoder: ImageEncoder | TextEncoder) -> list[str]:
    """The parameters that influence the features; a dual encoder's other tower is part of the same module."""
    module = encoder.module.requires_grad_(True)
    if isinstance(encoder, ImageEncoder):
        output: Tensor = module(torch.zeros(1, 3, *encoder.size, device=encoder.device))
    else:
        output = module(**encoder.tokens(["probe"]))
    output.sum().backward()
    used = [name for name, parameter in module.named_parameters() if parameter.grad is not None]
    module.zero_grad(set_to_none=True)
    return used


def _last_block(encoder: ImageEncoder | TextEncoder, used: list[str]) -> tuple[str, ...]:
    """The used parameters from the last block of the longest stack of blocks onwards."""
    stacks = {
        name: len(module)
        for name, module in encoder.module.named_modules()
        if isinstance(module, nn.ModuleList) and any(key.startswith(f"{name}.") for key in used)
    }
    if not stacks:
        raise EncoderError(
            f"{encoder.name} has no stack of blocks; use finetune.method lora or finetune.towers"
        )
    longest = max(stacks, key=lambda name: stacks[name])
    last = f"{longest}.{stacks[longest] - 1}."
    first = next(place for place, name in enumerate(used) if name.startswith(last))
    return tuple(used[first:])


def _weights(folder: Path, modality: Modality) -> Path:
    return folder / f"{modality}.safetensors"
